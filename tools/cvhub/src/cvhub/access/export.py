"""A citizen's access log as the citizen gets it: who looked when, as which authority, and at what; JSON, and a PDF in Danish."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

import typst

from cv_contracts.codelists import default
from cvhub.danish_time import DANISH

__all__ = ["METHODS", "pdf_of", "statement_of"]

METHODS: Mapping[str, str] = {
    "GetCV": "Så dit CV",
    "GetCVAsPdf": "Hentede dit CV som PDF",
    "CreateJobnetAccountLetter": "Bestilte et brev med nyt brugernavn og ny adgangskode til dig",
    "SetCvStatus": "Satte status på dit CV",
    "SearchCVText": "Fandt dig i en søgning blandt CV'er",
    "GetCvStatus": "Så status på dit CV",
    "GetCVOnStatus": "Hentede en gemt udgave af dit CV",
    "GetAvailableCVStatusVersions": "Så hvilke udgaver af dit CV der er gemt",
    "GetCVUpdateList": "Så at dit CV er ændret",
    "GetCVByCVNumber": "Så dit CV med dit samtykke",
    "GetPersonByMobilePhoneNumber": "Slog dig op på dit mobilnummer",
    "GetPersonByEmailAddress": "Slog dig op på din e-mailadresse",
}
OTHERWISE = "Behandlede dine oplysninger"
OWN_SYSTEM = "CV-systemet selv"


def statement_of(
    rows: Sequence[Mapping[str, Any]], asked: Mapping[str, str], made: datetime
) -> dict[str, Any]:
    """Put the rows into words. Person number and name of the citizen are not in it."""
    return {
        "made": made.isoformat(timespec="seconds"),
        "since": asked["since"],
        "until": asked["until"],
        "looks": [_look(row) for row in rows],
    }


def _look(row: Mapping[str, Any]) -> dict[str, Any]:
    at = datetime.fromisoformat(row["at"]).astimezone(DANISH)
    look = {
        "at": at.isoformat(timespec="seconds"),
        "method": row["method"],
        "what": METHODS.get(row["method"], OTHERWISE),
        "authority": OWN_SYSTEM,
    }
    if row["client"] is None:
        return look
    look["authority"] = _organisation(row["active_type"], row["active_code"])
    if (row["request_type"], row["request_code"]) != (row["active_type"], row["active_code"]):
        look["onBehalfBy"] = _organisation(row["request_type"], row["request_code"])
    return {**look, "user": row["user_name"]} | ({"purpose": row["purpose"]} if row["purpose"] else {})


def _organisation(kind: int, code: str) -> str:
    lists = default()
    known = lists.organisations.get((kind, code))
    if known is not None:
        return known.name
    listed = lists.organisation_types.get(kind)
    return f"{listed.name if listed else kind} {code}"


def pdf_of(statement: Mapping[str, Any]) -> bytes:
    """Set the statement as a PDF."""
    made = datetime.fromisoformat(statement["made"])
    begin, end = (datetime.fromisoformat(statement[name]).astimezone(DANISH) for name in ("since", "until"))
    data = {
        "made": f"{made:%d.%m.%Y kl. %H.%M}",
        "since": f"{begin:%d.%m.%Y}",
        "until": f"{end:%d.%m.%Y}",
        "looks": [_line(look) for look in statement["looks"]],
    }
    inputs = {"statement": json.dumps(data, ensure_ascii=False)}
    return bytes(typst.compile(_template(), sys_inputs=inputs, format="pdf", pdf_standards=["a-2a"]))


def _line(look: Mapping[str, Any]) -> dict[str, str]:
    at = datetime.fromisoformat(look["at"])
    who = look["authority"] + (f", ved {look['onBehalfBy']}" if "onBehalfBy" in look else "")
    return {"at": f"{at:%d.%m.%Y %H.%M.%S}", "who": who, "user": look.get("user", ""), "what": look["what"]}


@cache
def _template() -> bytes:
    return files(__package__).joinpath("export.typ").read_bytes()
