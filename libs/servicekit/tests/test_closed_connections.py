"""A connection that the event loop closed is a lost one to aiokafka, as any other is."""

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from servicekit import kafka


class Closed:
    """The writer of a transport that uvloop has closed."""

    def write(self, _: bytes) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def close(self) -> None:
        return


async def test_writing_to_a_closed_transport_is_a_lost_connection() -> None:
    assert kafka.passing(KafkaConnectionError())
    connection = AIOKafkaConnection("127.0.0.1", 1)
    connection._writer = Closed()
    connection._versions = {3: (0, 1)}
    with pytest.raises(KafkaConnectionError):
        connection.send(MetadataRequest([]))
    assert not connection.connected()
