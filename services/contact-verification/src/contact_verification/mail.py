"""Mail by SMTP: STARTTLS, log-in, a Message-ID that stays the same however often a message is sent."""

import asyncio
import re
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formatdate
from functools import cache
from typing import Final

import aiosmtplib
from email_validator import EmailNotValidError, validate_email

from contact_verification.messages import Outgoing, Passing, PutOff, Refused
from contact_verification.settings import MailSettings

NOBODY_THERE: Final = frozenset({550, 551, 553, 556})
"""Answers to RCPT that say that mail cannot reach the address."""
PERMANENT: Final = 500
_CLOSING: Final = 421
"""The server ends the connection, in answer to whatever it was told."""
LEAVING: Final = 0.1
"""Part of the time for a message that is kept for QUIT: its answer says nothing about the message."""
_REFUSED_LOG_IN: Final = frozenset({530, 534, 535, 538})
_ENCODED: Final = re.compile(r"=\?.*\?=")
_trusting = cache(ssl.create_default_context)
"""Read once; apart from that of HTTP, whose clients name HTTP in it."""


class SmtpMail:
    """The SMTP server of the settings, as a provider."""

    name = "mail"

    def __init__(self, settings: MailSettings, timeout: float) -> None:
        self._settings = settings
        self._timeout = timeout
        self._context = _trusting(cafile=settings.ca_file)
        self._domain = settings.sender.rpartition("@")[2]

    async def send(self, message: Outgoing) -> None:
        to = _written(message.to)
        client = self._client()
        try:
            async with asyncio.timeout(self._timeout * (1 - LEAVING)):
                await client.connect()
                await client.send_message(self._mail(message, to))
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _of_recipient(error.recipients[0].code) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _of_answer(error.code) from None
        except aiosmtplib.SMTPNotSupported:
            # Only an address beyond ASCII needs what a server may not have. Another's goes through; one of ours must be put right.
            if to.isascii():
                raise Passing("no SMTPUTF8") from None
            raise Refused("no SMTPUTF8", unreachable=True) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise Passing(type(error).__name__) from None
        finally:
            await self._leave(client)

    def _client(self) -> aiosmtplib.SMTP:
        settings = self._settings
        return aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            tls_context=None if settings.security == "none" else self._context,
            username=settings.username,
            password=settings.password.get_secret_value() if settings.password else None,
            timeout=self._timeout,
        )

    async def _leave(self, client: aiosmtplib.SMTP) -> None:
        """Take leave of the server. It may be silent or gone: what it said to the message is said."""
        try:
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=self._timeout * LEAVING)
        finally:
            client.close()

    def _mail(self, message: Outgoing, to: str) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = self._settings.sender
        mail["To"] = to
        mail["Subject"] = message.subject
        mail["Date"] = formatdate()
        mail["Message-ID"] = f"<{message.id}@{self._domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        return mail


def _written(address: str) -> str:
    """Give an address as any mail server takes it: its domain in ASCII, unless what stands before it is not either.

    Raises Refused for one that a header cannot name: what reads as an encoded word there is decoded, into another's address.
    """
    try:
        ascii_form = validate_email(address, check_deliverability=False).ascii_email
    except EmailNotValidError:
        raise Refused("address is not valid", unreachable=True) from None
    if _ENCODED.search(address):
        raise Refused("address reads as encoded", unreachable=True)
    return ascii_form or address


def _of_recipient(code: int) -> Passing | Refused:
    if code < PERMANENT:
        return (Passing if code == _CLOSING else PutOff)(f"recipient {code}")
    return Refused(f"recipient {code}", unreachable=code in NOBODY_THERE)


def _of_answer(code: int) -> Passing | Refused:
    """Judge any other answer. Being refused the log-in is our own trouble, and passes once it is put right."""
    if code < PERMANENT or code in _REFUSED_LOG_IN:
        return Passing(f"answer {code}")
    return Refused(f"answer {code}")
