#!/bin/sh
# One role and one database per service; run once, by the postgres image, on an empty volume. DATABASES names those to make, where not all are.
set -eu
export POSTGRES_PASSWORD="${POSTGRES_PASSWORD:?the password that the roles of the services get}"
for name in ${DATABASES:-cv_registry cv_status contact_verification change_feed pdf_renderer cv_search}; do
  psql -v ON_ERROR_STOP=1 -v name="$name" --username postgres <<'SQL'
\getenv password POSTGRES_PASSWORD
select format('create role %I login password %L', :'name', :'password')
where not exists (select from pg_roles where rolname = :'name') \gexec
create database :"name" owner :"name";
revoke connect on database :"name" from public;
SQL
done
