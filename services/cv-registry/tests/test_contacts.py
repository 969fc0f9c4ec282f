"""ReplaceCV's contact data: prepared by contact-verification (a stand-in), committed with the CV, shown by GetCV at once."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from cv_contracts.codelists import ContactDataType, default
from cv_contracts.events.contact_verification import ContactSaved
from cv_contracts.faults import FieldError
from cv_contracts.topics import topic_of
from cv_contracts.wire.cv_profile import GetCVResponse
from cv_registry.contact_testing import ContactOwner
from cv_registry.contacts import ShownContact
from cv_registry.contacts import shown as contact_information
from cv_registry.followers import contacts
from cv_registry.settings import SERVICE
from cv_registry.testing import (
    RegistryClient,
    a_citizen,
    a_cv,
)
from servicekit.data.consistency import ConsistencyToken
from servicekit.data.postgres import Database
from servicekit.follow.batch import apply_newer
from servicekit.follow.states import Erased, Known

pytestmark = pytest.mark.infra

MOBILE, LANDLINE, MAIL = "+4520123456", "+4533123456", "ny@example.com"


@pytest.fixture
def registry(registry_with_contacts: RegistryClient) -> RegistryClient:
    return registry_with_contacts


def cv_with(**contact: Any) -> dict[str, Any]:
    return a_cv(ContactInformation={name.replace("_", "-"): value for name, value in contact.items()})


async def shown(registry: RegistryClient, person_number: str) -> Any:
    answer = await registry.get(person_number)
    assert answer.status_code == 200
    GetCVResponse.from_json(answer.content)
    return answer.json()["CVProfile"]["PersonalData"]["ContactInformation"]


async def heard(database: Database, person: str, version: int, replaced: int, **contacts: Any) -> None:
    """Let the registry have followed a state of contact-verification; `contacts` are version and value by type."""
    state = {
        "contacts": [
            {"type": int(kind[1:]), "version": v, **({} if value is None else {"value": value, "status": 1})}
            for kind, (v, value) in contacts.items()
        ],
        "replaced": replaced,
    }
    await apply(database, Known(UUID(person), version, state))


async def apply(database: Database, state: Known | Erased) -> None:
    async with database.pool.acquire() as conn, conn.transaction():
        await apply_newer(conn, contacts(ask_nobody, default()), [state])


async def ask_nobody(path: str, body: Any) -> Any:
    raise AssertionError(path, body)


async def test_the_new_contact_data_are_shown_at_once(registry: RegistryClient, owner: ContactOwner) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    number = citizen["personNumber"]
    answer = await registry.replace(number, cv_with(E_mail=MAIL, PhoneNumber=[MOBILE]))
    assert answer.status_code == 200
    token = answer.headers["x-consistency-token"]
    body = (await registry.get(number, x_consistency_token=token)).json()
    assert body["CVProfile"]["PersonalData"]["ContactInformation"] == {
        "E-mail": MAIL,
        "PhoneNumber": [MOBILE],
    }
    assert owner.asked == [
        {"personId": ids["personId"], "contactInformation": {"E-mail": MAIL, "PhoneNumber": [MOBILE]}}
    ]


async def test_what_is_followed_is_shown_once_it_has_the_cvs_data(
    registry: RegistryClient, database: Database, owner: ContactOwner
) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    number, person = citizen["personNumber"], ids["personId"]
    await heard(database, person, 10, 0, t3=(10, "gammel@example.com"))
    await registry.replace(number, cv_with(E_mail=MAIL, PhoneNumber=[MOBILE]))
    version = owner.prepared[0]["version"]
    assert await shown(registry, number) == {"E-mail": MAIL, "PhoneNumber": [MOBILE]}
    await heard(database, person, version - 1, 0, t3=(20, "gammel@example.com"))
    assert await shown(registry, number) == {"E-mail": MAIL, "PhoneNumber": [MOBILE]}
    await heard(
        database, person, version, version, t1=(version, MOBILE), t2=(version, None), t3=(version, MAIL)
    )
    assert await shown(registry, number) == {"E-mail": MAIL, "PhoneNumber": [MOBILE]}
    await heard(database, person, version + 1, version, t1=(version + 1, None), t3=(version, MAIL))
    assert await shown(registry, number) == {"E-mail": MAIL}


@pytest.mark.parametrize(
    ("mobile", "landline", "phones"),
    [(MOBILE, LANDLINE, [MOBILE, LANDLINE]), (MOBILE, None, [MOBILE]), (None, LANDLINE, ["", LANDLINE])],
)
async def test_each_number_is_shown_in_its_place_and_so_means_the_same_in_a_replace(
    registry: RegistryClient, database: Database, mobile: str | None, landline: str | None, phones: list[str]
) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    number, person = citizen["personNumber"], ids["personId"]
    await registry.replace(number, a_cv())
    await heard(database, person, 2_000, 0, t1=(2_000, mobile), t2=(2_000, landline))
    by_number = (await registry.by_number(ids["cvNumber"])).json()
    read = by_number["CVProfile"]["PersonalData"]["ContactInformation"]
    assert read == {"PhoneNumber": phones} == await shown(registry, number)
    assert (await registry.replace(number, a_cv(ContactInformation=read))).status_code == 200
    assert await shown(registry, number) == read


async def test_a_landline_that_an_earlier_version_wrote_in_the_mobiles_place_is_shown_in_its_own(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    number, person = citizen["personNumber"], ids["personId"]
    await registry.replace(number, a_cv())
    await heard(database, person, 2_000, 2_000, t2=(2_000, LANDLINE))
    before = b'{"PhoneNumber":["+4533123456"]}'
    await database.execute("UPDATE contacts SET ready = $2 WHERE person_id = $1", UUID(person), before)
    assert await shown(registry, number) == {"PhoneNumber": ["", LANDLINE]}


@pytest.mark.parametrize(
    ("roles", "phones"),
    [({1: "MOBILE", 2: "LANDLINE"}, [MOBILE, LANDLINE]), ({1: "LANDLINE", 2: "MOBILE"}, [LANDLINE, MOBILE]), ({1: "MOBILE"}, [MOBILE])],
)  # fmt: skip
def test_a_types_role_is_the_one_that_the_code_list_has_now(roles: dict[int, Any], phones: list[str]) -> None:
    types = {number: ContactDataType(number, role, "x", verifiable=True) for number, role in roles.items()}
    lists = replace(default(), contact_data_types=types)
    followed_ones = orjson.dumps({"1": [7, MOBILE], "2": [7, LANDLINE]})
    assert orjson.loads(contact_information(ShownContact(followed_ones, 7, None, None), lists)) == {
        "PhoneNumber": phones
    }


async def test_by_number_too_a_read_waits_for_the_contact_data_that_its_caller_has_seen(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    await registry.replace(citizen["personNumber"], a_cv())
    person = UUID(ids["personId"])
    saved = ContactSaved(id=uuid4(), subject=person, version=2_000, time=datetime.now(UTC))
    token = ConsistencyToken.of(saved).encode()
    early = await registry.by_number(ids["cvNumber"], x_consistency_token=token)
    assert (early.status_code, early.headers.get("retry-after")) == (503, "1")
    await heard(database, ids["personId"], 2_000, 0, t3=(2_000, MAIL))
    answer = await registry.by_number(ids["cvNumber"], x_consistency_token=token)
    assert answer.json()["CVProfile"]["PersonalData"]["ContactInformation"] == {"E-mail": MAIL}


@pytest.mark.parametrize(("mail", "mobile"), [("direkte@example.com", "+4520000000"), (None, None)])
async def test_a_later_direct_save_or_removal_shows_before_the_cv_is_activated(
    registry: RegistryClient,
    database: Database,
    owner: ContactOwner,
    mail: str | None,
    mobile: str | None,
) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    await registry.replace(citizen["personNumber"], cv_with(E_mail=MAIL, PhoneNumber=[MOBILE]))
    later = owner.prepared[0]["version"] + 5
    await heard(database, ids["personId"], later, 0, t3=(later, mail), t1=(1, mobile))
    by_mail = {} if mail is None else {"E-mail": mail}
    assert await shown(registry, citizen["personNumber"]) == {**by_mail, "PhoneNumber": [MOBILE]}


async def test_two_in_a_row_show_the_seconds(registry: RegistryClient) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    await registry.replace(citizen["personNumber"], cv_with(E_mail="en@example.com", PhoneNumber=[MOBILE]))
    await registry.replace(citizen["personNumber"], cv_with(E_mail="to@example.com"))
    assert await shown(registry, citizen["personNumber"]) == {"E-mail": "to@example.com"}


async def test_contact_data_that_are_present_are_shown_though_older_ones_are_followed(
    registry: RegistryClient, database: Database, owner: ContactOwner
) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    number, person = citizen["personNumber"], ids["personId"]
    await heard(database, person, 10, 5, t3=(10, "gammel@example.com"))
    owner.mode = "unchanged"
    assert (await registry.replace(number, cv_with(E_mail=MAIL))).status_code == 200
    assert await shown(registry, number) == {"E-mail": MAIL}
    version = owner.prepared[0]["version"]
    await heard(database, person, version, 5, t3=(version, MAIL))
    assert await shown(registry, number) == {"E-mail": MAIL}
    await heard(database, person, version + 1, 5, t3=(version + 1, "direkte@example.com"))
    assert await shown(registry, number) == {"E-mail": "direkte@example.com"}
    assert await database.fetchval("SELECT count(*) FROM contact_decisions") == 0


@pytest.mark.parametrize("code", [9153, 9154, 9155, 9156, 9157, 9158])
async def test_faults_of_the_contact_data_are_passed_on_and_nothing_is_changed(
    registry: RegistryClient, database: Database, owner: ContactOwner, code: int
) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    owner.fault, owner.errors = code, (FieldError("ContactInformation.PhoneNumber[1]", "comes twice"),)
    answer = await registry.replace(citizen["personNumber"], cv_with(E_mail="nobody"))
    assert answer.json()["code"] == code
    assert answer.json()["errors"] == [
        {"element": "ContactInformation.PhoneNumber[1]", "reason": "comes twice"}
    ]
    assert await database.fetchval("SELECT count(*) FROM cvs") == 0


@pytest.mark.parametrize("mode", ["slow", "garbage", "error", "unlisted"])
async def test_without_an_answer_it_is_9234_and_nothing_is_changed(
    registry: RegistryClient, database: Database, owner: ContactOwner, mode: str
) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    owner.mode = mode
    owner.fault = 1014 if mode == "unlisted" else None
    for contact in ({"E_mail": MAIL}, {}):
        answer = await registry.replace(citizen["personNumber"], cv_with(**contact))
        assert (answer.status_code, answer.json()["code"]) == (502, 9234)
    assert await database.fetchval("SELECT count(*) FROM cvs") == 0


async def test_nothing_is_prepared_for_a_replace_that_is_refused(
    registry: RegistryClient, owner: ContactOwner
) -> None:
    citizen = a_citizen(dead=True)
    await registry.register(citizen)
    assert (await registry.replace(citizen["personNumber"])).json()["code"] == 4405
    assert owner.asked == []


async def test_a_repeated_request_id_prepares_nothing_again(
    registry: RegistryClient, owner: ContactOwner
) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    cv = cv_with(E_mail=MAIL)
    first = await registry.replace(citizen["personNumber"], cv, x_requestid="r")
    owner.mode = "error"
    again = await registry.replace(citizen["personNumber"], cv, x_requestid="r")
    assert (again.status_code, again.content) == (200, first.content)
    assert len(owner.asked) == 1


async def settle(registry: RegistryClient, *prepares: str) -> Any:
    answer = await registry.call(
        "POST",
        "/internal/cv-contacts/settle",
        {"prepareIds": list(prepares)},
        service="contact-verification",
        content_type="application/json",
    )
    return answer.json()


async def test_what_was_committed_is_told_so_and_what_was_not_never_will_be(
    registry: RegistryClient, owner: ContactOwner
) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    await registry.replace(citizen["personNumber"], cv_with(E_mail=MAIL))
    committed, other = owner.prepared[0]["prepareId"], str(uuid4())
    for _ in range(2):
        assert await settle(registry, committed, other) == {"committed": [committed], "abandoned": [other]}


async def test_a_replace_whose_change_was_called_abandoned_meanwhile_is_9234(
    registry: RegistryClient, database: Database, owner: ContactOwner
) -> None:
    """As if the registry had stood still between prepare and commit for longer than the owner waits."""
    citizen = a_citizen()
    await registry.register(citizen)
    await database.execute(
        "CREATE FUNCTION abandon() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO contact_decisions VALUES (NEW.prepare_id, false, now()); RETURN NEW; END $$;"
        " CREATE TRIGGER abandoned BEFORE INSERT ON cvs FOR EACH ROW EXECUTE FUNCTION abandon()"
    )
    answer = await registry.replace(citizen["personNumber"], cv_with(E_mail=MAIL))
    assert answer.json()["code"] == 9234
    assert await database.fetchval("SELECT count(*) FROM cvs") == 0


async def test_followers_of_the_contact_part_get_the_change_of_the_newest_cv(
    registry: RegistryClient, owner: ContactOwner
) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    for mail in (MAIL, "to@example.com"):
        await registry.replace(citizen["personNumber"], cv_with(E_mail=mail))
    answer = await registry.call(
        "POST",
        "/internal/cv-contacts/states",
        {"subjects": [ids["cvId"]]},
        service="contact-verification",
        content_type="application/json",
    )
    [state] = answer.json()["states"]
    assert state["state"] == {"personId": ids["personId"], "prepareId": owner.prepared[1]["prepareId"]}


async def test_an_erased_persons_contact_data_leave(registry: RegistryClient, database: Database) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    await heard(database, ids["personId"], 10, 0, t3=(10, MAIL))
    await apply(database, Erased(UUID(ids["personId"]), 11))
    assert await database.fetchval("SELECT count(*) FROM contacts") == 0


async def test_the_registry_follows_what_the_contracts_say() -> None:
    assert SERVICE in topic_of(ContactSaved).followers
