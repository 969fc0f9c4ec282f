-- version: of the newest event about the person's contact data, 0 before the first. reserved: the highest version that was
-- ever given, to a ReplaceCV that is still under way too. replaced: the highest version of a ReplaceCV that is done.
create table persons (
    person_id uuid primary key,
    version   bigint not null default 0,
    reserved  bigint not null,
    replaced  bigint not null default 0
) with (fillfactor = 80);
create view saved_persons as select person_id, version, replaced from persons where version > 0;

-- Every value that a person has or had. box is AES-GCM under the key key_id, bound to the row's id; blind is the keyed hash of
-- the normalised value, by which it is looked up. ends is null while it is the present one.
create table periods (
    id        uuid primary key,
    person_id uuid not null,
    type      smallint not null,
    blind     bytea not null check (length(blind) = 32),
    key_id    text not null,
    box       bytea not null,
    starts    timestamptz not null,
    ends      timestamptz
) with (fillfactor = 90);
create unique index periods_present on periods (person_id, type) where ends is null;
create index periods_person on periods (person_id);
create index periods_blind on periods (blind);

-- The present contact data by type. A removed one keeps its row: an older ReplaceCV must not bring it back.
create table contacts (
    person_id    uuid not null,
    type         smallint not null,
    version      bigint not null,
    period_id    uuid references periods (id),
    status       smallint not null,
    confirmed_at timestamptz,
    reminded_at  timestamptz,
    primary key (person_id, type)
) with (fillfactor = 80);
create index contacts_confirmed on contacts (confirmed_at) where confirmed_at is not null;
create index contacts_period on contacts (period_id);

-- The one code that can be used for a value; a new code takes the row. Only the salt is kept: the code follows from it and a key
-- of the settings. Times are the database's, so that no service's clock matters.
create table codes (
    person_id  uuid not null,
    type       smallint not null,
    period_id  uuid not null references periods (id) on delete cascade,
    salt       bytea not null,
    made_at    timestamptz not null,
    expires_at timestamptz not null,
    attempts   smallint not null default 0,
    used_at    timestamptz,
    primary key (person_id, type)
) with (fillfactor = 50);
create index codes_period on codes (period_id);

-- When codes were sent, to whom and to which address: what the limits count.
create table code_sends (
    id        bigint generated always as identity primary key,
    person_id uuid not null,
    blind     bytea not null,
    made_at   timestamptz not null
);
create index code_sends_person on code_sends (person_id, made_at);
create index code_sends_blind on code_sends (blind, made_at);

-- What is to be sent. The address is read from the period when it is sent, the code made from the salt. next_try is also the lease.
create table messages (
    id         uuid primary key,
    person_id  uuid not null,
    period_id  uuid not null references periods (id) on delete cascade,
    type       smallint not null,
    kind       text not null check (kind in ('code', 'reminder')),
    salt       bytea,
    made_at    timestamptz not null,
    expires_at timestamptz not null,
    next_try   timestamptz not null,
    attempts   integer not null default 0,
    status     text not null default 'waiting' check (status in ('waiting', 'sent', 'refused', 'void')),
    reason     text,
    done_at    timestamptz
) with (fillfactor = 80);
create index messages_due on messages (type, next_try) where status = 'waiting';
create index messages_done on messages (done_at) where status <> 'waiting';
create index messages_period on messages (period_id);
create index messages_person on messages (person_id);

-- Notification subscriptions: an address that one of them needs cannot be removed (9154, 9155).
create table subscriptions (
    person_id uuid not null,
    type      smallint not null,
    name      text not null,
    made_at   timestamptz not null,
    primary key (person_id, type, name)
);

-- Contact data of a ReplaceCV that the registry has not told the end of; box holds the values by type.
create table prepares (
    id        uuid primary key,
    person_id uuid not null,
    version   bigint not null,
    key_id    text not null,
    box       bytea not null,
    made_at   timestamptz not null,
    next_ask  timestamptz not null
);
create index prepares_person on prepares (person_id, version);
create index prepares_due on prepares (next_ask);

-- Persons that were erased, so that "erased" is told from "unknown".
create table erasures (
    subject   uuid primary key,
    version   bigint not null,
    erased_at timestamptz not null
);

create function erase_persons(erased uuid[]) returns void language plpgsql as $$
begin
    insert into erasures (subject, version, erased_at)
        select person_id, greatest(reserved + 1, (extract(epoch from now()) * 1000000)::bigint), now()
        from persons where person_id = any(erased)
        on conflict (subject) do nothing;
    delete from subscriptions where person_id = any(erased);
    delete from prepares where person_id = any(erased);
    delete from messages where person_id = any(erased);
    delete from code_sends where person_id = any(erased);
    delete from codes where person_id = any(erased);
    delete from contacts where person_id = any(erased);
    delete from periods where person_id = any(erased);
    delete from persons where person_id = any(erased);
end $$;
