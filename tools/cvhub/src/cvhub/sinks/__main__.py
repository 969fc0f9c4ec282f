"""`python -m cvhub.sinks FOLDER MAIL_PORT WEB_PORT [--host HOST]`; SINK_PASSWORD is what the sinks ask of a sender."""

import asyncio
import os
import sys
from argparse import ArgumentParser
from pathlib import Path

import uvicorn

from cvhub.sinks.certificate import ensure_certificate
from cvhub.sinks.kept import Kept
from cvhub.sinks.letters import LetterSink
from cvhub.sinks.mail import MailSink
from cvhub.sinks.web import SmsSink

PASSWORD = "SINK_PASSWORD"  # noqa: S105 - the variable's name


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("mail_port", type=int)
    parser.add_argument("web_port", type=int)
    parser.add_argument("--host", default="127.0.0.1")
    told = parser.parse_args()
    password = os.environ.get(PASSWORD) or sys.exit(f"{PASSWORD} is not set")
    asyncio.run(serve(told.folder, told.host, told.mail_port, told.web_port, password))


async def serve(folder: Path, host: str, mail_port: int, web_port: int, password: str) -> None:
    """Run the sinks of mail, SMS and letters until told to stop."""
    kept = Kept()
    mail = await MailSink(kept, password, ensure_certificate(folder)).start(host, mail_port)
    config = uvicorn.Config(
        SmsSink(kept, password).app(LetterSink(folder / "letters", password)),
        host=host,
        port=web_port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    try:
        await uvicorn.Server(config).serve()
    finally:
        await mail.stop()


if __name__ == "__main__":
    main()
