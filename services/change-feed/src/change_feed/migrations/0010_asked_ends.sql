-- The ends that a list was asked for with, by which it is gone on with as by the one answered. The greatest number: none was asked for.
alter table extracts add column asked_ends bigint[] not null default '{9223372036854775807}';
