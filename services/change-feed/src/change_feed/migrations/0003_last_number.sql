-- The number that a CV has or last had: its deletion is told under it, also where the number was withdrawn first.
alter table cvs add column last_number text;
update cvs set last_number = cv_number;

-- Changes of CVs without a number were no newest change before.
update cvs c set newest_position = e.position, newest_version = e.version, newest_change = e.change
from (
    select distinct on (cv_id) cv_id, position, version, change from entries
    where type = 'dk.cvhub.cv-registry.cv-changed.v1' and cv_number is null and not erased
    order by cv_id, version desc
) e
where e.cv_id = c.cv_id and not c.erased and (c.newest_version is null or c.newest_version < e.version);
