"""CreateJobnetAccountLetter: a new login, the letter that brings it, and what becomes of a letter whose fate is not known."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final
from uuid import uuid4

import structlog

from cv_citizens.citizen import Citizen
from cv_citizens.danish_time import Clock, danish_today
from cv_citizens.documents import Documents
from cv_citizens.policy import decide, fault_of_organisation
from cv_contracts.events.cv_registry import AccountLetterSent
from cv_contracts.faults import Fault, FieldError
from cv_contracts.methods import METHOD_BY_NUMBER
from cv_registry.calls import WriteCall
from cv_registry.passwords import Passwords, random_password
from cv_registry.printing import NotTaken, PrintService, PrintTrouble, Unsure
from cv_registry.store_letters import Addressee, Letter, LetterStore
from servicekit.data.access_log import AccessLog, AccessRow
from servicekit.data.idempotency import FirstAnswer, RequestLog
from servicekit.web.calls import receipt

log = structlog.get_logger(__name__)

METHOD: Final = 3
UNREACHABLE: Final = METHOD_BY_NUMBER[METHOD].unreachable_fault
PRINT_FAILED: Final = 4431
RETRY_SECONDS: Final = 5
AT_ONCE: Final = 3
"""Letters under way at one instance; each holds a connection."""
LONGEST_WAIT: Final = 5.0
"""Seconds for a turn: whoever waits for a letter holds a place at the gateway that documents need as well."""
SETTLED_AT_ONCE: Final = 100
NOTHING: Final = b""
_BODY: Final = FieldError("body", "is not empty; the citizen is named in the header")


class AccountLetters:
    """Makes new Jobnet logins. A login is valid only once the print service took its letter; until then the old one is.

    The password is in this process's memory only, from its making to the letter's hand-over.
    """

    def __init__(
        self,
        *,
        store: LetterStore,
        request_log: RequestLog,
        access_log: AccessLog,
        documents: Documents,
        print_service: PrintService | None,
        passwords: Passwords,
        clock: Clock,
    ) -> None:
        self._store = store
        self._request_log = request_log
        self._access_log = access_log
        self._documents = documents
        self._print_service = print_service
        self._passwords = passwords
        self._clock = clock
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def create(self, call: WriteCall, body: bytes) -> FirstAnswer:
        """Answer method 3, or raise the first fault that applies."""
        if body.strip() not in (NOTHING, b"{}"):
            raise Fault(1014, errors=(_BODY,))
        if code := fault_of_organisation(METHOD, call.actor):
            raise Fault(code)
        cv_id = (await self._addressee(call)).citizen.cv_id
        async with self._in_turn(), self._store.only_one(cv_id):
            addressee = await self._addressee(call)
            answer = await self._answered(call, addressee.citizen)
            if answer is None and (left := await self._store.sending(cv_id)) is not None:
                await self._settle(left)
                answer = await self._answered(call, addressee.citizen)
            return answer or await self._send(call, addressee)

    async def settle_left(self) -> int:
        """Settle the letters that were left in the middle, by a crash or an outage; gives how many were."""
        letters = await self._store.all_sending(SETTLED_AT_ONCE)
        return sum([await self._settle_if_left(letter) for letter in letters])

    async def is_login(self, user_name: str, password: str) -> bool:
        """Tell whether this is the login that is valid now."""
        return await self._passwords.is_right(password, partial(self._store.password_hash, user_name))

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        try:
            await asyncio.wait_for(self._turn.acquire(), LONGEST_WAIT)
        except TimeoutError:
            raise Fault(UNREACHABLE, retry_after=RETRY_SECONDS) from None
        try:
            yield
        finally:
            self._turn.release()

    async def _addressee(self, call: WriteCall) -> Addressee:
        addressee = await self._store.addressee(call.person_number)
        if addressee is None:
            raise Fault(4103)
        citizen = addressee.citizen
        if code := decide(METHOD, call.actor, citizen, danish_today(self._clock)).fault:
            raise Fault(code)
        if citizen.cv_number is None:
            raise Fault(4103)
        if not addressee.has_account:
            raise Fault(4400)
        return addressee

    async def _answered(self, call: WriteCall, citizen: Citizen) -> FirstAnswer | None:
        async with self._store.database.write(self._store.lock(citizen.cv_id)) as tx:
            return await self._request_log.replay(tx, call.key(citizen), NOTHING)

    async def _send(self, call: WriteCall, addressee: Addressee) -> FirstAnswer:
        """Make a login and send its letter."""
        citizen, print_service = addressee.citizen, self._print_service
        if print_service is None:
            raise Fault(PRINT_FAILED)
        password, user_name = random_password(), citizen.cv_number or ""
        hashed = await self._passwords.hash(password)
        pdf = await self._render(addressee, user_name, password)
        await self._access_log.record(AccessRow(citizen.person_id, "CreateJobnetAccountLetter", call.caller))
        request = self._request_log.name(call.key(citizen), NOTHING)
        letter = Letter(uuid4(), citizen.person_id, citizen.cv_id, request)
        if not await self._store.begin(letter, user_name, hashed):
            raise Fault(4103)
        answer = await self._handed_over(letter, pdf, print_service)
        # Who lost the lock meanwhile, with its connection, may find that somebody else has settled the letter.
        answer = answer or await self._answered(call, citizen)
        if answer is None:
            raise Fault(PRINT_FAILED, retry_after=RETRY_SECONDS)
        return answer

    async def _render(self, addressee: Addressee, user_name: str, password: str) -> bytes:
        personal = addressee.personal
        names = (personal.get(name) for name in ("GivenName", "MiddleName", "FamilyName"))
        content: dict[str, Any] = {
            "name": " ".join(name for name in names if name),
            "postalAddress": personal["PostalAddress"],
            "userName": user_name,
            "password": password,
        }
        body = {"kind": "letter", "timestamp": self._clock(), "content": content}
        return base64.b64decode((await self._documents.get(body, UNREACHABLE)).base64)

    async def _handed_over(
        self, letter: Letter, pdf: bytes, print_service: PrintService
    ) -> FirstAnswer | None:
        """Hand a letter over; None if it will never be printed."""
        try:
            await print_service.hand_over(letter.id, pdf)
        except NotTaken as error:
            log.warning("account_letter_not_taken", reason=str(error))
            await self._store.fail(letter)
            return None
        except Unsure as error:
            log.warning("account_letter_unsure", reason=str(error))
            return await self._settle(letter)
        return await self._taken(letter)

    async def _settle(self, letter: Letter) -> FirstAnswer | None:
        """Ask whether a letter was taken, and withdraw it if not: what comes late is then refused. None: it was not taken.

        Raises fault 4431 while the print service does not say; the letter then stays as it is.
        """
        try:
            if self._print_service is None:
                raise Unsure
            withdrawn = await self._print_service.withdraw(letter.id)
        except PrintTrouble as error:
            log.warning("account_letter_still_unsure", reason=str(error))
            raise Fault(PRINT_FAILED, retry_after=RETRY_SECONDS) from None
        log.info("account_letter_settled", outcome="withdrawn" if withdrawn else "taken")
        if withdrawn:
            await self._store.fail(letter)
            return None
        return await self._taken(letter)

    async def _settle_if_left(self, letter: Letter) -> bool:
        """Settle a letter unless somebody is at it now, or its fate cannot be told yet."""
        async with self._store.only_one(letter.cv_id, wait=False) as mine:
            if not mine or await self._store.sending(letter.cv_id) != letter:
                return False
            try:
                await self._settle(letter)
            except Fault:
                return False
        return True

    async def _taken(self, letter: Letter) -> FirstAnswer | None:
        """Make the login valid and publish that the letter was sent; None if that is settled already, or the citizen was erased."""
        async with self._store.database.write(self._store.lock(letter.cv_id)) as tx:
            event = AccountLetterSent(
                id=uuid4(),
                subject=letter.cv_id,
                version=tx.version_after(await self._store.previous_version(tx, letter.cv_id)),
                time=tx.now,
            )
            if not await self._store.make_valid(tx, letter, event):
                return None
            return await self._request_log.remember_as(tx, letter.request, receipt(event))
