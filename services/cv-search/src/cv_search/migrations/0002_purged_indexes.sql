-- Indexes that are searched, by place. A document that an index has let go of still lies in its files, so after an erasure it
-- is built anew: nothing that was gone at change `since` was ever in it. Instances say again and again which index they have.
create table index_places (
    place   text primary key,
    since   bigint not null,
    seen_at timestamptz not null default now()
);
