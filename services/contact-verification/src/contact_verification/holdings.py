"""What contact-verification holds of a citizen, for the receipt of an erasure."""

from typing import Final

from servicekit.follow.erasing import Held, Holdings, in_generations

_TABLES: Final = (
    "persons",
    "periods",
    "contacts",
    "codes",
    "code_sends",
    "messages",
    "subscriptions",
    "prepares",
)

HOLDINGS: Final = Holdings(
    (
        Held("citizens", in_generations("citizens", "person_id")),
        *(Held(table, "person_id = any($1)") for table in _TABLES),
    )
)
