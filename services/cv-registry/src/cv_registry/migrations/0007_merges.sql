-- Persons who turned out to be another one: closed, kept until the surviving person is erased.
create table merged_persons (
    person_id   uuid primary key,
    survivor_id uuid not null,
    reason      text not null,
    merged_by   text not null,
    merged_at   timestamptz not null
);
create index merged_persons_survivor on merged_persons (survivor_id);

-- Whether the registry itself changed the citizen since the source last told of it, as a merger of municipalities does:
-- what the source tells again under the same source version is then late and no contradiction.
alter table citizens add column changed_here boolean not null default false;
