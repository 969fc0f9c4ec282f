"""The life cycle of one CV under all its actors, against a model that was written from the specification, over the real store."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cv_citizens.testing import FUND, JOBCENTER, JOBNET, MUNICIPALITY, a_caller, relation
from cv_registry.testing import RegistryClient, SettableClock, a_citizen, a_person_number
from servicekit.caller import Organisation
from servicekit.data.postgres import Database

pytestmark = pytest.mark.infra

FIRST_DAY: Final = date(2026, 6, 1)
STATES: Final = ("ACTIVE", "ARCHIVED", "DISABLED", "LOCKED", "DELETED")
ALLOWED: Final = {
    "ACTIVE": {"ARCHIVED", "DISABLED", "LOCKED", "DELETED"},
    "ARCHIVED": {"ACTIVE", "DISABLED", "DELETED"},
    "DISABLED": {"ACTIVE", "ARCHIVED", "DELETED"},
    "LOCKED": {"ACTIVE", "DISABLED", "DELETED"},
    "DELETED": set[str](),
}
READ: Final = {
    None: 4755,
    "ACTIVE": None,
    "ARCHIVED": 4753,
    "DISABLED": 4754,
    "LOCKED": None,
    "DELETED": 4755,
}
REPLACE: Final = {
    None: None,
    "ACTIVE": None,
    "ARCHIVED": 4753,
    "DISABLED": 4754,
    "LOCKED": 4823,
    "DELETED": 4755,
}
ACTORS: Final = {"Jobnet": JOBNET, "jobcenter": JOBCENTER, "municipality": MUNICIPALITY, "a-kasse": FUND}
PLACES: Final = {
    "here": (relation(MUNICIPALITY), relation(JOBCENTER)),
    "elsewhere": (relation(Organisation(7, "751")), relation(Organisation(8, "75100"))),
}
FUNDS: Final = {
    "member": (relation(FUND),),
    "another's": (relation(Organisation(1, "7" if FUND.code != "7" else "9")),),
    "none": (),
}
SOURCE: Final = ("die", "rise", "renumber")

STEPS: Final = st.one_of(
    st.sampled_from(list(ACTORS)).map(lambda actor: ("replace", actor)),
    st.sampled_from(STATES).map(lambda state: ("move", state)),
    st.sampled_from(SOURCE).map(lambda what: (what, None)),
    st.sampled_from(list(PLACES)).map(lambda place: ("hand over", place)),
    st.sampled_from(list(FUNDS)).map(lambda fund: ("fund", fund)),
    st.tuples(st.integers(-3, 3), st.integers(0, 3)).map(lambda window: ("asylum dates", window)),
    st.integers(1, 3).map(lambda days: ("days pass", days)),
    st.just(("erase", None)),
)
Step = tuple[str, Any]


class Model:
    """What the specification says about one citizen and the CV."""

    def __init__(self, today: date, place: str = "here", fund: str = "member") -> None:
        self.today, self.place, self.fund = today, place, fund
        self.state: str | None = None
        self.dead = False
        self.window: tuple[date, date] | None = None
        self.revisions = 0
        self.events = 0

    def replace(self, actor: str) -> int | None:
        fault = self._fault_of_replace(actor)
        if fault is None:
            self.state, self.revisions, self.events = "ACTIVE", self.revisions + 1, self.events + 1
        return fault

    def _fault_of_replace(self, actor: str) -> int | None:
        if actor in ("municipality", "a-kasse"):
            return 8292
        if actor == "jobcenter" and self.place != "here":
            return 6005
        if fault := 4405 if self.dead else REPLACE[self.state]:
            return fault
        return self._fault_of_window() if actor == "jobcenter" else None

    def _fault_of_window(self) -> int | None:
        if self.window is None or self.today < self.window[0]:
            return 9231
        return 9230 if self.today > self.window[1] else None

    def move(self, wanted: str) -> int | None:
        if self.state is None:
            return 4755
        if wanted == self.state:
            return None
        if wanted not in ALLOWED[self.state]:
            return 1014
        self.state, self.events = wanted, self.events + 1
        return None

    def set_window(self, window: tuple[date, date]) -> int | None:
        if self.place != "here":
            return 6005
        if self.window is not None:
            return 1014
        self.window = window
        return None

    def read(self, actor: str) -> int | None:
        if actor in ("jobcenter", "municipality") and self.place != "here":
            return 4575
        if actor == "a-kasse" and self.fund != "member":
            return 4385 if self.fund == "none" else 8291
        if self.dead:
            return 4753 if self.state == "ARCHIVED" else 4754
        return READ[self.state]


class Play:
    """One citizen's life at the registry, step by step beside the model's."""

    def __init__(self, registry: RegistryClient, database: Database, clock: SettableClock) -> None:
        self._registry, self._database, self._clock = registry, database, clock
        self._model = Model(FIRST_DAY)
        self._citizen = a_citizen()
        self._ids: dict[str, Any] = {}
        self._source_version = 0

    async def run(self, steps: list[Step]) -> None:
        self._pass_to(FIRST_DAY)
        await self._tell()
        for action, argument in steps:
            await self._do(action, argument)
            for actor, organisation in ACTORS.items():
                answer = await self._registry.get(self._number, caller=a_caller(organisation))
                assert answer.json().get("code") == self._model.read(actor), (action, argument, actor)
        await self._compare_history()

    @property
    def _number(self) -> str:
        return str(self._citizen["personNumber"])

    async def _do(self, action: str, argument: Any) -> None:
        model = self._model
        match action:
            case "replace":
                response = await self._registry.replace(self._number, caller=a_caller(ACTORS[argument]))
                assert response.json().get("code") == model.replace(argument)
            case "move":
                response = await self._registry.move(self._ids["cvId"], argument)
                assert response.json().get("code") == model.move(argument)
            case "die" | "rise":
                model.dead = action == "die"
                await self._tell()
            case "hand over":
                model.place = argument
                await self._tell()
            case "fund":
                model.fund = argument
                await self._tell()
            case "days pass":
                self._pass_to(model.today + timedelta(days=argument))
            case "asylum dates":
                await self._set_window(*argument)
            case "renumber":
                await self._renumber()
            case _:
                await self._erase()

    def _pass_to(self, day: date) -> None:
        self._model.today = day
        self._clock.now = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)

    async def _tell(self, **more: Any) -> None:
        """Let the source tell how the citizen is now."""
        self._source_version += 1
        model = self._model
        told = {
            **self._citizen,
            "sourceVersion": self._source_version,
            "dead": model.dead,
            "relations": [*PLACES[model.place], *FUNDS[model.fund]],
            **more,
        }
        known, (self._ids,) = self._ids, await self._registry.register(told)
        assert not known or known["cvId"] == self._ids["cvId"]

    async def _set_window(self, begins: int, lasts: int) -> None:
        if self._model.dead:
            return
        first = self._model.today + timedelta(days=begins)
        window = first, first + timedelta(days=lasts)
        body = {"AsylumCVTransitionDate": str(window[0]), "CVEditEndDate": str(window[1])}
        response = await self._registry.asylum("POST", self._number, body, caller=a_caller(JOBCENTER))
        assert response.json().get("code") == self._model.set_window(window)

    async def _renumber(self) -> None:
        former, self._citizen["personNumber"] = self._number, a_person_number()
        await self._tell(formerPersonNumber=former)
        assert (await self._registry.get(former)).json()["code"] == 1010

    async def _erase(self) -> None:
        await self._compare_history()
        body = {
            "personId": self._ids["personId"],
            "cvId": self._ids["cvId"],
            "why": {"who": "operator", "reason": "asked for"},
        }
        answer = await self._registry.call(
            "POST", "/internal/erasures", body, service="operator", content_type="application/json"
        )
        assert answer.status_code == 200
        assert (await self._registry.get(self._number)).json()["code"] == 1010
        erased, self._ids = self._ids, {}
        self._model = Model(self._model.today, self._model.place, self._model.fund)
        await self._tell()
        assert self._ids["cvId"] != erased["cvId"]

    async def _compare_history(self) -> None:
        """Each change was told once, in order, and each revision is kept."""
        cv_id = self._ids["cvId"]
        rows = await self._database.fetch(
            "SELECT version FROM outbox WHERE aggregateid = $1 ORDER BY seq", cv_id
        )
        versions = [row["version"] for row in rows]
        assert versions == sorted(set(versions))
        assert len(versions) == self._model.events
        kept = await self._database.fetchval(
            "SELECT count(*) FROM cv_revisions WHERE cv_id::text = $1", cv_id
        )
        assert kept == self._model.revisions


@pytest.mark.parametrize(
    ("examples", "length"),
    [(10, 10), pytest.param(500, 50, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
)
async def test_every_sequence_of_steps_ends_where_the_model_ends(
    registry: RegistryClient, database: Database, clock: SettableClock, examples: int, length: int
) -> None:
    """Hypothesis is not async: it runs in a thread, and its examples in the loop of the test."""
    loop = asyncio.get_running_loop()
    made: list[int] = []

    @settings(max_examples=examples, deadline=None, database=None)
    @given(steps=st.lists(STEPS, min_size=length, max_size=length))
    def run(steps: list[Step]) -> None:
        play = Play(registry, database, clock)
        asyncio.run_coroutine_threadsafe(play.run(steps), loop).result()
        made.append(len(steps))

    await asyncio.to_thread(run)
    assert sum(made) >= examples * length
