"""What pdf-renderer holds of a citizen, for the receipt of an erasure."""

from typing import Final

from servicekit.follow.erasing import Held, Holdings

HOLDINGS: Final = Holdings(
    (
        Held("documents", "person_id = any($1) or cv_id = any($1)"),
        Held("ahead", "cv_id = any($1)"),
    ),
    related="select cv_id from documents where person_id = any($1)",
)
