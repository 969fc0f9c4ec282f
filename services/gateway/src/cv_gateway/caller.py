"""Who calls: the token and the organisation and user headers become one Caller, or the fault that comes first.

The order is that of the specification: 1012; 8232, 8233 (missing); 8234, 8235 (unreadable); 8173, 8174 (type not in
its list); 1013 (scope); 4985, 4986 where the method lists them; 4575 (organisation not in the token); 1014.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from cv_contracts.access import ACCESS
from cv_contracts.codelists import CodeLists
from cv_contracts.faults import Fault, FieldError
from cv_contracts.methods import Method
from cv_gateway.bounded import Bounded
from cv_gateway.token import BadToken, TokenVerifier, VerifiedToken
from servicekit.caller import Caller, Organisation, User

AUTHORIZATION = b"authorization"
ACTIVE_TYPE, ACTIVE_CODE = b"x-activeorganisation-type", b"x-activeorganisation-code"
USER_NAME, USER_TYPE, USER_ID = b"x-requestuser-name", b"x-requestuser-type", b"x-requestuser-identifier"
REQUEST_TYPE, REQUEST_CODE = b"x-requestorganisation-type", b"x-requestorganisation-code"
IDENTITY_HEADERS = frozenset(
    {AUTHORIZATION, ACTIVE_TYPE, ACTIVE_CODE, USER_NAME, USER_TYPE, USER_ID, REQUEST_TYPE, REQUEST_CODE}
)

ACTIVE_MISSING, USER_MISSING, ACTIVE_UNREADABLE, USER_UNREADABLE = 8232, 8233, 8234, 8235
UNKNOWN_ORGANISATION_TYPE, UNKNOWN_USER_TYPE = 8173, 8174
NO_SCOPE, NOT_AUTHORISED, INVALID = 1013, 4575, 1014
UNKNOWN_CODE = {1: 4985, 8: 4986}
OTHER_ACTOR = 4

_NUMBER = re.compile(rb"[0-9]{1,9}")
_CODE = re.compile(rb"[0-9A-Za-z._-]{1,20}")
_ENCODED = re.compile(rb"(?:[\x20-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Identity = tuple[tuple[bytes, bytes], ...]
"""The headers of IDENTITY_HEADERS as they came, in their order."""


class NoScope(Fault):
    """A token without the scope of the method, which is named as RFC 6750 has it."""

    def __init__(self, scope: str) -> None:
        super().__init__(NO_SCOPE)
        self._scope = scope

    def headers(self) -> dict[str, str]:
        challenge = f'Bearer realm="cvhub", error="insufficient_scope", scope="{self._scope}"'
        return {**super().headers(), "www-authenticate": challenge}


@dataclass(frozen=True, slots=True)
class Admitted:
    """A caller who may use a method, until `expires` (seconds since 1970)."""

    caller: Caller
    expires: float


class Admission:
    """Admits callers to methods. Remembers whom it admitted, so that the same headers are read once."""

    def __init__(self, verifier: TokenVerifier, lists: CodeLists, remembered: int = 10_000) -> None:
        self._verifier = verifier
        self._lists = lists
        self._admitted: Bounded[tuple[int, Identity], Admitted] = Bounded(remembered)
        self._generation = 0

    async def forget(self) -> None:
        """Read all headers anew: who was admitted by other code lists may be refused now."""
        self._admitted.clear()

    async def check_token(self, identity: Identity) -> VerifiedToken:
        """Give what the token of these headers says; raises BadToken, or KeysUnavailable when it cannot be judged."""
        return await self._token(_by_name(identity))

    async def admit(self, method: Method, identity: Identity) -> Caller:
        """Give the caller; raises the first fault, or KeysUnavailable when no token can be judged."""
        if self._generation != (generation := self._verifier.generation()):
            self._generation = generation
            self._admitted.clear()
        known = self._admitted.get((method.number, identity))
        if known is not None and known.expires > time.time():
            return known.caller
        headers = _by_name(identity)
        token = await self._token(headers)
        caller = self._read(method, token, headers)
        self._admitted.put((method.number, identity), Admitted(caller, token.expires), token.weight)
        return caller

    async def _token(self, headers: Mapping[bytes, bytes | None]) -> VerifiedToken:
        authorization = headers.get(AUTHORIZATION)
        if authorization is None:
            raise BadToken
        return await self._verifier.verify(authorization)

    def _read(self, method: Method, token: VerifiedToken, headers: Mapping[bytes, bytes | None]) -> Caller:
        _require(headers, ACTIVE_MISSING, ACTIVE_TYPE, ACTIVE_CODE)
        _require(headers, USER_MISSING, USER_NAME, USER_TYPE, USER_ID)
        active = _organisation(headers.get(ACTIVE_TYPE), headers.get(ACTIVE_CODE))
        if active is None:
            raise Fault(ACTIVE_UNREADABLE)
        user = _user(headers)
        if active.type not in self._lists.organisation_types:
            raise Fault(UNKNOWN_ORGANISATION_TYPE)
        if user.type not in self._lists.user_types:
            raise Fault(UNKNOWN_USER_TYPE)
        _check_scope(method, token, active)
        self._check_organisation(method, token, active, headers)
        return Caller(token.client, token.own, active, token.own, user)

    def _check_organisation(
        self,
        method: Method,
        token: VerifiedToken,
        active: Organisation,
        headers: Mapping[bytes, bytes | None],
    ) -> None:
        known = self._lists.knows_organisation(active.type, active.code)
        unknown_code = UNKNOWN_CODE.get(active.type)
        if not known and unknown_code in method.listed:
            raise Fault(unknown_code)
        if active not in token.may_act_as:
            raise Fault(NOT_AUTHORISED)
        if REQUEST_TYPE in headers or REQUEST_CODE in headers:
            request = _organisation(headers.get(REQUEST_TYPE), headers.get(REQUEST_CODE))
            if request != token.own:
                raise Fault(NOT_AUTHORISED)
        if not known:
            raise Fault(INVALID, (FieldError(ACTIVE_CODE.decode(), "is not in the code list"),))


def _by_name(identity: Identity) -> dict[bytes, bytes | None]:
    """Give the headers by name; one that came twice says nothing that can be relied on: None."""
    headers: dict[bytes, bytes | None] = {}
    for name, value in identity:
        headers[name] = None if name in headers else value
    return headers


def _require(headers: Mapping[bytes, bytes | None], fault: int, *names: bytes) -> None:
    if any(name not in headers for name in names):
        raise Fault(fault)


def _check_scope(method: Method, token: VerifiedToken, active: Organisation) -> None:
    kind = OTHER_ACTOR if token.own.type == OTHER_ACTOR else active.type
    rule = ACCESS.get((method.number, kind))
    if method.scope not in token.scopes:
        raise NoScope(method.scope)
    if rule is not None and rule.kind == "-":
        raise Fault(NO_SCOPE)


def _organisation(kind: bytes | None, code: bytes | None) -> Organisation | None:
    if kind is None or code is None or not _NUMBER.fullmatch(kind) or not _CODE.fullmatch(code):
        return None
    return Organisation(int(kind), code.decode("ascii"))


def _user(headers: Mapping[bytes, bytes | None]) -> User:
    kind = headers.get(USER_TYPE)
    name, identifier = _text(headers.get(USER_NAME), 140), _text(headers.get(USER_ID), 255)
    if kind is None or name is None or identifier is None or not _NUMBER.fullmatch(kind):
        raise Fault(USER_UNREADABLE)
    return User(name, int(kind), identifier)


def _text(value: bytes | None, longest: int) -> str | None:
    """Read percent-encoded UTF-8 of 1 to `longest` characters, none of them a control character."""
    if value is None or not _ENCODED.fullmatch(value):
        return None
    try:
        text = unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if 0 < len(text) <= longest and not _CONTROL.search(text) else None
