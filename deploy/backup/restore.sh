#!/usr/bin/env bash
# restore.sh FOLDER [LEDGER]   puts a back-up into a new, empty server, then repeats the erasures of LEDGER (by default the one in FOLDER).
# PGHOST, PGPORT, PGPASSWORD name the server and the password of postgres; POSTGRES_PASSWORD is given to the services' roles. No service may run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(cd "${1:?usage: restore.sh FOLDER [LEDGER]}" && pwd)
ledger=${2:-$folder/erasures.csv}
(cd "$folder" && sha256sum --check --quiet dumps.sha256)

if [ "$(psql -X -qAt -U postgres -d postgres -c "select count(*) from pg_database where datname = 'cv_registry'")" != 0 ]; then
  echo "this server has databases of cvhub already: restore into a new one" >&2
  exit 1
fi
sh "$here/../postgres/databases.sh"
for dump in "$folder"/*.dump; do
  database=$(basename "$dump" .dump)
  pg_restore -U postgres --exit-on-error --single-transaction --dbname="$database" "$dump"
  echo "restored $database"
done

# Whoever was erased after the back-up is erased again before anybody can ask; the followers hear of it by the event.
psql -X -q -v ON_ERROR_STOP=1 -U postgres -d cv_registry --single-transaction \
  -c "create temporary table ledger (subject uuid, version bigint, erased_at timestamptz)" \
  -c "\copy ledger from '$ledger' with (format csv)" \
  -f "$here/repeat_erasures.sql"
echo "restored; start the services, then: cvhub doctor"
