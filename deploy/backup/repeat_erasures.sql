-- Erases in cv-registry, again, every citizen whom the temporary table `ledger` names; `subject` is a person id or a CV id.
create temporary table gone as
select c.person_id, c.cv_id from citizens c where exists (select from ledger l where l.subject in (c.person_id, c.cv_id));

delete from asylum_transitions t using gone g where t.person_id = g.person_id;
delete from cv_state_moves m using gone g where m.cv_id = g.cv_id;
delete from cv_revisions r using gone g where r.cv_id = g.cv_id;
delete from account_letters l using gone g where l.person_id = g.person_id;
delete from statuses s using gone g where s.cv_id = g.cv_id;
delete from contacts k using gone g where k.person_id = g.person_id;
delete from request_log r using gone g where r.subject = g.person_id;
delete from cvs v using gone g where v.cv_id = g.cv_id;
delete from former_person_numbers f using gone g where f.person_id = g.person_id;
delete from retired_cv_numbers n using gone g where n.cv_id = g.cv_id;
delete from citizens c using gone g where c.person_id = g.person_id;

-- Versions are microseconds since 1970: above all that were given before the back-up was lost.
create temporary table again as
select subject, greatest(max(version) + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint) as version, min(erased_at) as erased_at
from (
    select subject, version, erased_at from ledger
    union all select person_id, 0, now() from gone
    union all select cv_id, 0, now() from gone
) all_of_them
group by subject;
insert into erasures (subject, version, erased_at) select subject, version, erased_at from again
on conflict (subject) do update set version = greatest(erasures.version, excluded.version);

insert into outbox (id, aggregatetype, aggregateid, type, payload, version, time)
select gen_random_uuid(), 'cv-registry.citizen-changed', g.person_id::text, 'dk.cvhub.cv-registry.citizen-changed.v1',
       convert_to(format('{"version":%s,"change":"erased"}', a.version), 'UTF8'), a.version, clock_timestamp()
from gone g join again a on a.subject = g.person_id;

insert into outbox (id, aggregatetype, aggregateid, type, payload, version, time)
select gen_random_uuid(), 'cv-registry.cv-changed', g.cv_id::text, 'dk.cvhub.cv-registry.cv-changed.v1',
       convert_to(format('{"version":%s,"change":"erased"}', a.version), 'UTF8'), a.version, clock_timestamp()
from gone g join again a on a.subject = g.cv_id;
