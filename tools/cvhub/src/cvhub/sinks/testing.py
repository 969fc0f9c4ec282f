"""For tests: all sinks in this process, at ports of their own."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from cvhub.sinks.certificate import ensure_certificate
from cvhub.sinks.kept import Kept, Message
from cvhub.sinks.letters import LetterSink
from cvhub.sinks.mail import MailSink
from cvhub.sinks.web import SmsSink

PASSWORD = "password of the sinks"  # noqa: S105 - of tests only


@dataclass
class Sinks:
    """Mail, SMS and letter sinks, and what they were given; `folder` has the mail sink's certificate."""

    kept: Kept
    mail: MailSink
    sms: SmsSink
    letters: LetterSink
    sms_port: int
    folder: Path

    @property
    def print_url(self) -> str:
        return f"http://127.0.0.1:{self.sms_port}"

    @property
    def sms_url(self) -> str:
        return f"http://127.0.0.1:{self.sms_port}/messages"

    def arrived(self, to: str) -> Callable[[], Message]:
        """Make a look for the one message to an address."""

        def look() -> Message:
            [message] = self.kept.of(to=to)
            return message

        return look


def code_in(message: Message) -> str:
    """Give the verification code that a message tells."""
    [code] = set(re.findall(r"\b[0-9]{6}\b", message.text))
    return str(code)


@asynccontextmanager
async def running_sinks(folder: Path) -> AsyncIterator[Sinks]:
    """Run them during the block."""
    kept = Kept()
    mail = await MailSink(kept, PASSWORD, ensure_certificate(folder)).start("127.0.0.1", 0)
    sms = SmsSink(kept, PASSWORD)
    letters = LetterSink(folder / "letters", PASSWORD)
    async with _http_server(sms.app(letters)) as port:
        yield Sinks(kept, mail, sms, letters, port, folder)
    await mail.stop()


@asynccontextmanager
async def _http_server(app: ASGIApp) -> AsyncIterator[int]:
    config = uvicorn.Config(
        app,
        port=0,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    yield server.servers[0].sockets[0].getsockname()[1]
    await server.shutdown()
