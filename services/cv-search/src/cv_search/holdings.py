"""What cv-search holds of a citizen, for the receipt of an erasure; what lies in the index beside it is told by `purging`."""

from typing import Final

from cv_search.store import CITIZENS, CVS, STATUSES
from servicekit.follow.erasing import Held, Holdings, in_generations

_CITIZENS: Final = in_generations(CITIZENS, "person_id")

HOLDINGS: Final = Holdings(
    (
        Held("citizen_parts", _CITIZENS),
        Held("cv_parts", in_generations(CVS, "cv_id")),
        Held("status_parts", in_generations(STATUSES, "cv_id")),
        Held("search_documents", "cv_id = any($1) and document is not null"),
    ),
    related=f"""
    select cv_id from citizen_parts where {_CITIZENS}
    union select cv_id from search_documents where person_id = any($1)
    """,
    kept=Held(
        "access_log",
        "subject = any($1) or detail -> 'shown' ?| (select array_agg(id::text) from unnest($1::uuid[]) id)",
    ),
)
