"""Addresses as a mail server is given them, and whose it is that one cannot write."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from contact_verification.mail import SmtpMail
from contact_verification.messages import Outgoing, Passing, Refused
from contact_verification.settings import MailSettings
from cvhub.sinks.kept import Kept
from cvhub.sinks.mail import MailSink


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
async def sink(kept: Kept) -> AsyncIterator[MailSink]:
    """Give a mail server that takes addresses in ASCII only."""
    sink = await MailSink(kept, "", None).start("127.0.0.1", 0)
    sink.takes_utf8 = False
    yield sink
    await sink.stop()


def mail_to(sink: MailSink, sender: str = "no-reply@example.dk") -> SmtpMail:
    return SmtpMail(MailSettings(port=sink.port, security="none", sender=sender), 5)


@pytest.mark.parametrize(
    ("sender", "to", "raised"),
    [
        ("no-reply@example.dk", "jørgen@example.dk", Refused),
        ("jobnet@rødby.example.dk", "jens@example.dk", Passing),
        ("no-reply@example.dk", "jens@example.dk", None),
    ],
)
async def test_a_citizens_is_undeliverable_and_a_sender_of_ours_is_to_be_put_right(
    sink: MailSink, sender: str, to: str, raised: type[Exception] | None
) -> None:
    mail = mail_to(sink, sender)
    if raised is None:
        await mail.send(Outgoing(uuid4(), to, "Kode", "1234"))
    else:
        with pytest.raises(raised):
            await mail.send(Outgoing(uuid4(), to, "Kode", "1234"))


async def test_a_domain_beyond_ascii_is_reached_through_any_mail_server(sink: MailSink, kept: Kept) -> None:
    await mail_to(sink).send(Outgoing(uuid4(), "jens@rødby.example.dk", "Kode", "1234"))
    assert [message.to for message in kept.of()] == ["jens@xn--rdby-gra.example.dk"]


@pytest.mark.parametrize(
    "local", ["=?utf-8?q?jens?=", "=?utf-8?b?amVucw==?=", "a=?utf-8?q?=0D=0A?=", "=?x?q??=", "a..b"]
)
async def test_nobody_gets_what_is_for_an_address_that_no_header_can_name(
    sink: MailSink, kept: Kept, local: str
) -> None:
    sink.takes_utf8 = True
    with pytest.raises(Refused) as refused:
        await mail_to(sink).send(Outgoing(uuid4(), f"{local}@example.dk", "Kode", "1234"))
    assert refused.value.unreachable
    assert kept.of() == []
