"""A method as REST: the request goes to its owner and the answer comes back byte for byte."""

from typing import Any, NamedTuple

from cv_contracts.faults import Problem, Unavailable
from cv_contracts.methods import Method
from cv_gateway.feed import FEED, compression
from cv_gateway.forwarding import OF_EVERY_ANSWER, Header, Receive, answer_headers, read_body, split
from cv_gateway.owners import Owners, away
from cv_gateway.queries import target_of
from servicekit.web.problems import problem_body


class Reply(NamedTuple):
    """What goes back to the caller. `outcome` is the status that tells what became of the call, where `status` does not."""

    status: int
    headers: list[Header]
    body: bytes
    outcome: int = 0


class RestMethod:
    """One method at its route."""

    def __init__(self, method: Method, owners: Owners, body_limit: int, body_seconds: float) -> None:
        self.verb: str = method.verb
        self.path = method.path
        self.name = method.name
        self.lane = owners.polls if method is FEED else owners.lane
        self._method = method
        self._owners = owners
        self._body_limit = body_limit
        self._body_seconds = body_seconds

    async def answer(self, scope: Any, receive: Receive, traceparent: str) -> Reply:
        """Give the owner's answer; raises what refuses the call."""
        headers, owners, method = scope["headers"], self._owners, self._method
        owners.demand_room(method)
        identity, forwarded = split(headers)
        caller = await owners.admit(method, identity)
        target = target_of(method, scope["query_string"])
        way = owners.way(method, caller, forwarded, traceparent, compression(method, headers))
        body = b""
        if method.verb != "GET":
            body = await read_body(receive, headers, self._body_limit, self._body_seconds)
        answer = await owners.ask(way, target, body, receive)
        return Reply(
            answer.status, [*answer_headers(answer.headers), *of_every_answer(traceparent)], answer.body
        )

    def refuse(self, problem: Problem, traceparent: str) -> Reply:
        """Give a refusal as a problem document."""
        told = away(self._method, problem) if isinstance(problem, Unavailable) else problem
        return refusal(told, traceparent)


def refusal(problem: Problem, traceparent: str) -> Reply:
    """Give a problem document (RFC 9457)."""
    headers = [(name.encode(), value.encode("latin-1")) for name, value in problem.headers().items()]
    body = problem_body(problem, traceparent[3:35])
    return Reply(problem.status, [*headers, *of_every_answer(traceparent)], body)


def of_every_answer(traceparent: str) -> tuple[Header, ...]:
    """Give the headers that no answer is without."""
    return (*OF_EVERY_ANSWER, (b"x-trace-id", traceparent[3:35].encode("ascii")))
