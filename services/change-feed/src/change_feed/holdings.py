"""What the feed holds of a citizen, for the receipt of an erasure. Entries stay, with random ids and no number."""

from typing import Final

from servicekit.follow.erasing import Held, Holdings, in_generations

_REPLICA: Final = in_generations("citizens", "person_id")
_RELATED: Final = f"""
select cv_id from citizens where {_REPLICA}
union select cv_id from cvs where person_id = any($1)
"""

REPLICA: Final = Holdings((Held("citizens", _REPLICA),))
FEED: Final = Holdings(
    (
        Held("cvs", "cv_id = any($1) and (last_number is not null or not erased)"),
        Held("entries", "cv_id = any($1) and cv_number is not null", "CV numbers of entries"),
    ),
    related=_RELATED,
)
HOLDINGS: Final = Holdings((*REPLICA.rows, *FEED.rows), related=_RELATED)
