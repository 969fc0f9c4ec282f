"""What cv-registry says: citizens, CVs, account letters, asylum transitions."""

from typing import ClassVar, Literal
from uuid import UUID

from cv_contracts.event import Event

NO_SUBJECT = UUID(int=0)

CvChange = Literal[
    "created",
    "replaced",
    "archived",
    "restored",
    "disabled",
    "enabled",
    "locked",
    "unlocked",
    "deleted",
    "erased",
]


class CitizenChanged(Event):
    """Something about a citizen is new: name, address, protection, relations, contact group, death. Subject: person id.

    `erased` tells that the owner's row is gone. `merged` is reserved and never told: a merger is told by ordinary changes of both.
    """

    TYPE: ClassVar[str] = "dk.cvhub.cv-registry.citizen-changed.v1"

    change: Literal["registered", "changed", "merged", "erased"]


class CVChanged(Event):
    """A CV has a new revision or a new state. Subject: CV id."""

    TYPE: ClassVar[str] = "dk.cvhub.cv-registry.cv-changed.v1"

    change: CvChange


class AccountLetterSent(Event):
    """A letter with a new Jobnet login was handed to the print service. Subject: CV id."""

    TYPE: ClassVar[str] = "dk.cvhub.cv-registry.account-letter-sent.v1"


class AsylumTransitionSet(Event):
    """The dates between which a jobcenter may replace a CV were set. Subject: person id."""

    TYPE: ClassVar[str] = "dk.cvhub.cv-registry.asylum-transition-set.v1"

    change: Literal["created", "updated"]


class CitizenHeartbeat(Event):
    """Sent to each partition of the citizens' topic, so that a follower knows how fresh it is. Subject: the UUID of zeros.

    `time` is when it was made. What was committed until then comes before it in its partition, unless Kafka refused the
    record; a change whose transaction was under way then may come after it.
    """

    TYPE: ClassVar[str] = "dk.cvhub.cv-registry.citizen-heartbeat.v1"
