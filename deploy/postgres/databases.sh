#!/bin/sh
# One role and one database per service; run once, by the postgres image, on an empty volume.
set -eu
for name in cv_registry cv_status contact_verification change_feed pdf_renderer cv_search; do
  psql -v ON_ERROR_STOP=1 -v name="$name" -v password="$POSTGRES_PASSWORD" --username postgres <<'SQL'
create role :"name" login password :'password';
create database :"name" owner :"name";
revoke connect on database :"name" from public;
SQL
done
