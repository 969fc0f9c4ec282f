"""The one access policy: may this organisation use this method for this citizen on this day, and if not, which fault."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal, Self

from cv_citizens.citizen import JOBNET, NO_MARGIN, OTHER_ACTOR, Citizen, Relation
from cv_contracts.access import ACCESS, Rule
from servicekit.caller import Caller, Organisation

_NOT_LISTED: Final = Rule(kind="no", fault=8292)
_NEVER: Final = frozenset({"no", "-"})


@dataclass(frozen=True, slots=True)
class Actor:
    """For whom a call is made: the authority acted as, and the organisation that the user belongs to.

    A user of an other actor is judged as one, whatever the authority; so it can never pass as that authority.
    """

    active: Organisation
    request: Organisation

    @classmethod
    def of(cls, caller: Caller) -> Self:
        return cls(caller.active, caller.request_organisation)

    @property
    def organisation_type(self) -> int:
        return OTHER_ACTOR if self.request.type == OTHER_ACTOR else self.active.type


@dataclass(frozen=True, slots=True)
class Decision:
    """Answer of the policy. Not allowed and without a fault means: leave the citizen out of the answer, silently.

    `sees_address` is about protected citizens only (decision 19); the address of others is shown to all.
    """

    allowed: bool
    fault: int | None = None
    sees_address: bool = False

    def shows_address_of(self, citizen: Citizen) -> bool:
        return self.sees_address or not citizen.protected


Why = Literal[
    "never",
    "all",
    "yes",
    "consent",
    "related",
    "related-within-window",
    "anothers",
    "unregistered",
    "referred",
    "not-referred",
    "authority-not-related",
]
"""never: the row lets nobody of this kind. all, yes, consent: the row needs no relation.
related: today; related-within-window: within the days that the row adds, so without the address.
anothers: the citizen belongs to another of this kind; unregistered: to none of it.
referred, not-referred: by the acting authority, to the user's organisation; authority-not-related: it has the citizen not itself."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, the row of the access table that it comes from, and the relation that let the caller through."""

    decision: Decision
    rule: Rule
    why: Why
    relation: Relation | None = None


_ALLOWED: Final = Decision(allowed=True)


def rule_for(method: int, actor: Actor) -> Rule:
    """Cell of the access table; an organisation type that is not in it may do nothing."""
    return ACCESS.get((method, actor.organisation_type), _NOT_LISTED)


def fault_of_organisation(method: int, actor: Actor) -> int | None:
    """Fault of an organisation that may not use the method at all; decided before the citizen is looked up."""
    rule = rule_for(method, actor)
    return rule.fault if rule.kind in _NEVER else None


def decide(method: int, actor: Actor, citizen: Citizen, today: date) -> Decision:
    """Whole decision for one citizen on a Danish day.

    The method's own rules (consent, asylum window, status rules) come after it and are not part of it.
    """
    return explain(method, actor, citizen, today).decision


def explain(method: int, actor: Actor, citizen: Citizen, today: date) -> Explanation:
    """Decide, and name the row of the table and the relation that the decision comes from."""
    rule = rule_for(method, actor)
    match rule.kind:
        case "own":
            return _own(rule, actor.active, citizen, today)
        case "referred":
            return _referred(rule, actor, citizen, today)
        case "all":
            decision = Decision(allowed=True, sees_address=actor.active.type == JOBNET)
            return Explanation(decision, rule, "all")
        case "yes" | "consent":
            return Explanation(_ALLOWED, rule, rule.kind)
        case _:
            return Explanation(Decision(allowed=False, fault=rule.fault), rule, "never")


def _own(rule: Rule, authority: Organisation, citizen: Citizen, today: date) -> Explanation:
    if relation := _relation(citizen, authority, today):
        return Explanation(Decision(allowed=True, sees_address=True), rule, "related", relation)
    margin = timedelta(days=rule.window_days)
    if relation := _relation(citizen, authority, today, margin):
        return Explanation(_ALLOWED, rule, "related-within-window", relation)
    if any(citizen.relations_on(authority.type, today, margin)):
        return Explanation(Decision(allowed=False, fault=rule.fault), rule, "anothers")
    fault = rule.fault if rule.unregistered_fault is None else rule.unregistered_fault
    return Explanation(Decision(allowed=False, fault=fault), rule, "unregistered")


def _referred(rule: Rule, actor: Actor, citizen: Citizen, today: date) -> Explanation:
    """Both: the active authority has the citizen today, and has referred the citizen to the user's organisation."""
    authority = actor.active
    refused = Decision(allowed=False, fault=rule.fault)
    if _relation(citizen, authority, today) is None:
        return Explanation(refused, rule, "authority-not-related")
    for relation in citizen.relations_on(OTHER_ACTOR, today):
        if relation.code == actor.request.code and relation.referred_by == (authority.type, authority.code):
            return Explanation(Decision(allowed=True, sees_address=True), rule, "referred", relation)
    return Explanation(refused, rule, "not-referred")


def _relation(
    citizen: Citizen, authority: Organisation, today: date, margin: timedelta = NO_MARGIN
) -> Relation | None:
    relations = citizen.relations_on(authority.type, today, margin)
    return next((relation for relation in relations if relation.code == authority.code), None)
