"""What each service says that it holds of a citizen, against the tables that its migrations make."""

from importlib import import_module
from typing import Final

import asyncpg
import pytest

from cvhub.services import SERVICES, Service
from cvhub.testing import FreshDatabase
from servicekit.follow.erasing import Holdings

pytestmark = pytest.mark.infra

OWNERS = [pytest.param(service, id=service.name) for service in SERVICES if service.migrations]
IDS: Final = ("person_id", "cv_id", "subject", "survivor_id")
MAY_STAY: Final = {"access_log", "erasures", "erasure_receipts", "projected_versions", "pending_subjects"}
"""Random ids with versions and times; the rows of the access log for their legal period."""
MAY_STAY_OF: Final = {
    "change-feed": {"members"},  # the scopes whose readers hear of the erasure
    "pdf-renderer": {"erased"},  # what was on its way is not stored after it
}
_WITH_IDS = """
select distinct c.table_name from information_schema.columns c
join information_schema.tables t using (table_schema, table_name)
where c.table_schema = 'public' and t.table_type = 'BASE TABLE' and c.column_name = any($1)
and not exists (select from pg_inherits i where i.inhrelid = to_regclass(c.table_name))
"""


@pytest.mark.parametrize("service", OWNERS)
async def test_every_table_with_an_id_of_a_citizen_is_counted_or_keeps_the_id_only(
    service: Service, fresh_database: FreshDatabase
) -> None:
    holdings: Holdings = import_module(f"{service.module}.holdings").HOLDINGS
    settings = await fresh_database(service.migrations)
    connection = await asyncpg.connect(settings.dsn)
    try:
        tables = {row[0] for row in await connection.fetch(_WITH_IDS, IDS)}
    finally:
        await connection.close()
    counted = {"request_log", *(held.table for held in holdings.rows)}
    assert tables - counted - MAY_STAY == MAY_STAY_OF.get(service.name, set())
