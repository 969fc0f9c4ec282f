"""What cv-status says."""

from typing import ClassVar

from cv_contracts.event import Event, Version


class StatusSet(Event):
    """A CV got a status; `cv_version` is the version of the CV that was frozen with it, if one was. Subject: CV id."""

    TYPE: ClassVar[str] = "dk.cvhub.cv-status.status-set.v1"

    cv_version: Version | None = None
