-- Searches kept for their later pages, for all instances. Unlogged: after a crash of the database one searches again.
-- ids holds the 16 bytes of each of the `named` persons that can be paged through; the last of them come after the answer.
create unlogged table kept_searches (
    id      uuid primary key,
    owner   bytea not null,
    made_at timestamptz not null default clock_timestamp(),
    total   integer not null,
    named   integer not null,
    shape   bytea not null,
    groups  bytea not null,
    ids     bytea not null
);
-- A page is cut out of the ids without reading all of them.
alter table kept_searches alter column ids set storage external;
create index kept_searches_made on kept_searches (made_at);
