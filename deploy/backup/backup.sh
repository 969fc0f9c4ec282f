#!/usr/bin/env bash
# backup.sh FOLDER            a dump of each database, and the ledger of erasures
# backup.sh --ledger FOLDER   the ledger alone: small, random ids only; take it every few minutes
# PGHOST, PGPORT, PGUSER and PGPASSWORD name the server and a role that may read everything. The dumps hold personal data: keep FOLDER encrypted.
# DATABASES names those that lie on this server, where not all do: then once per server, that of cv_registry last. The ledger lies in cv_registry.
set -euo pipefail
umask 077
# First the databases that follow, last the registry that they ask: what it knows is never older than what they have.
databases=(pdf_renderer change_feed cv_search contact_verification cv_status cv_registry)
ledger_only=
if [ "${1:-}" = --ledger ]; then ledger_only=1; shift; fi
folder=${1:?usage: backup.sh [--ledger] FOLDER}
chosen=" ${DATABASES:-${databases[*]}} "
for name in $chosen; do
  case " ${databases[*]} " in *" $name "*) ;; *) echo "DATABASES: there is no database $name; there are: ${databases[*]}" >&2; exit 1 ;; esac
done
mkdir -p "$folder"

if [ -z "$ledger_only" ]; then
  for database in "${databases[@]}"; do
    case $chosen in *" $database "*) ;; *) continue ;; esac
    pg_dump --format=custom --compress=6 --dbname="$database" --file="$folder/$database.partial"
    mv "$folder/$database.partial" "$folder/$database.dump"
    (cd "$folder" && touch dumps.sha256 && { grep -v " $database.dump$" dumps.sha256 || true; sha256sum -- "$database.dump"; } > sums.partial && mv sums.partial dumps.sha256)
  done
fi
case $chosen in *" cv_registry "*)
  psql -X -q -v ON_ERROR_STOP=1 --dbname=cv_registry \
    -c "\copy (select subject, version, erased_at from erasures order by subject) to stdout with (format csv)" > "$folder/erasures.partial"
  mv "$folder/erasures.partial" "$folder/erasures.csv"
esac
echo "backed up to $folder"
