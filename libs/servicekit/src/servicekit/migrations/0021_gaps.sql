-- When records of a partition were found gone before they were read; null once a build that was begun later is live.
alter table follow_positions add column gap_at timestamptz;
