-- From which offset on the feed has read a partition of the log: what was before it in the epoch before, or in a log that was lost,
-- is not missing.
alter table log_positions add column begun_at bigint not null default 0;
