-- Rendered documents. hash is that of the whole input, versions of template and engine included; identity that of what the
-- document is about, so that a frozen version is found whatever it was once rendered with.
create table documents (
    hash       bytea primary key check (length(hash) = 32),
    identity   bytea not null check (length(identity) = 32),
    kind       text not null check (kind in ('cv', 'frozen')),
    person_id  uuid not null,
    cv_id      uuid not null,
    template   text not null,
    engine     text not null,
    pdf        bytea not null,
    created_at timestamptz not null default now()
);
-- A PDF is compressed already.
alter table documents alter column pdf set storage external;
create unique index documents_of_version on documents (identity) where kind = 'frozen';
create index documents_person on documents (person_id);
create index documents_cv on documents (cv_id);
create index documents_age on documents (created_at) where kind = 'cv';

-- What may be asked for again after ten years is never changed; it leaves by an erasure only.
create function refuse_change_of_document() returns trigger language plpgsql as $$
begin
    raise exception 'a document is immutable' using errcode = 'restrict_violation';
end $$;
create trigger immutable before update on documents for each row execute function refuse_change_of_document();

-- Frozen versions that are to be rendered before anybody asks for them.
create table ahead (
    version_id uuid primary key,
    cv_id      uuid not null,
    attempts   integer not null default 0,
    next_try   timestamptz not null default now()
);
create index ahead_due on ahead (next_try);
create index ahead_cv on ahead (cv_id);

-- Random ids of persons and CVs that were erased, so that a rendering which was on its way is not stored after it.
create table erased (
    subject   uuid primary key,
    erased_at timestamptz not null default now()
);

-- What is followed needs no building: there is nothing to read before the first event.
insert into projection_generations (projection, generation, status, snapshot_done, swapped_at)
values ('citizens', 1, 'live', true, now()), ('statuses', 1, 'live', true, now());
