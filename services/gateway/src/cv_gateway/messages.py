"""Which messages each public method takes and gives: what the interface describes, and what goes on to the owners."""

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from cv_contracts import wire
from cv_contracts.methods import METHODS, Method


@dataclass(frozen=True, slots=True)
class Messages:
    """The body and the query that a method takes, if any, and what it answers."""

    answer: type[wire.Wire]
    body: type[wire.Wire] | None = None
    query: type[wire.Query] | None = None


MESSAGES: dict[int, Messages] = {
    1: Messages(wire.GetCVResponse),
    2: Messages(wire.GetCVAsPdfResponse),
    3: Messages(wire.ServiceReceiptResponse),
    4: Messages(wire.ServiceReceiptResponse, wire.SetCvStatusRequest),
    5: Messages(wire.SearchCVTextResponse, wire.SearchCVTextRequest),
    6: Messages(wire.GetCvStatusResponse),
    7: Messages(wire.GetCVOnStatusResponse, query=wire.GetCVOnStatusQuery),
    8: Messages(wire.GetAvailableCVStatusVersionsResponse, query=wire.GetAvailableCVStatusVersionsQuery),
    9: Messages(wire.GetCVUpdateListResponse, query=wire.GetCVUpdateListQuery),
    10: Messages(wire.GetCVByCVNumberResponse, wire.GetCVByCVNumberRequest),
    11: Messages(wire.ServiceReceiptResponse, wire.CreateAsylumCVTransitionRequest),
    12: Messages(wire.ServiceReceiptResponse, wire.UpdateAsylumCVTransitionRequest),
    13: Messages(wire.ServiceReceiptResponse, wire.ReplaceCVRequest),
    14: Messages(wire.ServiceReceiptResponse, wire.SavePersonContactDataRequest),
    15: Messages(wire.ServiceReceiptResponse, wire.VerifyPersonContactDataRequest),
    16: Messages(wire.ServiceReceiptResponse, wire.RequestNewVerificationCodeRequest),
    17: Messages(wire.GetPersonResponse, wire.GetPersonByMobilePhoneNumberRequest),
    18: Messages(wire.GetPersonResponse, wire.GetPersonByEmailAddressRequest),
    19: Messages(wire.ServiceReceiptResponse, wire.SavePersonContactStatusRequest),
}


def messages_of(method: Method) -> Messages:
    """Give the messages of a method."""
    return MESSAGES[method.number]


def models() -> tuple[list[type[wire.Wire]], list[type[wire.Wire]]]:
    """Give all bodies and all answers, each once."""
    bodies = {m.body.__name__: m.body for m in map(messages_of, METHODS) if m.body is not None}
    answers = {m.answer.__name__: m.answer for m in map(messages_of, METHODS)}
    return list(bodies.values()), list(answers.values())


def examples() -> dict[str, Any]:
    """Give an example of every message, by the name of its type."""
    loaded: dict[str, Any] = json.loads(files(__package__).joinpath("examples.json").read_text("utf-8"))
    return loaded
