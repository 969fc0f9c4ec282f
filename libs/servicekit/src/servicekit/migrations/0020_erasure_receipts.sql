-- What an erasure has removed here, per subject (a random id) and table. Random ids and numbers only.
create table erasure_receipts (
    subject   uuid primary key,
    version   bigint not null,
    removed   jsonb not null,
    erased_at timestamptz not null default now()
);

-- Whom a request was about, by random id, so that an erasure finds it.
alter table request_log add column subject uuid;
create index request_log_subject on request_log (subject) where subject is not null;
