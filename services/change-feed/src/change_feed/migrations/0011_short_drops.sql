-- As in 0008, but those who read the feed wait only while rows go from one table to another: which ones stay is found out before, and
-- a bound that was validated beforehand spares reading through all that is kept. What is kept no longer is deleted by itself.

-- Says of what is kept that it lies below the end of the partition that is dropped next; to be validated before the drop.
create function feed_bound_kept(high bigint) returns void language plpgsql as $$
begin
    alter table audience_kept drop constraint if exists below_next;
    execute format('alter table audience_kept add constraint below_next check (position < %L::bigint) not valid', high);
    alter table entries_kept drop constraint if exists below_next;
    execute format('alter table entries_kept add constraint below_next check (position < %L::bigint) not valid', high);
end $$;

create or replace function feed_drop_partition(low bigint, high bigint) returns void language plpgsql as $$
declare
    staying bigint[];
begin
    execute format(
        'select array('
        'select e.position from %1$I e join cvs c on c.cv_id = e.cv_id and c.newest_position = e.position '
        'union select e.position from %1$I e join members m on m.cv_id = e.cv_id and coalesce(m.until, m.since) = e.position '
        'where e.type = ''dk.cvhub.change-feed.citizen-handed-over.v1'')',
        'entries_' || low
    ) into staying;
    execute format('alter table audience detach partition %I', 'audience_' || low);
    execute format('alter table entries detach partition %I', 'entries_' || low);
    alter table audience detach partition audience_kept;
    alter table entries detach partition entries_kept;
    execute format('insert into entries_kept select * from %I where position = any($1)', 'entries_' || low) using staying;
    execute format('insert into audience_kept select * from %I where position = any($1)', 'audience_' || low) using staying;
    execute format('drop table %I', 'audience_' || low);
    execute format('drop table %I', 'entries_' || low);
    execute format('alter table audience attach partition audience_kept for values from (minvalue) to (%L)', high);
    execute format('alter table entries attach partition entries_kept for values from (minvalue) to (%L)', high);
    alter table audience_kept drop constraint if exists below_next;
    alter table entries_kept drop constraint if exists below_next;
    update feed set floor = high;
end $$;
