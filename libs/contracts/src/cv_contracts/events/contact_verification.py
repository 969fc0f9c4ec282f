"""What contact-verification says. Subject of each: person id."""

from typing import ClassVar

from cv_contracts.event import Event


class ContactSaved(Event):
    """Contact data was saved, changed or removed, or is no longer verified as nobody confirmed it for long; `version` is the version of the citizen's contact data."""

    TYPE: ClassVar[str] = "dk.cvhub.contact-verification.contact-saved.v1"


class ContactVerified(Event):
    """The citizen proved that an address is theirs."""

    TYPE: ClassVar[str] = "dk.cvhub.contact-verification.contact-verified.v1"


class VerificationCodeRequested(Event):
    """A citizen asked for a new verification code; it is sent afterwards."""

    TYPE: ClassVar[str] = "dk.cvhub.contact-verification.verification-code-requested.v1"


class ContactStatusSaved(Event):
    """The status of an address was set by an authority, or because mail to it came back."""

    TYPE: ClassVar[str] = "dk.cvhub.contact-verification.contact-status-saved.v1"
