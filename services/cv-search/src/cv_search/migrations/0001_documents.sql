-- What a document is made of, as its owners told it last: one row per subject and generation of its projection.
create table cv_parts (
    generation integer not null,
    cv_id      uuid not null,
    part       bytea not null,
    primary key (generation, cv_id)
);

create table status_parts (
    generation integer not null,
    cv_id      uuid not null,
    status     smallint not null,
    primary key (generation, cv_id)
);

-- No more of a citizen than a result shows and the rules of searching read.
create table citizen_parts (
    generation integer not null,
    person_id  uuid not null,
    cv_id      uuid not null,
    part       bytea not null,
    primary key (generation, person_id)
);
create unique index citizen_parts_cv on citizen_parts (generation, cv_id);

-- What the index holds, or must no longer hold (document is null), of each CV. change rises strictly in the order of
-- commits, so whoever has read up to one has missed nothing. due is the day from which the document is another one.
create table search_documents (
    cv_id     uuid primary key,
    person_id uuid not null,
    change    bigint not null unique,
    document  bytea,
    shown     bytea,
    due       date,
    check ((document is null) = (shown is null))
);
create index search_documents_person on search_documents (person_id);
create index search_documents_due on search_documents (due) where due is not null;

-- One row. Whoever changes documents holds it until the commit: that makes the order of changes the order of commits.
create table search_state (
    one          boolean primary key default true check (one),
    database     uuid not null default gen_random_uuid(),
    last_change  bigint not null default 0,
    made_from    text,
    making       text,
    making_after uuid
) with (fillfactor = 10);
insert into search_state default values;

-- Who was shown is asked for by person.
create index access_log_shown on access_log using gin ((detail -> 'shown'));
