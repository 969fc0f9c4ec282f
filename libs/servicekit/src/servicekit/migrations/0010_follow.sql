-- Which builds of a projection exist. The live one is what readers see: this row is the pointer.
create table projection_generations (
    projection text not null,
    generation integer not null,
    status text not null check (status in ('building', 'live', 'retired')),
    snapshot_after uuid,
    snapshot_done boolean not null default false,
    rows bigint not null default 0,
    started_at timestamptz not null default now(),
    swapped_at timestamptz,
    primary key (projection, generation)
);
create unique index projection_generations_live on projection_generations (projection) where status = 'live';
create unique index projection_generations_building on projection_generations (projection) where status = 'building';

-- The newest version of each subject that was applied, erased ones too, so that an old state never comes back.
create table projected_versions (
    projection text not null,
    generation integer not null,
    subject uuid not null,
    version bigint not null,
    erased boolean not null default false,
    primary key (projection, generation, subject)
) with (fillfactor = 80);

-- How far each partition was dealt with: what lies below next_offset is applied or has a row here.
create table follow_positions (
    projection text not null,
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    heartbeat_at timestamptz,
    updated_at timestamptz not null default now(),
    primary key (projection, topic, partition)
) with (fillfactor = 50);

-- Subjects that could not be fetched or applied; version is what is to be reached, 0 where nobody could read it.
create table pending_subjects (
    projection text not null,
    subject uuid not null,
    partition integer,
    version bigint not null,
    attempts integer not null default 0,
    next_try timestamptz not null,
    reason text not null,
    first_seen timestamptz not null default now(),
    primary key (projection, subject)
);
create index pending_subjects_due on pending_subjects (projection, next_try);

-- Records that could not be read, raw. Headers are JSON with hexadecimal values, in bytes: they may hold anything.
create table unreadable_records (
    id bigint generated always as identity primary key,
    projection text not null,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    key bytea,
    headers bytea not null,
    value bytea,
    reason text not null,
    seen_at timestamptz not null default now(),
    unique (projection, topic, partition, "offset")
);

-- What an operator retried, discarded or rebuilt, by whom and why.
create table operator_actions (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    who text not null,
    action text not null,
    target text not null,
    reason text not null
);
