#!/usr/bin/env bash
# backup.sh FOLDER            a dump of each database, and the ledger of erasures
# backup.sh --ledger FOLDER   the ledger alone: small, random ids only; take it every few minutes
# PGHOST, PGPORT, PGUSER and PGPASSWORD name the server and a role that may read everything. The dumps hold personal data: keep FOLDER encrypted.
set -euo pipefail
umask 077
databases=(cv_registry cv_status contact_verification cv_search change_feed pdf_renderer)
ledger_only=
if [ "${1:-}" = --ledger ]; then ledger_only=1; shift; fi
folder=${1:?usage: backup.sh [--ledger] FOLDER}
mkdir -p "$folder"

# First the databases that follow, last the registry that they ask: what it knows is never older than what they have.
if [ -z "$ledger_only" ]; then
  for ((number = ${#databases[@]} - 1; number >= 0; number--)); do
    database=${databases[number]}
    pg_dump --format=custom --compress=6 --dbname="$database" --file="$folder/$database.partial"
    mv "$folder/$database.partial" "$folder/$database.dump"
  done
  (cd "$folder" && sha256sum -- *.dump > dumps.sha256)
fi
psql -X -q -v ON_ERROR_STOP=1 --dbname=cv_registry \
  -c "\copy (select subject, version, erased_at from erasures order by subject) to stdout with (format csv)" > "$folder/erasures.partial"
mv "$folder/erasures.partial" "$folder/erasures.csv"
echo "backed up to $folder"
