"""GetCV and GetCVByCVNumber: answers, faults in order, protection, access rows; on a real PostgreSQL."""

from collections.abc import AsyncIterator
from itertools import product
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from cv_citizens.testing import (
    ACTOR,
    COMPANY,
    FUND,
    JOBCENTER,
    JOBNET,
    MUNICIPALITY,
    OTHER_ACTOR,
    OTHER_FUND,
    OTHER_MUNICIPALITY,
    STAR,
    a_caller,
    referral,
    relation,
)
from cv_contracts.wire.cv_profile import GetCVByCVNumberResponse, GetCVResponse
from cv_registry.testing import RegistryClient, SettableClock, a_citizen, a_person_number
from servicekit.caller import Caller
from servicekit.data.postgres import Database

pytestmark = pytest.mark.infra

REFERRED = referral(ACTOR, JOBCENTER)
ACTING = a_caller(JOBCENTER, ACTOR)


async def with_cv(registry: RegistryClient, **changes: Any) -> dict[str, Any]:
    citizen = a_citizen(**changes)
    (ids,) = await registry.register({**citizen, "dead": False})
    assert (await registry.replace(citizen["personNumber"])).status_code == 200
    if citizen["dead"]:
        await registry.register({**citizen, "sourceVersion": 2})
    return {**citizen, **ids}


@pytest_asyncio.fixture
async def accessed(database: Database) -> AsyncIterator[Any]:
    async def rows() -> list[dict[str, Any]]:
        return [dict(row) for row in await database.fetch("SELECT * FROM access_log ORDER BY at")]

    yield rows


async def test_who_belongs_to_no_municipality_is_shown_under_one_that_is_unknown(
    registry: RegistryClient,
) -> None:
    citizen = await with_cv(registry, relations=[])
    answer = await registry.get(citizen["personNumber"], caller=a_caller(JOBNET))
    assert answer.json()["Municipality"] == {"MunicipalityCode": "000", "MunicipalityName": "Ukendt"}


async def test_the_answer_has_every_part_of_the_seed_by_its_name(registry: RegistryClient) -> None:
    citizen = await with_cv(registry, middleName="Bæk")
    response = await registry.get(citizen["personNumber"])
    assert GetCVResponse.from_json(response.content)
    profile = response.json()["CVProfile"]
    assert list(response.json()) == ["Municipality", "CVProfile"]
    assert response.json()["Municipality"] == {"MunicipalityCode": "101", "MunicipalityName": "København"}
    assert profile["JobnetCVId"] == int(citizen["cvNumber"])
    assert profile["PersonalData"] == {
        "FamilyName": "Prøvesen",
        "GivenName": "Åse",
        "MiddleName": "Bæk",
        "DateOfBirth": "1990-02-03",
        "Gender": "Female",
        "PostalAddress": {
            "CountryCode": "DK",
            "AddressLine": "Prøvegade 7, 2. tv",
            "PostalCode": "1050",
            "PostalArea": "København K",
        },
        "ContactInformation": {},
    }
    assert profile["CV"]["DriverLicenseCollection"] == [{"Code": "B", "Name": "Almindelig bil (B)"}]
    assert profile["JobTargetCollection"][0]["JobTitle"]
    assert profile["CV"]["QualificationCollection"][0]["Name"]
    assert response.headers["cache-control"] == "no-store"
    assert citizen["personNumber"] not in response.text


@pytest.mark.parametrize(
    ("caller", "code"),
    [
        (a_caller(FUND), None),
        (a_caller(MUNICIPALITY), None),
        (a_caller(JOBCENTER), None),
        (a_caller(STAR), None),
        (a_caller(JOBNET), None),
        (ACTING, None),
        (a_caller(OTHER_FUND), 8291),
        (a_caller(OTHER_MUNICIPALITY), 4575),
        (a_caller(MUNICIPALITY, ACTOR), 4511),
        (a_caller(JOBCENTER, OTHER_ACTOR), 4511),
        (a_caller(COMPANY), 8292),
    ],
)
async def test_access_follows_the_relation(
    registry: RegistryClient, caller: Caller, code: int | None
) -> None:
    relations = [relation(MUNICIPALITY), relation(JOBCENTER), relation(FUND), REFERRED]
    citizen = await with_cv(registry, relations=relations)
    response = await registry.get(citizen["personNumber"], caller=caller)
    assert response.json().get("code") == code
    assert response.status_code == (200 if code is None else 403)


async def test_a_citizen_without_a_fund_is_4385_for_funds(registry: RegistryClient) -> None:
    citizen = await with_cv(registry, relations=[relation(MUNICIPALITY)])
    assert (await registry.get(citizen["personNumber"], caller=a_caller(FUND))).json()["code"] == 4385


@pytest.mark.parametrize(
    ("moment", "code"),
    [("2026-05-01T21:30:00+00:00", None), ("2026-05-01T22:30:00+00:00", 4385)],
)
async def test_a_fund_reads_until_120_danish_days_after_the_membership(
    registry: RegistryClient, clock: SettableClock, moment: str, code: int | None
) -> None:
    citizen = await with_cv(registry, relations=[relation(FUND, to="2026-01-01")])
    clock.now = clock.now.fromisoformat(moment)
    response = await registry.get(citizen["personNumber"], caller=a_caller(FUND))
    assert response.json().get("code") == code


@pytest.mark.parametrize(("state", "code"), [("ARCHIVED", 4753), ("DISABLED", 4754), ("DELETED", 4755)])
async def test_the_state_of_the_cv_refuses_a_read(registry: RegistryClient, state: str, code: int) -> None:
    citizen = await with_cv(registry)
    await registry.move(citizen["cvId"], state)
    assert (await registry.get(citizen["personNumber"])).json()["code"] == code
    by_number = await registry.by_number(citizen["cvNumber"])
    assert (by_number.status_code, by_number.json()["code"]) == (404, 4103)


async def test_a_locked_cv_is_read_but_not_by_number(registry: RegistryClient) -> None:
    citizen = await with_cv(registry)
    await registry.move(citizen["cvId"], "LOCKED")
    assert (await registry.get(citizen["personNumber"])).status_code == 200
    assert (await registry.by_number(citizen["cvNumber"])).json()["code"] == 4103


async def test_who_never_had_a_cv_is_4755_and_by_number_4103(registry: RegistryClient) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    assert (await registry.get(citizen["personNumber"])).json()["code"] == 4755
    assert (await registry.by_number(ids["cvNumber"])).json()["code"] == 4103


async def test_death_disables_the_cv_for_readers(registry: RegistryClient) -> None:
    citizen = await with_cv(registry, dead=True)
    assert (await registry.get(citizen["personNumber"])).json()["code"] == 4754
    assert (await registry.by_number(citizen["cvNumber"])).json()["code"] == 4103


async def test_the_earlier_of_two_faults_wins(registry: RegistryClient, accessed: Any) -> None:
    number = a_person_number()
    company, stranger = a_caller(COMPANY), a_caller(OTHER_MUNICIPALITY)

    async def code(number: str = number, **more: Any) -> int:
        return int((await registry.get(number, **more)).json()["code"])

    assert await code("12", caller=company) == 1014
    assert await code(caller=company) == 8292
    assert await code(caller=stranger) == 1010
    citizen = a_citizen(personNumber=number, cvNumberWithdrawn=True, dead=True)
    (ids,) = await registry.register(citizen)
    assert await code(caller=stranger) == 4575
    assert await code() == 4103
    living = {**citizen, "cvNumberWithdrawn": False, "cvNumber": "56789012"}
    await registry.register({**living, "sourceVersion": 2, "dead": False})
    await registry.replace(number)
    await registry.move(ids["cvId"], "ARCHIVED")
    await registry.register({**living, "sourceVersion": 3, "dead": True})
    assert await code() == 4753
    await registry.move(ids["cvId"], "DISABLED")
    assert await code() == 4754
    assert await accessed() == []


async def test_no_person_number_at_all_is_1014(registry: RegistryClient) -> None:
    for path in ("/v6/Cv", "/v6/Cv/pdf"):
        response = await registry.call("GET", path)
        assert (response.status_code, response.json()["code"]) == (400, 1014)
        missing = {"element": "x-civilregistrationidentifier", "reason": "is missing"}
        assert response.json()["errors"] == [missing]


async def test_a_consistency_token_of_its_own_write_is_taken_and_any_other_text_is_1014(
    registry: RegistryClient,
) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    token = (await registry.replace(citizen["personNumber"])).headers["x-consistency-token"]
    merged = await registry.get(citizen["personNumber"], x_consistency_token=f"{token}, {token}")
    broken = await registry.get(citizen["personNumber"], x_consistency_token="nonsense")
    assert (merged.status_code, broken.json()["code"]) == (200, 1014)


async def test_an_access_row_tells_who_read_which_version_about_whom(
    registry: RegistryClient, accessed: Any
) -> None:
    citizen = await with_cv(registry, relations=[relation(JOBCENTER), REFERRED])
    response = await registry.get(citizen["personNumber"], caller=ACTING)
    (row,) = await accessed()
    assert row["subject"] == UUID(citizen["personId"])
    assert (row["method"], row["client"]) == ("GetCV", "client-1")
    assert (row["active_type"], row["active_code"], row["request_type"]) == (8, "10100", 4)
    assert (row["user_name"], row["user_identifier"]) == ("Sag Behandler", "sb1")
    assert response.headers["etag"] == f'"{row["object_version"]}"'


async def test_a_read_by_number_leaves_its_consent_in_the_access_log(
    registry: RegistryClient, accessed: Any
) -> None:
    citizen = await with_cv(registry)
    response = await registry.by_number(citizen["cvNumber"], caller=a_caller(COMPANY))
    assert response.status_code == 200
    assert GetCVByCVNumberResponse.from_json(response.content)
    (row,) = await accessed()
    assert (row["method"], row["purpose"]) == ("GetCVByCVNumber", "consent")


async def test_a_read_whose_row_cannot_be_written_is_not_answered(
    registry: RegistryClient, database: Database
) -> None:
    citizen = await with_cv(registry)
    await database.execute("ALTER TABLE access_log RENAME TO access_log_away")
    for response in (
        await registry.get(citizen["personNumber"]),
        await registry.by_number(citizen["cvNumber"]),
    ):
        assert response.status_code == 503
        assert "retry-after" in response.headers
        assert "Prøvesen" not in response.text
    await database.execute("ALTER TABLE access_log_away RENAME TO access_log")
    assert (await registry.get(citizen["personNumber"])).status_code == 200


@pytest.mark.parametrize(
    ("name_protected", "address_protected"), [(True, False), (False, True), (True, True)]
)
async def test_a_protected_address_is_for_related_authorities_and_jobnet(
    registry: RegistryClient, name_protected: bool, address_protected: bool
) -> None:
    relations = [relation(MUNICIPALITY), relation(JOBCENTER), relation(FUND, to="2026-11-01"), REFERRED]
    citizen = await with_cv(
        registry,
        relations=relations,
        nameProtected=name_protected,
        addressProtected=address_protected,
        address={
            "addressLine": "Hemmelig Allé 1",
            "postalCode": "8000",
            "postalArea": "Aarhus C",
            "coAddress": "c/o Skjult",
        },
    )
    sees = {
        a_caller(MUNICIPALITY): True,
        a_caller(JOBCENTER): True,
        ACTING: True,
        a_caller(JOBNET): True,
        a_caller(FUND): False,
        a_caller(STAR): False,
    }
    for caller, may in sees.items():
        answers = [(await registry.get(citizen["personNumber"], caller=caller), may)]
        answers += [(await registry.by_number(citizen["cvNumber"], caller=caller), False)]
        for response, shown in answers:
            assert response.status_code == 200, response.text
            address = response.json()["CVProfile"]["PersonalData"]["PostalAddress"]
            assert (
                ("Hemmelig" in response.text)
                is ("Skjult" in response.text)
                is ("8000" in response.text)
                is shown
            )
            assert address["AddressLine"] == ("Hemmelig Allé 1" if shown else "Adressebeskyttet")
            assert "Prøvesen" in response.text


async def test_without_consent_nobody_learns_which_numbers_exist(registry: RegistryClient) -> None:
    citizen = await with_cv(registry)
    for number in (citizen["cvNumber"], "99999999", "00000000"):
        response = await registry.by_number(number, consent=False)
        assert (response.status_code, response.json()["code"]) == (400, 9192)


async def test_an_unknown_number_is_4400(registry: RegistryClient) -> None:
    for number in ("99999999", "00000000"):
        response = await registry.by_number(number)
        assert (response.status_code, response.json()["code"]) == (404, 4400)
        assert number not in response.text


async def test_a_malformed_request_by_number_is_1014(registry: RegistryClient) -> None:
    told = {}
    for body in (
        {"CVNumber": "1234567", "CitizenConsentObtained": True},
        {"CVNumber": "12345678"},
        {"CitizenConsentObtained": True},
        {"CVNumber": 12345678, "CitizenConsentObtained": True},
        {"CVNumber": "12345678", "CitizenConsentObtained": "true"},
        {"CVNumber": "12345678", "CitizenConsentObtained": True, "More": 1},
    ):
        response = await registry.call("POST", "/v6/Cv/bynumber", body)
        told[str(body)] = (response.status_code, response.json().get("code"))
    assert told == dict.fromkeys(told, (400, 1014))


@pytest.mark.parametrize(
    ("path", "service"), list(product(("/v6/Cv", "/v6/Cv/bynumber"), ("operator", "citizen-intake")))
)
async def test_only_the_gateway_may_read(registry: RegistryClient, path: str, service: str) -> None:
    verb = "GET" if path == "/v6/Cv" else "POST"
    response = await registry.call(verb, path, b"{}" if verb == "POST" else None, service=service)
    assert (response.status_code, response.json()["code"]) == (403, 1013)
