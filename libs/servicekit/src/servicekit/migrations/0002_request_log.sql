-- First answers of writes that named a request id. Both hashes are keyed: neither ids nor bodies can be found out from here.
create table request_log (
    request bytea primary key,
    body_hash bytea not null,
    status smallint not null,
    body bytea not null,
    headers jsonb not null,
    answered_at timestamptz not null default now()
);
create index request_log_answered_at on request_log (answered_at);
