"""The mail sink: an SMTP server that demands STARTTLS and log-in, as the real one does."""

import asyncio
import hmac
import ssl
from email import message_from_bytes
from email.policy import default
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from cvhub.sinks.kept import Kept, Message, Trouble

USERNAME = "cvhub"


class MailSink:
    """Takes mail for everyone and delivers none of it."""

    def __init__(self, kept: Kept, password: str, tls: ssl.SSLContext | None) -> None:
        self._kept = kept
        self._password = password
        self._tls = tls
        self._server: asyncio.Server | None = None
        self.port = 0
        self.trouble: Trouble | None = None
        self.takes_utf8 = True
        """Whether it takes addresses beyond ASCII (SMTPUTF8)."""
        self.drops_answers = False
        """Takes a message and cuts the connection before it says so. For tests."""
        self.answers_quit = True
        """Whether it says anything when it is taken leave of. For tests."""

    async def start(self, host: str, port: int) -> Self:
        self._server = await asyncio.get_running_loop().create_server(self._session, host, port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _session(self) -> SMTP:
        return SMTP(
            self,
            hostname="mail-sink",
            ident="cvhub mail sink",
            tls_context=self._tls,
            require_starttls=self._tls is not None,
            auth_required=self._tls is not None,
            auth_require_tls=self._tls is not None,
            authenticator=self._authenticate,
            enable_SMTPUTF8=self.takes_utf8,
        )

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        right = (
            mechanism in ("LOGIN", "PLAIN")
            and isinstance(data, LoginPassword)
            and data.login == USERNAME.encode()
            and hmac.compare_digest(data.password, self._password.encode())
        )
        return AuthResult(success=right, handled=right)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        code = None if self.trouble is None else await self.trouble(address)
        if code is not None:
            return f"{code} not now" if code < 500 else f"{code} not at all"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        content = envelope.content
        mail = message_from_bytes(content if isinstance(content, bytes) else b"", policy=default)
        body = mail.get_body(("plain",))
        text = "" if body is None else body.get_content()
        for to in envelope.rcpt_tos:
            self._kept.add(Message("mail", mail["Message-ID"] or "", to, mail["Subject"] or "", text))
        if self.drops_answers and isinstance(server.transport, asyncio.WriteTransport):
            server.transport.abort()
        return "250 kept"

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802 - as above
        if not self.answers_quit:
            await asyncio.Event().wait()
        return "221 Bye"
