-- As in 0004, but of old partitions the newest hand-over of each CV and scope is kept too: whoever reads them later than that hears who
-- came, although the CV did not change afterwards, and of whom nothing may be kept.
create or replace function feed_drop_partition(low bigint, high bigint) returns void language plpgsql as $$
begin
    execute format('alter table audience detach partition %I', 'audience_' || low);
    execute format('alter table entries detach partition %I', 'entries_' || low);
    alter table audience detach partition audience_kept;
    alter table entries detach partition entries_kept;
    execute format(
        'insert into entries_kept select e.* from %1$I e join cvs c on c.cv_id = e.cv_id and c.newest_position = e.position '
        'union select e.* from %1$I e join members m on m.cv_id = e.cv_id and coalesce(m.until, m.since) = e.position '
        'where e.type = ''dk.cvhub.change-feed.citizen-handed-over.v1''',
        'entries_' || low
    );
    execute format(
        'insert into audience_kept select a.* from %I a where exists (select from entries_kept e where e.position = a.position)',
        'audience_' || low
    );
    delete from entries_kept e where not exists (
        select from cvs c where c.cv_id = e.cv_id and c.newest_position = e.position
    ) and not (e.type = 'dk.cvhub.change-feed.citizen-handed-over.v1' and exists (
        select from members m where m.cv_id = e.cv_id and coalesce(m.until, m.since) = e.position
    ));
    delete from audience_kept a where not exists (select from entries_kept e where e.position = a.position);
    execute format('drop table %I', 'audience_' || low);
    execute format('drop table %I', 'entries_' || low);
    execute format('alter table audience attach partition audience_kept for values from (minvalue) to (%L)', high);
    execute format('alter table entries attach partition entries_kept for values from (minvalue) to (%L)', high);
    delete from seen_events where position < high;
    update feed set floor = high;
end $$;
