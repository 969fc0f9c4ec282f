-- The status that each CV has now; a CV without a row has status 1. version is that of the newest StatusSet.
create table statuses (
    cv_id     uuid primary key,
    person_id uuid not null,
    version   bigint not null,
    status    smallint not null,
    comment   text,
    set_at    timestamptz not null
) with (fillfactor = 80);
create index statuses_person on statuses (person_id);

-- The CV (JSON of CVProfile, the address in it) as it was when it was frozen; once, however often it was frozen unchanged.
create table frozen_contents (
    cv_id   uuid not null,
    hash    bytea not null check (length(hash) = 32),
    content bytea not null,
    primary key (cv_id, hash)
);

-- One row per frozen version. version is that of the StatusSet which froze it, cv_version that of the CV.
create table frozen_versions (
    id           uuid primary key,
    cv_id        uuid not null,
    version      bigint not null,
    status       smallint not null,
    comment      text,
    municipality text not null,
    frozen_at    timestamptz not null,
    cv_version   bigint not null,
    content_hash bytea not null,
    foreign key (cv_id, content_hash) references frozen_contents (cv_id, hash),
    constraint frozen_versions_of_cv unique (cv_id, version)
);

-- CV ids that were erased, so that "erased" is told from "unknown".
create table erasures (
    subject   uuid primary key,
    version   bigint not null,
    erased_at timestamptz not null
);

-- What a case worker judged is never changed, by nobody; it leaves by an erasure only.
create function refuse_change_of_frozen() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and current_setting('cv_status.erasing', true) = 'on' then
        return old;
    end if;
    raise exception '% is immutable', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger immutable before update or delete on frozen_contents
    for each row execute function refuse_change_of_frozen();
create trigger immutable before update or delete on frozen_versions
    for each row execute function refuse_change_of_frozen();
create trigger never_emptied before truncate on frozen_contents
    for each statement execute function refuse_change_of_frozen();
create trigger never_emptied before truncate on frozen_versions
    for each statement execute function refuse_change_of_frozen();

-- The one way out: everything about these citizens.
create function erase_persons(persons uuid[]) returns void language plpgsql as $$
declare
    cvs uuid[] := array(select cv_id from statuses where person_id = any(persons));
begin
    perform set_config('cv_status.erasing', 'on', true);
    insert into erasures (subject, version, erased_at)
        select cv_id, greatest(version + 1, (extract(epoch from now()) * 1000000)::bigint), now()
        from statuses where cv_id = any(cvs)
        on conflict (subject) do nothing;
    delete from frozen_versions where cv_id = any(cvs);
    delete from frozen_contents where cv_id = any(cvs);
    delete from statuses where cv_id = any(cvs);
    perform set_config('cv_status.erasing', 'off', true);
end $$;
