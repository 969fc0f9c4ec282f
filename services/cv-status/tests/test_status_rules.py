"""Who may set which status for whom: the full product, against an expectation written from the specification alone."""

import asyncio
import itertools
from dataclasses import dataclass
from datetime import timedelta

import pytest

from cv_citizens.testing import (
    ACTOR,
    COMPANY,
    FUND,
    JOBCENTER,
    JOBNET,
    MUNICIPALITY,
    OTHER_ACTOR,
    OTHER_FUND,
    OTHER_JOBCENTER,
    OTHER_MUNICIPALITY,
    STAR,
    a_caller,
    referral,
    relation,
)
from cv_status.settings import Settings
from cv_status.testing import Person, World
from servicekit.caller import Organisation

pytestmark = pytest.mark.infra

GROUPS = (1, 2, 3, 8, 12, 13, 23, 26, 27, 28, 29, 99, None)
STATUSES = (1, 2, 3, 4, 5)
RELATIONS = ("own", "another's", "none")
AUTHORITIES = (FUND, MUNICIPALITY, JOBCENTER)
OTHERS = (OTHER_FUND, OTHER_MUNICIPALITY, OTHER_JOBCENTER)
CALLERS = (
    *((authority, authority) for authority in (*AUTHORITIES, STAR, JOBNET, COMPANY)),
    *((authority, ACTOR) for authority in AUTHORITIES),
)
FUND_GROUPS = (1, 8, 23)
CASH_BENEFIT_GROUPS = (2, 12)
INTEGRATION_GROUP = 3


@dataclass(frozen=True)
class Case:
    """One combination."""

    group: int | None
    who: tuple[Organisation, Organisation]
    relation_to: str
    status: int
    comment: str | None

    @property
    def expected(self) -> int:
        if self.status not in (1, 2, 3, 5):
            return 1014
        if self.who == (JOBNET, JOBNET):
            return 200 if self.status in (1, 2) else 4575
        return self._refused_relation() or self._refused_status() or 200

    def _refused_relation(self) -> int | None:
        active, request = self.who
        if request in (STAR, COMPANY):
            return 8292
        if self.relation_to == "own":
            return None
        if request == ACTOR:
            return 4511
        if active != FUND:
            return 4575
        return 8291 if self.relation_to == "another's" else 4385

    def _refused_status(self) -> int | None:
        if self.who[0] != FUND:
            return 4368 if self.group in FUND_GROUPS else None
        if self.comment:
            return 9008
        if self.group in CASH_BENEFIT_GROUPS:
            return 4369
        if self.group == INTEGRATION_GROUP:
            return 4370
        return None if self.group in FUND_GROUPS else 9009


@pytest.fixture
async def settings(settings: Settings) -> Settings:
    """Give those who are asked for a CV and a document all the time they need, eight at a time on a busy machine."""
    patience = timedelta(seconds=20)
    return settings.model_copy(update={"registry_timeout": patience, "renderer_timeout": patience})


async def _citizens(world: World) -> dict[tuple[int | None, str], Person]:
    own = [relation(a) for a in AUTHORITIES] + [referral(ACTOR, a) for a in AUTHORITIES]
    others = [relation(a) for a in OTHERS] + [referral(OTHER_ACTOR, a) for a in OTHERS]
    relations = {"own": own, "another's": others, "none": []}
    return {
        (group, name): await world.citizen(*relations[name], contactGroup=group)
        for group in GROUPS
        for name in RELATIONS
    }


async def test_every_combination_of_group_caller_relation_status_and_comment_gets_its_answer(
    world: World,
) -> None:
    citizens = await _citizens(world)
    at_once = asyncio.Semaphore(8)
    product = list(itertools.product(CALLERS, RELATIONS, STATUSES, (None, "Ser fint ud")))

    async def answered(case: Case) -> int:
        async with at_once:
            person = citizens[case.group, case.relation_to]
            answer = await world.set(a_caller(*case.who), person, case.status, case.comment)
        code: int = answer.json().get("code", answer.status_code)
        return code

    answers: list[int] = []
    for group in GROUPS:
        # It is the replica that decides, however long the whole takes.
        await world.heartbeat()
        cases = [Case(group, *combination) for combination in product]
        codes = await asyncio.gather(*map(answered, cases))
        wrong = [(case, code) for case, code in zip(cases, codes, strict=True) if code != case.expected]
        assert not wrong[:5]
        answers += codes
    assert set(answers) == {200, 1014, 4368, 4369, 4370, 4385, 4511, 4575, 8291, 8292, 9008, 9009}


async def test_the_day_decides_about_a_relation_in_danish_time_and_writing_has_no_margin(
    world: World,
) -> None:
    ended = await world.citizen(relation(FUND, to="2026-11-21"), contactGroup=1)
    last_day = await world.citizen(relation(FUND, to="2026-11-22"), contactGroup=1)
    to_come = await world.citizen(relation(FUND, start="2026-11-23"), contactGroup=1)
    assert (await world.set(a_caller(FUND), ended, 1)).json()["code"] == 4385
    assert (await world.set(a_caller(FUND), last_day, 1)).status_code == 200
    assert (await world.set(a_caller(FUND), to_come, 1)).json()["code"] == 4385


async def test_an_other_actor_never_passes_as_the_authority_or_as_jobnet(world: World) -> None:
    person = await world.citizen(relation(MUNICIPALITY), contactGroup=2)
    for active in (MUNICIPALITY, JOBNET, STAR):
        answer = await world.set(a_caller(active, ACTOR), person, 1)
        assert answer.json()["code"] == 4511
