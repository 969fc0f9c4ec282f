"""What cv-status holds of a citizen, for the receipt of an erasure."""

from typing import Final

from servicekit.follow.erasing import Held, Holdings, in_generations

_REPLICA: Final = in_generations("citizens", "person_id")

HOLDINGS: Final = Holdings(
    (
        Held("citizens", _REPLICA),
        Held("statuses", "cv_id = any($1)"),
        Held("frozen_versions", "cv_id = any($1)"),
        Held("frozen_contents", "cv_id = any($1)"),
    ),
    related=f"""
    select cv_id from citizens where {_REPLICA}
    union select cv_id from statuses where person_id = any($1)
    """,
)
