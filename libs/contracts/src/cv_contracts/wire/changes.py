"""GetCVUpdateList: which CVs changed in a period."""

from pydantic import Field

from cv_contracts.wire.common import CvNumber, DateTime, Int, Wire
from cv_contracts.wire.query import PageNumber, Query


class GetCVUpdateListQuery(Query):
    """A period of arrival in the feed, and a page of its changes.

    The answer's CVChangeEndTime is the next call's CVChangeStartTime; the `+` of a time zone is written `%2B`.
    """

    CVChangeStartTime: DateTime
    CVChangeEndTime: DateTime | None = None
    CVListPage: PageNumber | None = None


class CVUpdateItemType(Wire):
    """One CV with the time of its newest change in the period."""

    CVNumber: CvNumber
    RevisionDate: DateTime
    CVIsDeleted: bool


class GetCVUpdateListResponse(Wire):
    """What GetCVUpdateList answers; where nothing changed, CVUpdateList is absent."""

    CVChangeStartTime: DateTime
    CVChangeEndTime: DateTime
    CVChangeExtractTime: DateTime
    LastPageNumber: Int
    CVUpdateList: tuple[CVUpdateItemType, ...] | None = Field(default=None, min_length=1)
