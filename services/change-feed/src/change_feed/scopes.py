"""Who may see a citizen in the feed, as names that an index can be asked for: the access table's row 9 turned round.

`7:101` is an authority, `4:12345678<7:101` an other actor for the authority that referred the citizen to it, `*` whoever may see all.
"""

from datetime import date
from typing import Final

from cv_citizens.citizen import A_KASSE, JOBCENTER, MUNICIPALITY, OTHER_ACTOR, Citizen
from cv_citizens.policy import Actor, rule_for
from cv_contracts.faults import Fault

METHOD: Final = 9
ALL: Final = "*"
_AUTHORITIES: Final = (A_KASSE, MUNICIPALITY, JOBCENTER)


def scope_of(actor: Actor) -> str:
    """Give the one scope that a caller reads; raises the fault of a caller who may read none."""
    rule = rule_for(METHOD, actor)
    authority = f"{actor.active.type}:{actor.active.code}"
    match rule.kind:
        case "own":
            return authority
        case "referred":
            return f"{OTHER_ACTOR}:{actor.request.code}<{authority}"
        case "all":
            return ALL
        case _:
            raise Fault(rule.fault or 8292)


def scopes_of(citizen: Citizen, day: date) -> frozenset[str]:
    """Give the scopes that a citizen is in on a Danish day, but for the one of all."""
    own = {
        f"{relation.organisation_type}:{relation.code}"
        for relation in citizen.relations
        if relation.organisation_type in _AUTHORITIES and relation.holds(day)
    }
    referred = {
        f"{OTHER_ACTOR}:{relation.code}<{by}"
        for relation in citizen.relations_on(OTHER_ACTOR, day)
        if relation.referred_by is not None and (by := "{}:{}".format(*relation.referred_by)) in own
    }
    return frozenset(own | referred)
