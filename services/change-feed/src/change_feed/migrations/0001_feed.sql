-- The feed as a whole. Positions are microseconds since 1970: a position is the moment of arrival, both rise strictly, and what
-- arrives after a restore from a back-up still comes after all that was ever given out. Entries at or below edge are committed.
create table feed (
    only_row   boolean primary key default true check (only_row),
    epoch      uuid not null,
    started_at timestamptz not null default now(),
    edge       bigint not null,
    floor      bigint not null,
    seeded     boolean not null default false,
    seed_after uuid
);

-- How far each partition of the log was taken in; written together with its entries.
create table log_positions (
    topic       text not null,
    partition   integer not null,
    next_offset bigint not null,
    primary key (topic, partition)
) with (fillfactor = 50);

-- Times at which the feed was found restored from a back-up: positions between the two were given out and are known no more.
create table restores (
    after_position  bigint not null,
    before_position bigint not null,
    found_at        timestamptz not null default now()
);

-- Every event that is in the feed, so that a repeated record changes nothing.
create table seen_events (
    event_id uuid primary key,
    position bigint not null
);
create index seen_events_position on seen_events using brin (position);

-- Who may see an entry: everybody's ('*'), an authority's, or an other actor's for an authority.
create table scopes (
    id   integer generated always as identity primary key,
    name text not null unique
);
insert into scopes (name) values ('*');

-- One row per thing that happened. cv_number is the one of that moment, and null once the citizen is erased.
create table entries (
    position  bigint not null,
    event_id  uuid not null,
    type      text not null,
    change    text,
    subject   uuid not null,
    version   bigint not null,
    time      timestamptz not null,
    person_id uuid,
    cv_id     uuid,
    cv_number text,
    erased    boolean not null default false,
    primary key (position)
) partition by range (position);
create index entries_cv on entries (cv_id);

-- Who sees which entry, decided when it arrived. next is the following CVChanged of the same CV in the same scope. Rows of a scope
-- that lost the citizen are hidden, all but the one that tells of the leaving.
create table audience (
    position  bigint not null,
    scope     integer not null,
    part      text not null check (part in ('seen', 'left', 'came')),
    is_change boolean not null,
    hidden    boolean not null default false,
    next      bigint,
    primary key (position, scope)
) partition by range (position);
create index audience_page on audience (scope, position) where not hidden;
create index audience_changes on audience (scope, position) where is_change and not hidden;

-- What stays of partitions that were dropped: the newest change of each CV.
create table entries_kept partition of entries for values from (minvalue) to (0);
create table audience_kept partition of audience for values from (minvalue) to (0);

-- Citizens as the feed last placed them: who sees them (scopes), and when that changes by the calendar alone (next_day).
create table cvs (
    person_id       uuid primary key,
    cv_id           uuid not null unique,
    cv_number       text,
    citizen_version bigint not null,
    scopes          text[] not null,
    next_day        date,
    newest_position bigint,
    newest_version  bigint,
    newest_change   text,
    erased          boolean not null default false
) with (fillfactor = 80);
create index cvs_next_day on cvs (next_day) where next_day is not null;

-- Since and until which position a CV is in a scope, and its last CVChanged there.
create table members (
    scope       integer not null,
    cv_id       uuid not null,
    since       bigint not null,
    until       bigint,
    last_change bigint,
    primary key (scope, cv_id)
) with (fillfactor = 80);
create index members_cv on members (cv_id);

-- Change lists that were begun: the moment that their first page fixed, and where each page begins.
create table extracts (
    caller    text not null,
    scope     integer not null,
    starts_at bigint not null,
    ends_at   bigint not null,
    made_at   timestamptz not null,
    pages     bigint[] not null,
    primary key (caller, scope, starts_at, ends_at)
);
create index extracts_made_at on extracts (made_at);

-- Makes the partitions for positions from low to high (not included), if they are missing.
create function feed_make_partition(low bigint, high bigint) returns void language plpgsql as $$
begin
    if to_regclass('entries_' || low) is null then
        execute format('create table %I partition of entries for values from (%L) to (%L)', 'entries_' || low, low, high);
        execute format(
            'create table %I partition of audience for values from (%L) to (%L) with (fillfactor = 90)', 'audience_' || low, low, high
        );
    end if;
end $$;

-- Drops the partitions from low to high (not included), the lowest that there are. The newest change of each CV is kept.
create function feed_drop_partition(low bigint, high bigint) returns void language plpgsql as $$
begin
    execute format('alter table entries detach partition %I', 'entries_' || low);
    execute format('alter table audience detach partition %I', 'audience_' || low);
    alter table entries detach partition entries_kept;
    alter table audience detach partition audience_kept;
    execute format(
        'insert into entries_kept select e.* from %I e join cvs c on c.cv_id = e.cv_id and c.newest_position = e.position', 'entries_' || low
    );
    execute format(
        'insert into audience_kept select a.* from %I a where exists (select from entries_kept e where e.position = a.position)',
        'audience_' || low
    );
    delete from entries_kept e where not exists (
        select from cvs c where c.cv_id = e.cv_id and c.newest_position = e.position
    );
    delete from audience_kept a where not exists (select from entries_kept e where e.position = a.position);
    execute format('drop table %I', 'entries_' || low);
    execute format('drop table %I', 'audience_' || low);
    execute format('alter table entries attach partition entries_kept for values from (minvalue) to (%L)', high);
    execute format('alter table audience attach partition audience_kept for values from (minvalue) to (%L)', high);
    delete from seen_events where position < high;
    update feed set floor = high;
end $$;
