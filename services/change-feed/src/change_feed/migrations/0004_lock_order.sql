-- As in 0001, but audience before entries: in that order readers lock them, and in the other one they met in a deadlock.

create or replace function feed_make_partition(low bigint, high bigint) returns void language plpgsql as $$
begin
    if to_regclass('entries_' || low) is null then
        execute format(
            'create table %I partition of audience for values from (%L) to (%L) with (fillfactor = 90)', 'audience_' || low, low, high
        );
        execute format('create table %I partition of entries for values from (%L) to (%L)', 'entries_' || low, low, high);
    end if;
end $$;

create or replace function feed_drop_partition(low bigint, high bigint) returns void language plpgsql as $$
begin
    execute format('alter table audience detach partition %I', 'audience_' || low);
    execute format('alter table entries detach partition %I', 'entries_' || low);
    alter table audience detach partition audience_kept;
    alter table entries detach partition entries_kept;
    execute format(
        'insert into entries_kept select e.* from %I e join cvs c on c.cv_id = e.cv_id and c.newest_position = e.position', 'entries_' || low
    );
    execute format(
        'insert into audience_kept select a.* from %I a where exists (select from entries_kept e where e.position = a.position)',
        'audience_' || low
    );
    delete from entries_kept e where not exists (
        select from cvs c where c.cv_id = e.cv_id and c.newest_position = e.position
    );
    delete from audience_kept a where not exists (select from entries_kept e where e.position = a.position);
    execute format('drop table %I', 'audience_' || low);
    execute format('drop table %I', 'entries_' || low);
    execute format('alter table audience attach partition audience_kept for values from (minvalue) to (%L)', high);
    execute format('alter table entries attach partition entries_kept for values from (minvalue) to (%L)', high);
    delete from seen_events where position < high;
    update feed set floor = high;
end $$;
