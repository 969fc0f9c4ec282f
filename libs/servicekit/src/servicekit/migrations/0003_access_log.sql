-- Who looked at whom, for whom, and why; never changed. One partition per month.
create table access_log (
    at timestamptz not null,
    subject uuid,
    method text not null,
    service text,
    client text,
    own_type smallint,
    own_code text,
    active_type smallint,
    active_code text,
    request_type smallint,
    request_code text,
    user_name text,
    user_type smallint,
    user_identifier text,
    purpose text,
    object_version bigint,
    detail jsonb not null
) partition by range (at);
create index access_log_subject on access_log (subject, at);

-- Makes the partitions of a month (UTC) and of the months after it. Looks first, so that it only locks when one is missing.
create function access_log_make_months(first date, months int) returns void language plpgsql as $$
declare
    month date;
    name text;
begin
    for i in 0 .. months - 1 loop
        month := date_trunc('month', first) + make_interval(months => i);
        name := 'access_log_' || to_char(month, 'YYYY_MM');
        if to_regclass(name) is null then
            perform pg_advisory_xact_lock(hashtext('servicekit'), hashtext('access_log_months'));
            execute format(
                'create table if not exists %I partition of access_log for values from (%L) to (%L)',
                name, month::timestamp at time zone 'UTC', (month + interval '1 month') at time zone 'UTC'
            );
        end if;
    end loop;
end $$;
