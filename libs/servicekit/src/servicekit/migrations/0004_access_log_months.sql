-- As in 0003, but a month is made on its own and then attached: that waits for nobody who reads the log, not even for a back-up, and
-- keeps nobody waiting who writes to it.
create or replace function access_log_make_months(first date, months int) returns void language plpgsql as $$
declare
    month date;
    name text;
begin
    for i in 0 .. months - 1 loop
        month := date_trunc('month', first) + make_interval(months => i);
        name := 'access_log_' || to_char(month, 'YYYY_MM');
        if to_regclass(name) is null then
            perform pg_advisory_xact_lock(hashtext('servicekit'), hashtext('access_log_months'));
            execute format('create table if not exists %I (like access_log including defaults including constraints)', name);
            if not (select relispartition from pg_class where oid = to_regclass(name)) then
                execute format(
                    'alter table access_log attach partition %I for values from (%L) to (%L)',
                    name, month::timestamp at time zone 'UTC', (month + interval '1 month') at time zone 'UTC'
                );
            end if;
        end if;
    end loop;
end $$;
