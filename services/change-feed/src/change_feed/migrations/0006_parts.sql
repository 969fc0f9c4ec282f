-- How a scope sees a hand-over, as a leaving or a coming. A function, so that a page without any does not plan for it.
create function feed_part(entry bigint, seen_by integer) returns text stable language plpgsql as $$
begin
    return (select part from audience where position = entry and scope = seen_by);
end $$;
