#!/usr/bin/env bash
# restore.sh FOLDER [LEDGER]   puts a back-up into a server that has none of its databases, then repeats the erasures of LEDGER (by default the one in FOLDER).
# PGHOST, PGPORT, PGPASSWORD name the server and the password of postgres. CV_REGISTRY_PASSWORD, CV_STATUS_PASSWORD and so on are given to the services' roles, where there
# are none yet, POSTGRES_PASSWORD to those that have no such variable; production sets the six. No service may run.
# DATABASES names those to restore, where it is not all that FOLDER holds; without cv_registry there is no erasure to repeat.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

refuse() {
  echo "$1" >&2
  exit 1
}

copy_ledger() {
  psql -X -q -v ON_ERROR_STOP=1 -U postgres --single-transaction \
    -c "create temporary table ledger (subject uuid, version bigint, erased_at timestamptz)" \
    -c "\copy ledger from pstdin with (format csv)" "$@" < "$ledger"
}

# Everything that can be wrong is looked at before the first database is made.
folder=${1:?usage: restore.sh FOLDER [LEDGER]}
[ -f "$folder/dumps.sha256" ] || refuse "$folder is no back-up: it has no dumps.sha256"
folder=$(cd "$folder" && pwd)
chosen=${DATABASES:-$(cd "$folder" && shopt -s nullglob && for dump in *.dump; do printf '%s ' "${dump%.dump}"; done)}
[ -n "$chosen" ] || refuse "$folder holds no dump of a database"
for database in $chosen; do
  [[ $database =~ ^[a-z_]+$ ]] || refuse "there is no database $database: their names are of a-z and _, as cv_status"
  (cd "$folder" && grep " $database.dump$" dumps.sha256 | sha256sum --check --quiet) ||
    refuse "$folder/$database.dump is missing, damaged or not whole: take another back-up"
done
there=$(psql -X -qAt -U postgres -d postgres -c "select datname from pg_database") ||
  refuse "cannot ask the server that PGHOST and PGPORT name: is it up, and is PGPASSWORD that of postgres?"
roles=$(psql -X -qAt -U postgres -d postgres -c "select rolname from pg_roles")
for database in $chosen; do
  variable=$(printf %s "$database" | tr '[:lower:]' '[:upper:]')_PASSWORD
  [ -n "${!variable:-${POSTGRES_PASSWORD:-}}" ] || grep -qx "$database" <<< "$roles" ||
    refuse "$variable: the password that the role $database gets"
done
for database in $chosen; do
  ! grep -qx "$database" <<< "$there" ||
    refuse "this server has a database $database already: restore into a new one, or rename it before (alter database $database rename to ${database}_old)"
done
repeats=
case " $chosen " in *" cv_registry "*) repeats=1 ;; esac
if [ -n "$repeats" ]; then
  ledger=${2:-$folder/erasures.csv}
  [ -f "$ledger" ] || refuse "there is no ledger $ledger: name the newest that backup.sh --ledger has written"
  copy_ledger -d postgres || refuse "$ledger is no ledger of erasures: name the newest that backup.sh --ledger has written"
elif [ -n "${2:-}" ]; then
  refuse "a ledger is for cv_registry, which is not among: $chosen"
fi

trap '[ $? = 0 ] || echo "not restored whole: start no service, drop on this server what was made of $chosen, and begin again" >&2' EXIT
DATABASES=$chosen sh "$here/../postgres/databases.sh"
for database in $chosen; do
  pg_restore -U postgres --exit-on-error --single-transaction --dbname="$database" "$folder/$database.dump"
  echo "restored $database"
done

# Whoever was erased after the back-up is erased again before anybody can ask; the followers hear of it by the event.
[ -z "$repeats" ] || copy_ledger -d cv_registry -f "$here/repeat_erasures.sql"
echo "restored; start the services, then: cvhub doctor"
