"""What cv-status asks of the registry: whose a number is, and the CV that is to be frozen."""

from typing import Any
from uuid import uuid4

import pytest

from cv_contracts.wire.cv_profile import CVProfileType
from cv_registry.testing import RegistryClient, a_citizen
from servicekit.data.postgres import Database

pytestmark = pytest.mark.infra


async def ask(registry: RegistryClient, path: str, body: Any, service: str = "cv-status") -> dict[str, Any]:
    response = await registry.call(
        "POST", f"/internal/{path}", body, service=service, content_type="application/json"
    )
    answer: dict[str, Any] = response.json()
    return answer


async def test_a_citizen_is_found_by_either_number_and_in_the_form_of_states(
    registry: RegistryClient,
) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    by_id = await ask(registry, "citizens/states", {"subjects": [ids["personId"]]})
    for body in ({"personNumber": citizen["personNumber"]}, {"cvNumber": ids["cvNumber"]}):
        assert (await ask(registry, "citizens/lookup", body))["states"] == by_id["states"]
    assert (await ask(registry, "citizens/lookup", {"personNumber": "0000000000"}))["states"] == []
    for wrong in ({}, {"personNumber": "0101000001", "cvNumber": "10000001"}):
        assert (await ask(registry, "citizens/lookup", wrong))["code"] == 1014


async def test_the_cv_to_freeze_is_a_whole_profile_with_its_version_and_state(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen(addressProtected=True)
    (ids,) = await registry.register(citizen)
    assert await ask(registry, "cvs/content", {"cvId": ids["cvId"]}) == {"unknown": True}
    assert await ask(registry, "cvs/content", {"cvId": str(uuid4())}) == {"unknown": True}
    await registry.replace(citizen["personNumber"])
    response = await registry.call(
        "POST",
        "/internal/cvs/content",
        {"cvId": ids["cvId"]},
        service="cv-status",
        content_type="application/json",
    )
    answer = response.json()
    shown = await registry.get(citizen["personNumber"])
    assert f'"{answer["version"]}"' == shown.headers["etag"]
    assert answer["state"] == "ACTIVE"
    _, _, content = response.content.partition(b'"content":')
    profile = CVProfileType.from_json(content[:-1])
    assert str(profile.JobnetCVId) == ids["cvNumber"]
    assert profile.PersonalData.PostalAddress.AddressLine == citizen["address"]["addressLine"]
    row = await database.fetchrow("SELECT subject, service FROM access_log WHERE method = 'SetCvStatus'")
    assert row is not None
    assert (str(row["subject"]), row["service"]) == (ids["personId"], "cv-status")


async def test_the_content_of_a_deleted_cv_is_not_given(registry: RegistryClient) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    await registry.replace(citizen["personNumber"])
    await registry.move(ids["cvId"], "DELETED")
    answer = await ask(registry, "cvs/content", {"cvId": ids["cvId"]})
    assert (answer["state"], answer["content"]) == ("DELETED", None)


async def test_only_cv_status_gets_a_cv_to_freeze(registry: RegistryClient) -> None:
    for service in ("stranger", "operator"):
        answer = await ask(registry, "cvs/content", {"cvId": str(uuid4())}, service)
        assert answer["code"] == 1013
