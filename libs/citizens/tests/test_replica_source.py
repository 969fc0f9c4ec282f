"""The registry's answer to the question who has a number: that citizen, nobody, or no answer at all."""

from typing import Any
from uuid import UUID

import pytest

from cv_citizens.replica_source import HttpRegistry
from servicekit.follow.states import BadState, Known

SUBJECT = UUID(int=7)
NUMBER = "0101901234"


def known(number: str | None) -> dict[str, Any]:
    return {"subject": str(SUBJECT), "version": 3, "state": {"personNumber": number}}


async def lookup(*states: Any) -> Known | None:
    async def post(path: str, body: dict[str, Any]) -> Any:
        assert (path, body) == ("/internal/citizens/lookup", {"personNumber": NUMBER})
        return {"states": list(states)}

    return await HttpRegistry(post).lookup("person_number", NUMBER)


async def test_whoever_has_the_number_is_found_and_nobody_is_an_answer_too() -> None:
    assert await lookup(known(NUMBER)) == Known(SUBJECT, 3, {"personNumber": NUMBER})
    assert await lookup() is None


@pytest.mark.parametrize(
    "states",
    [
        [known("0101904321")],
        [known(None)],
        [known(NUMBER), known(NUMBER)],
        [{"subject": str(SUBJECT), "version": 3, "erased": True}],
        [{"subject": str(SUBJECT), "unknown": True}],
        ["no object"],
    ],
)
async def test_an_answer_about_anybody_else_shows_nobody(states: list[Any]) -> None:
    with pytest.raises(BadState):
        await lookup(*states)
