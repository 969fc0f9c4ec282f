-- Records that could not be read, can be now, and wait for the one who writes the feed; headers as in unreadable_records.
create table rereads (
    id bigint primary key,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    key bytea,
    headers bytea not null,
    value bytea
);
