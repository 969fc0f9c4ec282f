"""Citizens as the intake tells them: validation, the state that followers fetch, and the ready PersonalData."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

import orjson
from pydantic import Field, StringConstraints, model_validator

from cv_citizens.citizen import A_KASSE, JOBCENTER, MUNICIPALITY, OTHER_ACTOR
from cv_citizens.documents import hidden_address
from cv_contracts.wire.common import TEXT
from servicekit.web.internal import InternalBody

PERSON_NUMBER: Final = (
    r"^(((0[1-9]|1[0-9]|2[0-9]|3[0-1])(01|03|05|07|08|10|12)|(0[1-9]|1[0-9]|2[0-9]|30)(04|06|09|11)"
    r"|(0[1-9]|1[0-9]|2[0-9])02)[0-9]{6})$"
)
CV_NUMBER: Final = r"^[1-9][0-9]{7}$"

_CODE_DIGITS: Final = {A_KASSE: (1, 4), OTHER_ACTOR: (8, 8), MUNICIPALITY: (3, 3), JOBCENTER: (5, 5)}


def _text(least: int, most: int) -> StringConstraints:
    return StringConstraints(min_length=least, max_length=most, pattern=TEXT)


class ToldAddress(InternalBody):
    """Postal address with the lengths of the seed's PostalAddressType."""

    country_code: Annotated[str, _text(1, 2)] = "DK"
    address_line: Annotated[str, _text(1, 100)]
    postal_code: Annotated[str, _text(0, 15)]
    postal_area: Annotated[str, _text(0, 50)]
    co_address: Annotated[str, _text(1, 75)] | None = None


class ToldRelation(InternalBody):
    """Relation to an authority, or the referral to an other actor by an authority; both dates are included."""

    organisation_type: Literal[1, 4, 7, 8]
    organisation_code: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,8}$")]
    from_: Annotated[date, Field(alias="from")]
    to: date | None = None
    referred_by_type: Literal[1, 7, 8] | None = None
    referred_by_code: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,8}$")] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.to is not None and self.to < self.from_:
            raise ValueError("to lies before from")
        referral = self.organisation_type == OTHER_ACTOR
        if referral != (self.referred_by_type is not None and self.referred_by_code is not None):
            raise ValueError("an other actor is referred to by an authority, and only an other actor")
        _check_code(self.organisation_type, self.organisation_code)
        if self.referred_by_type is not None and self.referred_by_code is not None:
            _check_code(self.referred_by_type, self.referred_by_code)
        return self


def _check_code(organisation_type: int, code: str) -> None:
    least, most = _CODE_DIGITS[organisation_type]
    if not least <= len(code) <= most:
        raise ValueError("the code is not one of this organisation type")


class ToldCitizen(InternalBody):
    """One citizen in one version of the source.

    `former_person_number` says that the person had another number before: whoever has or had it here is this citizen.

    A CV number is kept when absent, or assigned when there is none; `cv_number_withdrawn` takes it away for good.
    Every citizen has a Jobnet account of which nothing else is said.
    """

    source_version: Annotated[int, Field(ge=0, lt=2**63)]
    person_number: Annotated[str, StringConstraints(pattern=PERSON_NUMBER)]
    former_person_number: Annotated[str, StringConstraints(pattern=PERSON_NUMBER)] | None = None
    cv_number: Annotated[str, StringConstraints(pattern=CV_NUMBER)] | None = None
    cv_number_withdrawn: bool = False
    family_name: Annotated[str, _text(1, 50)]
    given_name: Annotated[str, _text(1, 70)]
    middle_name: Annotated[str, _text(1, 40)] | None = None
    date_of_birth: date | None = None
    gender: Literal["Male", "Female", "Unknown"] | None = None
    address: ToldAddress
    name_protected: bool = False
    address_protected: bool = False
    relations: Annotated[tuple[ToldRelation, ...], Field(max_length=100)] = ()
    contact_group: Annotated[int, Field(ge=1, le=99)] | None = None
    enrolled: bool = False
    dead: bool = False
    jobnet_account: bool = True

    @model_validator(mode="after")
    def _has_a_number_or_none(self) -> Self:
        if self.cv_number_withdrawn and self.cv_number is not None:
            raise ValueError("a withdrawn CV number is not given")
        return self

    @model_validator(mode="after")
    def _had_another_number(self) -> Self:
        if self.former_person_number == self.person_number:
            raise ValueError("the former person number is another one")
        return self

    @property
    def protected(self) -> bool:
        return self.name_protected or self.address_protected


_NOT_STATE: Final = {"source_version", "former_person_number", "cv_number", "cv_number_withdrawn"}


def state_json(told: ToldCitizen, cv_id: UUID, cv_number: str | None) -> str:
    """Give the state that followers fetch: all that the intake said, and the ids; equal states have equal texts."""
    state = told.model_dump(mode="json", by_alias=True, exclude=_NOT_STATE, exclude_none=True)
    if told.jobnet_account:
        del state["jobnetAccount"]
    return orjson.dumps({"cvId": str(cv_id), "cvNumber": cv_number, **state}).decode()


def personal_json(told: ToldCitizen) -> bytes:
    """Give PersonalData as JSON up to the value of its last element, ContactInformation."""
    address = told.address
    return _personal(
        told,
        {
            "CountryCode": address.country_code,
            "AddressLine": address.address_line,
            "PostalCode": address.postal_code,
            "PostalArea": address.postal_area,
            "COAddress": address.co_address,
        },
    )


def protected_personal_json(told: ToldCitizen) -> bytes | None:
    """Give the same for those who may not see the address; None when the citizen is not protected."""
    if not told.protected:
        return None
    return _personal(told, hidden_address(told.address.country_code))


def _personal(told: ToldCitizen, address: Mapping[str, Any]) -> bytes:
    elements = {
        "FamilyName": told.family_name,
        "GivenName": told.given_name,
        "MiddleName": told.middle_name,
        "DateOfBirth": told.date_of_birth,
        "Gender": told.gender,
    }
    personal: dict[str, Any] = {name: value for name, value in elements.items() if value is not None}
    personal["PostalAddress"] = {name: value for name, value in address.items() if value is not None}
    return orjson.dumps(personal)[:-1] + b',"ContactInformation":'
