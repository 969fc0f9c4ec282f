"""For tests and benchmarks: the documents of citizens that were made up, without the owners who would tell of them."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from cv_contracts.codelists import CodeLists
from cv_search.document import Documents
from cv_search.port import Document

_NAMESPACE: Final = UUID("6a1f2b52-6f0c-4b5e-9d3e-6f1f6f0c4b5e")
_TAG: Final = re.compile(r"<[^>]+>")
_FIRST_CHANGE: Final = datetime(2026, 1, 1, tzinfo=UTC)
Json = dict[str, Any]


class MadeUp:
    """Makes states and documents of intake payloads and ReplaceCV bodies, such as cvhub.synthetic writes."""

    def __init__(self, lists: CodeLists) -> None:
        self._lists = lists
        self._documents = Documents(lists)

    def cv(
        self, index: int, body: Mapping[str, Any], state: str = "ACTIVE", changed: datetime | None = None
    ) -> Json:
        """Give the state of a CV. Without `changed`, about three CVs at a time changed in the same moment."""
        when = changed or _FIRST_CHANGE + timedelta(seconds=index * 7919 % 1_000_003 // 3)
        return {
            "personId": str(uuid5(_NAMESPACE, f"person {index}")),
            "state": state,
            "revision": index + 1,
            "revisionDate": when.isoformat(),
            "content": self._content(body),
        }

    def document(
        self,
        index: int,
        payload: Mapping[str, Any],
        body: Mapping[str, Any],
        state: str = "ACTIVE",
        changed: datetime | None = None,
        *,
        day: date,
    ) -> Document | None:
        """Give the document of a citizen with a CV whose status was never set; None where it is not searchable."""
        citizen = {"cvId": str(cv_id(index)), **payload, "cvNumber": payload.get("cvNumber")}
        return self._documents.document(
            cv_id(index), self.cv(index, body, state, changed), citizen, None, day
        )

    def _content(self, body: Mapping[str, Any]) -> Json:
        lists, cv = self._lists, {**body["CV"]}
        cv["QualificationCollection"] = [
            {"Name": lists.qualifications[one["QualificationTaxonomyReference"]].name, **one}
            for one in cv["QualificationCollection"]
        ]
        cv["DriverLicenseCollection"] = [
            {**one, "Name": lists.driver_licences[one["Code"]]} for one in cv["DriverLicenseCollection"]
        ]
        cv["LanguageSkillCollection"] = [
            {**one, "Name": lists.languages[one["Code"]]} for one in cv["LanguageSkillCollection"]
        ]
        if summary := cv.get("ProfessionalSummaryText"):
            html = summary["HTMLText"]
            cv["ProfessionalSummaryText"] = {"HTMLText": html, "PlainText": _TAG.sub(" ", html)}
        targets = [
            {"JobTitle": lists.occupations[one["OccupationTaxonomyReference"]].title, **one}
            for one in body["JobTargetCollection"]
        ]
        return {"JobConditions": body["JobConditions"], "JobTargetCollection": targets, "CV": cv}


def cv_id(index: int) -> UUID:
    """Give the CV id of a made-up citizen."""
    return uuid5(_NAMESPACE, f"cv {index}")
