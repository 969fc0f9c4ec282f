"""From a new login to the letter that brings it, with the password spelled so that it can be read aloud."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pdf_renderer.glyphs import Glyphs
from pdf_renderer.wording import Words, day, joined

__all__ = ["letter_sheet", "spelled"]


def letter_sheet(shown: Mapping[str, Any], words: Words, glyphs: Glyphs) -> dict[str, Any]:
    """Give the sheet of an account letter."""
    said, columns = words["letter"], words["columns"]
    name, password = glyphs.clean(shown["name"]), shown["password"]
    login = [[said["user_name"], glyphs.clean(shown["user_name"])], [said["password"], password]]
    return {
        "title": said["title"],
        "author": said["author"],
        "address": _address(name, shown["address"], glyphs),
        "date": day(datetime.fromisoformat(shown["time"]), words),
        "before": [f"{said['greeting']} {name}", *said["before"]],
        "login": {"head": said["head"], "rows": login},
        "after": said["after"],
        "aloud": {
            "title": said["aloud"],
            "intro": said["aloud_intro"],
            "head": [columns["mark"], columns["reading"]],
            "halves": _halves([[mark, spelled(mark, words)] for mark in password]),
        },
        "closing": said["closing"],
    }


def _halves(rows: list[list[str]]) -> list[list[list[str]]]:
    half = (len(rows) + 1) // 2
    return [part for part in (rows[:half], rows[half:]) if part]


def _address(name: str, address: Mapping[str, str], glyphs: Glyphs) -> list[str]:
    place = joined([address["PostalCode"], address["PostalArea"]])
    country = "" if address["CountryCode"].upper() == "DK" else address["CountryCode"].upper()
    carer = address.get("COAddress", "")
    if carer and not carer.lower().startswith("c/o"):
        carer = f"c/o {carer}"
    lines = [name, carer, address["AddressLine"], place, country]
    return [line for line in map(glyphs.clean, lines) if line]


def spelled(mark: str, words: Words) -> str:
    """Say one character of a password as it is read out in Danish: stort K som Karen, 7 syv."""
    said = words["letter"]
    if mark.isascii() and mark.isdigit():
        return str(said["digits"][int(mark)])
    name = said["letters"].get(mark.upper())
    if name is None:
        return str(said["marks"].get(mark, mark))
    size = said["capital"] if mark.isupper() else said["small"]
    return f"{size} {mark.upper()} som {name}"
