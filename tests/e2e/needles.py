"""What is personal about citizens, and how it is found again in what a system says, however it is written there."""

import html
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import unquote

from cv_registry.html import TAGS
from cvhub.synthetic import SyntheticCitizen

_RANDOM_IDS = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{,12}"
    r"|(?<![0-9a-fA-F])(?:[0-9a-f]{32}|[0-9a-f]{16})(?![0-9a-fA-F])"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{12,}")
_URL_SAFE = str.maketrans("+/", "-_")
_ESCAPE = re.compile(r"\\+u([0-9a-f]{4})|((?:\\+x[0-9a-f]{2})+)|\\+[nrtbf]")
_MARKUP = re.compile(rf"</?(?:{'|'.join(sorted(TAGS))})\s*/?>")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_PIECE_WORDS = 4
SHORTEST_NAME = 5
"""In letters. Fewer are in a random token by chance, and programs say them too."""
_TEXTS = {"SummaryText", "HTMLText"}
_TITLES = {"JobTitle", "CompanyName", "Title", "InstitutionName"}
_LINKS = "OtherCVReferenceCollection"


@dataclass(frozen=True, slots=True)
class Leak:
    """What kind of personal data was found where; never the data."""

    kind: str
    place: str


class Needles:
    """What to look for, by kind: words in a row, whatever stands between them, in any case.

    Numbers are words too, so they count only when no other digit touches them. What is sought is indexed by its first
    word, for thousands of texts are looked for in many megabytes.
    """

    def __init__(self, by_kind: Mapping[str, Iterable[str]]) -> None:
        self._by_word: dict[str, set[tuple[str, str]]] = {}
        for kind, texts in by_kind.items():
            for words in map(_words, texts):
                self._by_word.setdefault(words[0], set()).add((kind, " ".join(words)))

    def leaks(self, place: str, content: bytes) -> set[Leak]:
        said = _RANDOM_IDS.sub(" ", content.decode("utf-8", "replace"))
        words = _words("\n".join((said, *_from_base64(said))))
        seen = set(words)
        text = f" {' '.join(words)} "
        return {
            Leak(kind, place)
            for word in self._by_word.keys() & seen
            for kind, sought in self._by_word[word]
            if seen.issuperset(sought.split()) and f" {sought} " in text
        }


def _words(text: str) -> list[str]:
    """Give what is said, without case, escapes of URLs, JSON, Python and XML, markup and punctuation."""
    plain = unquote(unquote(text.casefold()))
    plain = html.unescape(_ESCAPE.sub(_unescaped, plain))
    return _WORD.findall(_MARKUP.sub(" ", plain.casefold()))


def _unescaped(escape: re.Match[str]) -> str:
    code, octets = escape.groups()
    if code:
        return chr(int(code, 16))
    return bytes.fromhex(re.sub(r"\\+x", "", octets)).decode("utf-8", "replace") if octets else " "


def _from_base64(text: str) -> Iterator[str]:
    """Give what is text behind base64 of either alphabet."""
    for run in {run.rstrip("=") for run in _BASE64.findall(text)}:
        whole = run[: len(run) - (len(run) % 4 == 1)].translate(_URL_SAFE)
        try:
            yield urlsafe_b64decode(whole + "=" * (-len(whole) % 4)).decode()
        except ValueError:
            continue


def needles_of(persons: Iterable[SyntheticCitizen], **more: Iterable[str]) -> Needles:
    """Give all that is personal about them, and more by kind; phones among it are in full, with +45."""
    found: dict[str, set[str]] = {}
    for kind, texts in more.items():
        for text in texts:
            found.setdefault(kind, set()).update(_phones(text) if kind == "phone" else (text,))
    for one in persons:
        for kind, text in _personal(one):
            found.setdefault(kind, set()).add(text)
    return Needles(found)


def _personal(one: SyntheticCitizen) -> Iterator[tuple[str, str]]:
    number, citizen, cv = one.person_number, one.citizen, one.cv or {}
    yield from (("person number", text) for text in (number, f"{number[:6]}-{number[6:]}"))
    if one.cv_number:
        yield "CV number", one.cv_number
    yield "name", one.name
    alone = (citizen.get(name, "") for name in ("givenName", "middleName", "familyName"))
    yield from (("name", name) for name in alone if _is_distinctive(name))
    born = date.fromisoformat(citizen["dateOfBirth"])
    yield from (("date of birth", f"{born:{form}}") for form in ("%Y-%m-%d", "%d-%m-%Y", "%Y%m%d", "%d%m%Y"))
    yield "address", citizen["address"]["addressLine"]
    contact = cv.get("ContactInformation", {})
    if mail := contact.get("E-mail"):
        yield "e-mail", mail
    for phone in contact.get("PhoneNumber", []):
        yield from (("phone", text) for text in _phones(phone))
    yield from _written(cv.get("CV", {}))


def _is_distinctive(name: str) -> bool:
    return sum(map(str.isalpha, name)) >= SHORTEST_NAME


def _phones(phone: str) -> Iterator[str]:
    """Give a Danish number as it may be written: with +45, with 0045, without, in pairs, in halves."""
    digits = phone.removeprefix("+45")
    yield from (phone, f"0045{digits}", digits)
    yield from (" ".join(re.findall(part, digits)) for part in ("..", "...."))


def _written(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Give what the citizen has written in the CV, of long texts every few words."""
    if isinstance(value, dict):
        for inner, more in value.items():
            yield from _written(more, inner)
    elif isinstance(value, list):
        for more in value:
            yield from _written(more, name)
    elif name in _TEXTS:
        yield from (("text", piece) for piece in _pieces(_words(value)))
    elif name == _LINKS:
        yield "link", value
    elif name in _TITLES and _is_distinctive(value):
        yield "title", value


def _pieces(words: list[str]) -> Iterator[str]:
    """Give words in a row; what is left at the end, and a text of a word or two, could be anybody's."""
    if 2 < len(words) < _PIECE_WORDS:
        yield " ".join(words)
    for end in range(_PIECE_WORDS, len(words) + 1, _PIECE_WORDS):
        yield " ".join(words[end - _PIECE_WORDS : end])
