"""What the generator gives."""

from dataclasses import dataclass
from typing import Any, Literal

CvState = Literal["ACTIVE", "ARCHIVED", "DISABLED", "LOCKED", "DELETED"]
Json = dict[str, Any]


@dataclass(slots=True)
class SyntheticCitizen:
    """A citizen as the source tells it, perhaps with a CV and asylum dates.

    `citizen` is the payload of the registry's intake, `cv` a body of ReplaceCV, `asylum` a body of
    CreateAsylumCVTransition. `case` is the label of a member of the fixed cast, else empty.
    """

    index: int
    case: str
    citizen: Json
    cv: Json | None
    cv_state: CvState | None
    asylum: Json | None

    @property
    def person_number(self) -> str:
        number: str = self.citizen["personNumber"]
        return number

    @property
    def cv_number(self) -> str:
        """Give the CV number, or nothing where it was withdrawn."""
        number: str = self.citizen.get("cvNumber", "")
        return number

    @property
    def name(self) -> str:
        """Give the full name."""
        names = (self.citizen["givenName"], self.citizen.get("middleName"), self.citizen["familyName"])
        return " ".join(name for name in names if name)

    def import_line(self) -> Json:
        """Give one line of the registry's import file.

        The contact data are left out: they belong to another service, and an import does not ask it.
        """
        line: Json = {"citizen": self.citizen}
        if self.cv is not None:
            line["cv"] = {**self.cv, "ContactInformation": {}}
            line["cvState"] = self.cv_state
        if self.asylum is not None:
            line["asylum"] = self.asylum
        return line
