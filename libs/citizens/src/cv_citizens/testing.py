"""For tests: the organisations that play a part in them, how a citizen relates to one, and on whose behalf the gateway calls."""

from typing import Any, Final

from servicekit.caller import Caller, Organisation, User

__all__ = [
    "ACTOR",
    "COMPANY",
    "FUND",
    "JOBCENTER",
    "JOBNET",
    "MUNICIPALITY",
    "OTHER_ACTOR",
    "OTHER_FUND",
    "OTHER_JOBCENTER",
    "OTHER_MUNICIPALITY",
    "STAR",
    "a_caller",
    "referral",
    "relation",
]

FUND: Final = Organisation(1, "10")
OTHER_FUND: Final = Organisation(1, "15")
ACTOR: Final = Organisation(4, "12345678")
OTHER_ACTOR: Final = Organisation(4, "99999999")
MUNICIPALITY: Final = Organisation(7, "101")
OTHER_MUNICIPALITY: Final = Organisation(7, "147")
JOBCENTER: Final = Organisation(8, "10100")
OTHER_JOBCENTER: Final = Organisation(8, "14700")
COMPANY: Final = Organisation(24, "87654321")
STAR: Final = Organisation(100, "1")
JOBNET: Final = Organisation(101, "1")


def relation(organisation: Organisation, start: str = "2020-01-01", **more: Any) -> dict[str, Any]:
    """Give a relation as it stands in a citizen's state; `to` is its last day."""
    return {
        "organisationType": organisation.type,
        "organisationCode": organisation.code,
        "from": start,
        **more,
    }


def referral(actor: Organisation, by: Organisation) -> dict[str, Any]:
    """Give the relation to an other actor to whom an authority has referred the citizen."""
    return relation(actor, referredByType=by.type, referredByCode=by.code)


def a_caller(
    active: Organisation = JOBNET,
    request: Organisation | None = None,
    client: str = "client-1",
    user: str = "sb1",
) -> Caller:
    """Give who calls: an organisation on its own behalf, or `request` for it."""
    own = request or active
    return Caller(
        client=client,
        own=own,
        active=active,
        request_organisation=own,
        user=User("Sag Behandler", 2, user),
    )
