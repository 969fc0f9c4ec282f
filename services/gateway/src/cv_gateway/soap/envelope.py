"""A SOAP 1.1 envelope, read without trust: no DTD, no entities, no network, bounded depth and size, UTF-8 only."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from lxml import etree

from cv_contracts.faults import FieldError
from cv_contracts.methods import METHODS, Method
from cv_gateway.bounded import Bounded
from cv_gateway.caller import (
    ACTIVE_CODE,
    ACTIVE_TYPE,
    REQUEST_CODE,
    REQUEST_TYPE,
    USER_ID,
    USER_NAME,
    USER_TYPE,
)
from cv_gateway.forwarding import Header
from cv_gateway.soap.faults import ENVELOPE, EnvelopeFault, NotUnderstood, VersionMismatch
from cv_gateway.soap.names import ForgetfulParser
from cv_gateway.soap.reading import read
from cv_gateway.soap.schema import Schema
from cv_gateway.soap.tables import NAMESPACE

REMEMBERED, REMEMBERED_BYTES = 1_000, 4_096
"""So many headers are remembered, each of so many bytes at most."""
OPERATIONS = {f"{{{NAMESPACE}}}{method.name}": method for method in METHODS if method.number <= 13}

_OTHER_ENVELOPE = "{http://www.w3.org/2003/05/soap-envelope}Envelope"
_ENVELOPE, _HEADER, _BODY = (f"{{{ENVELOPE}}}{name}" for name in ("Envelope", "Header", "Body"))
_MUST, _ACTOR = f"{{{ENVELOPE}}}mustUnderstand", f"{{{ENVELOPE}}}actor"
_NEXT = "http://schemas.xmlsoap.org/soap/actor/next"
_ACTIVE, _USER, _REQUEST_ID, _TOKEN = (
    f"{{{NAMESPACE}}}{name}Header"
    for name in ("ActiveOrganisation", "RequestUserMetadata", "RequestId", "ConsistencyToken")
)
_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([^"']*)["']""")
_UTF_8 = (b"utf-8", b"utf8", b"us-ascii")
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


@dataclass(frozen=True, slots=True)
class Request:
    """What an envelope asks: a method, who calls (spelled as REST's headers), what goes along, and the message.

    `errors` is what the schema refuses in message and request id; the message then is None. It is told after all that
    concerns the caller.
    """

    method: Method
    identity: tuple[Header, ...]
    forwarded: tuple[Header, ...]
    message: dict[str, Any] | None
    errors: tuple[FieldError, ...] = ()


class _Head(NamedTuple):
    """A header: who calls and what goes along, spelled as REST's headers, and what the schema refuses of it."""

    identity: tuple[Header, ...] = ()
    forwarded: tuple[Header, ...] = ()
    errors: tuple[FieldError, ...] = ()


class EnvelopeReader:
    """Reads envelopes. Not for two threads at once."""

    def __init__(self) -> None:
        self._schema = Schema()
        self._headers: Bounded[bytes, _Head] = Bounded(REMEMBERED)
        self._parser = ForgetfulParser()

    def read(self, content: bytes) -> Request:
        """Read an envelope; raises an EnvelopeFault, which never tells what was sent."""
        header, body = _parts(self._parse(content))
        head = _Head() if header is None else self._spelled(header)
        method = OPERATIONS.get(body[0].tag) if len(body) == 1 else None
        if method is None:
            raise EnvelopeFault("Body", "does not hold just one message of the service")
        message = body[0]
        refused = () if self._schema.accepts(message) else self._schema.errors(message)
        errors = (*head.errors, *refused)
        return Request(method, head.identity, head.forwarded, None if errors else read(message), errors)

    def _parse(self, content: bytes) -> etree._Element:
        _check_encoding(content)
        if _has_document_type(content):
            raise EnvelopeFault("Envelope", "has a document type declaration")
        try:
            return self._parser.parse(content)
        except etree.XMLSyntaxError:
            raise EnvelopeFault("Envelope", "is not well-formed XML") from None

    def _spelled(self, header: etree._Element) -> _Head:
        """Spell a header as REST's headers. Callers send the same one again and again: it is read once."""
        text = etree.tostring(header, with_tail=False)
        known = self._headers.get(text)
        if known is None:
            blocks = list(_blocks(header))
            known = _Head(
                tuple(line for block in blocks for line in self._identity(block)),
                tuple(line for block in blocks for line in self._forwarded(block)),
                tuple(error for block in blocks for error in self._refused(block)),
            )
            if len(text) <= REMEMBERED_BYTES:
                self._headers.put(text, known)
        return known

    def _identity(self, block: etree._Element) -> Iterator[Header]:
        """Spell a header block as REST's headers; one that cannot be read says nothing, which is its own fault."""
        if block.tag == _ACTIVE:
            value = read(block) if self._schema.accepts(block) else None
            yield from _organisation(value, ACTIVE_TYPE, ACTIVE_CODE)
        elif block.tag == _USER:
            value = read(block) if self._schema.accepts(block) else None
            user = value["RequestUserStructure"] if value else {}
            yield USER_NAME, _encoded(user.get("UserFullName", ""))
            yield USER_TYPE, str(user.get("RequestUserTypeIdentifier", "")).encode()
            yield USER_ID, _encoded(user.get("UserIdentifier", ""))
            if value and (organisation := value.get("RequestOrganisationStructure")):
                yield from _organisation(organisation, REQUEST_TYPE, REQUEST_CODE)

    def _forwarded(self, block: etree._Element) -> Iterator[Header]:
        if block.tag == _REQUEST_ID:
            yield b"x-requestid", _latin(block.text or "")
        elif block.tag == _TOKEN:
            yield b"x-consistency-token", _latin((block.text or "").strip())

    def _refused(self, block: etree._Element) -> Iterator[FieldError]:
        if block.tag == _REQUEST_ID and not self._schema.accepts(block):
            yield FieldError("RequestIdHeader", "does not have the form required")


def _parts(root: etree._Element) -> tuple[etree._Element | None, etree._Element]:
    """Give header and body; nothing else may stand in the envelope, and each of them once."""
    if root.tag == _OTHER_ENVELOPE:
        raise VersionMismatch("Envelope", "is not one of SOAP 1.1")
    if root.tag != _ENVELOPE:
        raise (
            VersionMismatch("Envelope", "is missing")
            if root.tag.endswith("}Envelope")
            else EnvelopeFault("Envelope", "is missing")
        )
    match [child.tag for child in root]:
        case [tag] if tag == _BODY:
            return None, root[0]
        case [first, second] if (first, second) == (_HEADER, _BODY):
            return root[0], root[1]
    raise EnvelopeFault("Envelope", "is not a Header, if any, and a Body")


def _blocks(header: etree._Element) -> Iterator[etree._Element]:
    """Give the header blocks that are meant for us, without the attributes that are the envelope's business."""
    for block in header:
        if block.get(_ACTOR, "") not in ("", _NEXT):
            continue
        if block.tag in (_ACTIVE, _USER, _REQUEST_ID, _TOKEN):
            for name in [name for name in block.keys() if name.startswith("{")]:  # noqa: SIM118 - lxml's attributes
                del block.attrib[name]
            yield block
        elif block.get(_MUST, "0").strip() in ("1", "true"):
            raise NotUnderstood("Header", "holds a block that must be understood and is not known here")


def _organisation(value: dict[str, Any] | None, kind: bytes, code: bytes) -> Iterator[Header]:
    yield kind, str(value["OrganisationTypeIdentifier"]).encode() if value else b""
    yield code, value["OrganisationCode"].encode() if value else b""


def _encoded(text: str) -> bytes:
    return quote(text, safe="").encode("ascii")


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def _check_encoding(content: bytes) -> None:
    if b"\0" in content:
        # ASCII as UTF-16 or UTF-32 is UTF-8 by its bytes, but the parser would know it for what it is, and read a document type.
        raise EnvelopeFault("Envelope", "is not UTF-8")
    if content.startswith(_BOMS):
        raise EnvelopeFault("Envelope", "begins with a byte order mark; send UTF-8 without one")
    declared = _ENCODING.match(content)
    if declared is not None and declared.group(1).lower() not in _UTF_8:
        raise EnvelopeFault("Envelope", "is not declared as UTF-8")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        raise EnvelopeFault("Envelope", "is not UTF-8") from None


def _has_document_type(content: bytes) -> bool:
    """Look before the root element, where alone a document type may stand, so that none is ever parsed."""
    place = 0
    while (place := content.find(b"<", place)) >= 0:
        if content.startswith(b"<!--", place):
            place = content.find(b"-->", place + len(b"<!--"))
        elif content.startswith(b"<?", place):
            place = content.find(b"?>", place + len(b"<?"))
        else:
            return content.startswith(b"<!", place)
        if place < 0:
            return False
    return False
