-- As before, and tells whom it has erased and at which version, so that followers can be told.
drop function erase_persons(uuid[]);
create function erase_persons(erased uuid[]) returns table (erased_person uuid, erased_version bigint) language plpgsql as $$
begin
    return query
        insert into erasures (subject, version, erased_at)
        select person_id, greatest(reserved + 1, (extract(epoch from now()) * 1000000)::bigint), now()
        from persons where person_id = any(erased)
        on conflict (subject) do nothing
        returning subject, version;
    delete from subscriptions where person_id = any(erased);
    delete from prepares where person_id = any(erased);
    delete from messages where person_id = any(erased);
    delete from code_sends where person_id = any(erased);
    delete from codes where person_id = any(erased);
    delete from contacts where person_id = any(erased);
    delete from periods where person_id = any(erased);
    delete from persons where person_id = any(erased);
end $$;
