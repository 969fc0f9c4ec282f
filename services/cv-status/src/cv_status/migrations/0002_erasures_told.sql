-- As before, and tells which CVs it has erased and at which version, so that followers can be told.
drop function erase_persons(uuid[]);
create function erase_persons(persons uuid[]) returns table (erased_cv uuid, erased_version bigint) language plpgsql as $$
declare
    cvs uuid[] := array(select cv_id from statuses where person_id = any(persons));
begin
    perform set_config('cv_status.erasing', 'on', true);
    return query
        insert into erasures (subject, version, erased_at)
        select cv_id, greatest(version + 1, (extract(epoch from now()) * 1000000)::bigint), now()
        from statuses where cv_id = any(cvs)
        on conflict (subject) do nothing
        returning subject, version;
    delete from frozen_versions where cv_id = any(cvs);
    delete from frozen_contents where cv_id = any(cvs);
    delete from statuses where cv_id = any(cvs);
    perform set_config('cv_status.erasing', 'off', true);
end $$;
