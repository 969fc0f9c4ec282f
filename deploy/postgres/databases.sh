#!/bin/sh
# One role and one database per service; run once, by the postgres image, on an empty volume. DATABASES names those to make, where not all are.
# The password of a role is CV_REGISTRY_PASSWORD, CV_STATUS_PASSWORD and so on; POSTGRES_PASSWORD where there is none, which is for a developer's machine.
# Production sets all six: whoever holds one service's must not open the others' databases. A role that is there keeps its own, and needs none here.
set -eu
chosen=${DATABASES:-cv_registry cv_status contact_verification change_feed pdf_renderer cv_search}
roles=$(psql -X -qAt --username postgres -c "select rolname from pg_roles")

password_of() {
  variable=$(printf %s "$1" | tr '[:lower:]' '[:upper:]')_PASSWORD
  password=$(printenv "$variable" || true)
  password=${password:-${POSTGRES_PASSWORD:-}}
  [ -n "$password" ] || printf '%s\n' "$roles" | grep -qx "$1" || { echo "$variable: the password that the role $1 gets" >&2; exit 1; }
}

for name in $chosen; do password_of "$name"; done
for name in $chosen; do
  password_of "$name"
  ROLE_PASSWORD=$password psql -v ON_ERROR_STOP=1 -v name="$name" --username postgres <<'SQL'
\getenv password ROLE_PASSWORD
select format('create role %I login password %L', :'name', :'password')
where not exists (select from pg_roles where rolname = :'name') \gexec
create database :"name" owner :"name";
revoke connect on database :"name" from public;
SQL
done
