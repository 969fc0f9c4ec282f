"""Whose address it is that a mail server cannot write."""

from uuid import uuid4

import pytest

from contact_verification.mail import SmtpMail
from contact_verification.messages import Outgoing, Passing, Refused
from contact_verification.settings import MailSettings
from cvhub.sinks.kept import Kept
from cvhub.sinks.mail import MailSink


@pytest.mark.parametrize(
    ("sender", "to", "raised"),
    [
        ("no-reply@example.dk", "jørgen@example.dk", Refused),
        ("jobnet@rødby.example.dk", "jens@example.dk", Passing),
        ("no-reply@example.dk", "jens@example.dk", None),
    ],
)
async def test_a_citizens_is_undeliverable_and_a_sender_of_ours_is_to_be_put_right(
    sender: str, to: str, raised: type[Exception] | None
) -> None:
    sink = await MailSink(Kept(), "", None).start("127.0.0.1", 0)
    sink.takes_utf8 = False
    mail = SmtpMail(MailSettings(port=sink.port, security="none", sender=sender), 5)
    try:
        if raised is None:
            await mail.send(Outgoing(uuid4(), to, "Kode", "1234"))
        else:
            with pytest.raises(raised):
                await mail.send(Outgoing(uuid4(), to, "Kode", "1234"))
    finally:
        await sink.stop()
