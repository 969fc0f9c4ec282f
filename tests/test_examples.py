"""The examples of the OpenAPI document, by the rules of the service that would be sent them."""

from typing import Any

import pytest

from contact_verification.preparing import wanted_of
from contact_verification.values import find_mail, find_mobile, normalise
from cv_contracts.codelists import default
from cv_gateway.messages import examples

LISTS, EXAMPLES = default(), examples()


def test_contact_data_of_the_examples_can_be_saved_as_they_are_written() -> None:
    for item in EXAMPLES["SavePersonContactDataRequest"]["PersonContactDataCollection"]:
        kind = LISTS.contact_data_types[item["PersonContactDataTypeIdentifier"]]
        value = normalise(kind, item["PersonContactData"])
        assert value is not None, item
        assert value.text == item["PersonContactData"]


def test_contact_data_of_the_examples_can_be_looked_for() -> None:
    mobile = find_mobile(EXAMPLES["GetPersonByMobilePhoneNumberRequest"]["mobiltelefon"])
    mail = find_mail(EXAMPLES["GetPersonByEmailAddressRequest"]["email"])
    assert mobile is not None
    assert mail is not None
    assert normalise(LISTS.contact_data_types[LISTS.contact_type_id("MOBILE")], mobile.text) == mobile


@pytest.mark.parametrize(
    "information",
    [
        EXAMPLES["GetCVResponse"]["CVProfile"]["PersonalData"]["ContactInformation"],
        EXAMPLES["GetCVByCVNumberResponse"]["CVProfile"]["PersonalData"]["ContactInformation"],
        EXAMPLES["ReplaceCVRequest"]["ContactInformation"],
    ],
    ids=["GetCV", "GetCVByCVNumber", "ReplaceCV"],
)
def test_contact_data_of_the_examples_can_come_with_a_cv(information: dict[str, Any]) -> None:
    wanted = wanted_of(information, LISTS)
    assert [value.text for value in wanted.values() if value is not None] == [
        *filter(None, information.get("PhoneNumber", [])),
        *filter(None, [information.get("E-mail")]),
    ]
