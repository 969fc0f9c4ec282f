-- As in 0004, but partitions are made on their own and then attached: that waits for nobody who reads the feed, not even for a back-up.
create or replace function feed_make_partition(low bigint, high bigint) returns void language plpgsql as $$
begin
    if to_regclass('entries_' || low) is null then
        execute format(
            'create table %I (like audience including defaults including constraints) with (fillfactor = 90)', 'audience_' || low
        );
        execute format('create table %I (like entries including defaults including constraints)', 'entries_' || low);
        execute format('alter table audience attach partition %I for values from (%L) to (%L)', 'audience_' || low, low, high);
        execute format('alter table entries attach partition %I for values from (%L) to (%L)', 'entries_' || low, low, high);
    end if;
end $$;
