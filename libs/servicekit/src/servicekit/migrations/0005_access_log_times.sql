-- Finds the rows of some days. Months to come have it. One that is there gets it at once where that takes no time; where there is
-- more, writing it would keep waiting whoever is to be logged, and operators make it: `create index concurrently`.
create index access_log_at on only access_log using brin (at);
do $$
declare
    month regclass;
begin
    for month in select inhrelid from pg_inherits where inhparent = 'access_log'::regclass loop
        if pg_relation_size(month) < 100 * 1024 * 1024 then
            execute format('create index on %s using brin (at)', month);
        end if;
    end loop;
end $$;
