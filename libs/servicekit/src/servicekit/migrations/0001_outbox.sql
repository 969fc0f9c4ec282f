-- Columns as Debezium's outbox event router reads them, so that a platform team can put it in the relay's place.
create table outbox (
    seq bigint generated always as identity primary key,
    id uuid not null,
    aggregatetype text not null,
    aggregateid text not null,
    type text not null,
    payload bytea not null,
    version bigint not null,
    time timestamptz not null,
    tracingspancontext text,
    partition integer
) with (
    -- Rows live for milliseconds: dead ones are cleaned by their number, not by a share of a table that is mostly empty.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 50000
);

-- What the broker refused for good. A row here holds back the later rows of its key until an operator decides.
create table outbox_refused (
    seq bigint primary key,
    id uuid not null,
    aggregatetype text not null,
    aggregateid text not null,
    type text not null,
    payload bytea not null,
    version bigint not null,
    time timestamptz not null,
    tracingspancontext text,
    partition integer,
    reason text not null,
    refused_at timestamptz not null default now()
);
create index outbox_refused_key on outbox_refused (aggregatetype, aggregateid);

-- Who decided what about a refused record, and why. No content is kept.
create table outbox_decisions (
    id bigint generated always as identity primary key,
    seq bigint not null,
    event_id uuid not null,
    aggregatetype text not null,
    decision text not null check (decision in ('retry', 'discard')),
    reason text not null,
    decided_by text not null,
    decided_at timestamptz not null default now()
);
