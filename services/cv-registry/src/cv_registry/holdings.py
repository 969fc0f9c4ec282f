"""What the registry holds of a citizen: what an erasure deletes, and what its receipt counts."""

from typing import Final

from cv_registry.followers import CONTACTS, STATUSES
from servicekit.follow.erasing import Held, Holdings, in_generations

_BY_PERSON: Final = "person_id = any($1)"
_BY_CV: Final = "cv_id = any($1)"

HOLDINGS: Final = Holdings(
    (
        Held("citizens", _BY_PERSON),
        Held("cvs", _BY_CV),
        Held("cv_revisions", _BY_CV),
        Held("cv_state_moves", _BY_CV),
        Held("account_letters", _BY_CV),
        Held("asylum_transitions", _BY_PERSON),
        Held("retired_cv_numbers", _BY_CV),
        Held("former_person_numbers", _BY_PERSON),
        Held("merged_persons", _BY_PERSON),
        Held("statuses", in_generations(STATUSES, "cv_id")),
        Held("contacts", in_generations(CONTACTS, "person_id")),
    ),
    related="select cv_id from citizens where person_id = any($1)",
)
