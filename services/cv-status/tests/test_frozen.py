"""What goes into the document of a frozen version, also where the lists have changed since."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from cv_contracts.codelists import default
from cv_contracts.ids import CvId, PersonId
from cv_status.frozen import FrozenDocuments
from cv_status.store import FrozenVersion, WholeVersion

PERSON, CV, VERSION = PersonId(UUID(int=1)), CvId(UUID(int=2)), UUID(int=3)
FROZEN_AT = datetime(2026, 11, 22, tzinfo=UTC)
CONTENT = b'{"PersonalData": {}}'


class Store:
    """Has one frozen version."""

    async def whole(self, cv_id: CvId, version_id: UUID) -> WholeVersion | None:
        version = FrozenVersion(VERSION, 9, 3, None, "101", FROZEN_AT, 100, b"")
        return WholeVersion(PERSON, CV, version, CONTENT) if (cv_id, version_id) == (CV, VERSION) else None


async def document(lists: Any, version_id: UUID = VERSION) -> Any:
    store: Any = Store()
    unused: Any = None
    whole = await FrozenDocuments(store, unused, lists).whole_document(CV, version_id)
    return None if whole is None else orjson.loads(orjson.dumps(whole))


@pytest.mark.parametrize("listed", [True, False])
async def test_a_status_that_left_the_list_is_of_unknown_name_and_the_document_is_as_it_was(
    *, listed: bool
) -> None:
    lists = default()
    found = await document(lists if listed else replace(lists, cv_statuses={}))
    name = lists.cv_statuses[3].name if listed else "Ukendt"
    assert found["status"] == {"id": 3, "name": name}
    assert (found["kind"], found["personId"], found["cvId"]) == ("frozen", str(PERSON), str(CV))
    assert (found["timestamp"], found["content"]) == (FROZEN_AT.isoformat(), orjson.loads(CONTENT))


async def test_a_version_that_was_erased_has_no_document() -> None:
    assert await document(default(), UUID(int=4)) is None
