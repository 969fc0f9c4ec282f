-- Erases in cv-registry, again, every citizen whom the temporary table `ledger` names; `subject` is a person id or a CV id.
create temporary table gone as
select c.person_id, c.cv_id from citizens c where exists (select from ledger l where l.subject in (c.person_id, c.cv_id));

create temporary table removed (person_id uuid, name text);
with t as (delete from asylum_transitions using gone g where asylum_transitions.person_id = g.person_id returning g.person_id)
insert into removed select person_id, 'asylum_transitions' from t;
with t as (delete from cv_state_moves using gone g where cv_state_moves.cv_id = g.cv_id returning g.person_id)
insert into removed select person_id, 'cv_state_moves' from t;
with t as (delete from cv_revisions using gone g where cv_revisions.cv_id = g.cv_id returning g.person_id)
insert into removed select person_id, 'cv_revisions' from t;
with t as (delete from account_letters using gone g where account_letters.cv_id = g.cv_id returning g.person_id)
insert into removed select person_id, 'account_letters' from t;
with t as (delete from statuses using gone g where statuses.cv_id = g.cv_id returning g.person_id)
insert into removed select person_id, 'statuses' from t;
with t as (delete from contacts using gone g where contacts.person_id = g.person_id returning g.person_id)
insert into removed select person_id, 'contacts' from t;
with t as (delete from request_log using gone g where request_log.subject in (g.person_id, g.cv_id) returning g.person_id)
insert into removed select person_id, 'request_log' from t;
with t as (delete from retired_cv_numbers using gone g where retired_cv_numbers.cv_id = g.cv_id returning g.person_id)
insert into removed select person_id, 'retired_cv_numbers' from t;
with t as (delete from former_person_numbers using gone g where former_person_numbers.person_id = g.person_id returning g.person_id)
insert into removed select person_id, 'former_person_numbers' from t;
with t as (delete from merged_persons using gone g where merged_persons.person_id = g.person_id returning g.person_id)
insert into removed select person_id, 'merged_persons' from t;
with t as (delete from cvs using gone g where cvs.cv_id = g.cv_id returning g.person_id)
insert into removed select person_id, 'cvs' from t;
with t as (delete from citizens using gone g where citizens.person_id = g.person_id returning g.person_id)
insert into removed select person_id, 'citizens' from t;

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

-- The receipts that orders wait for, of those too who came after the back-up and were erased before it was restored.
insert into erasure_receipts as r (subject, version, removed)
select a.subject, a.version, coalesce(jsonb_object_agg(c.name, c.rows) filter (where c.name is not null), '{}')
from again a left join (select person_id, name, count(*) as rows from removed group by person_id, name) c on c.person_id = a.subject
group by a.subject, a.version
on conflict (subject) do update set version = greatest(r.version, excluded.version), removed = r.removed || excluded.removed;

insert into outbox (id, aggregatetype, aggregateid, type, payload, version, time)
select gen_random_uuid(), 'cv-registry.citizen-changed', g.person_id::text, 'dk.cvhub.cv-registry.citizen-changed.v1',
       convert_to(format('{"version":%s,"change":"erased"}', a.version), 'UTF8'), a.version, clock_timestamp()
from gone g join again a on a.subject = g.person_id;

insert into outbox (id, aggregatetype, aggregateid, type, payload, version, time)
select gen_random_uuid(), 'cv-registry.cv-changed', g.cv_id::text, 'dk.cvhub.cv-registry.cv-changed.v1',
       convert_to(format('{"version":%s,"change":"erased"}', a.version), 'UTF8'), a.version, clock_timestamp()
from gone g join again a on a.subject = g.cv_id;
