"""Whatever names envelopes invent, none of them stays: the memory that reading takes is the same after each of them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from cv_contracts.methods import METHODS
from cv_gateway.soap.door import READ_ASIDE
from cv_gateway.soap.envelope import EnvelopeReader
from cv_gateway.soap.faults import ENVELOPE, EnvelopeFault
from cv_gateway.soap.mapping import CITIZEN
from cv_gateway.soap.names import KEPT_BYTES
from cv_gateway.soap.testing import PERSON, call_envelope, caller_blocks

SMALL, BIG = READ_ASIDE - 1_000, 1_500_000
WARM_UP, INVENTED = 3 * KEPT_BYTES, 12 * KEPT_BYTES
"""Bytes of envelopes."""
MOST_BYTES = 25_000_000
"""A fifth of what so many names would take if they stayed."""
GOOD = call_envelope(METHODS[0], {CITIZEN: PERSON}, caller_blocks())


def _inventing(size: int, begin: int, end: int) -> Iterator[bytes]:
    """Give envelopes of about this size, so many bytes of them in all; no name of an element comes twice."""
    for place in range(begin, end, size):
        names = b"".join(b"<n%x/>" % number for number in range(place // 11, (place + size) // 11))
        yield b'<s:Envelope xmlns:s="%b"><s:Body>%b</s:Body></s:Envelope>' % (ENVELOPE.encode(), names)


def _refuse(reader: EnvelopeReader, envelopes: Iterator[bytes]) -> None:
    for envelope in envelopes:
        with pytest.raises(EnvelopeFault):
            reader.read(envelope)


def _memory() -> int:
    rss: int = psutil.Process().memory_info().rss
    return rss


@pytest.mark.slow
@pytest.mark.parametrize("size", [SMALL, BIG])
def test_names_that_envelopes_invent_are_forgotten(size: int) -> None:
    reader = EnvelopeReader()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_refuse, reader, _inventing(size, 0, WARM_UP)).result()
        before = _memory()
        thread.submit(_refuse, reader, _inventing(size, WARM_UP, WARM_UP + INVENTED)).result()
        assert _memory() - before < MOST_BYTES


@pytest.mark.slow
def test_names_are_forgotten_on_the_main_thread_too() -> None:
    reader = EnvelopeReader()
    _refuse(reader, _inventing(SMALL, 0, WARM_UP))
    before = _memory()
    _refuse(reader, _inventing(SMALL, WARM_UP, WARM_UP + INVENTED))
    assert _memory() - before < MOST_BYTES


@pytest.mark.slow
def test_two_readers_of_one_thread_read_on_whatever_is_forgotten() -> None:
    inventor, reader = EnvelopeReader(), EnvelopeReader()
    kept = []
    for envelope in _inventing(BIG, 0, 4 * KEPT_BYTES):
        _refuse(inventor, iter([envelope]))
        kept.append(reader.read(GOOD))
    assert {request.method.name for request in kept} == {"GetCV"}
    assert all(request == kept[0] for request in kept)
