"""A connection that the event loop closed is a lost one to aiokafka, as any other is."""

import asyncio
import struct

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from servicekit import kafka
from servicekit.settings import KafkaSettings


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


async def test_who_is_cancelled_while_it_asks_a_first_broker_for_the_others_leaves_no_connection_behind() -> (
    None
):
    asked = asyncio.Queue[bytes]()

    async def answer_the_versions_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(struct.unpack(">i", await reader.readexactly(4))[0])
        first, no_error, metadata = 1, 0, (3, 0, 5)
        answer = struct.pack(">ihihhh", first, no_error, 1, *metadata)
        writer.write(struct.pack(">i", len(answer)) + answer)
        asked.put_nowait(await reader.readexactly(4))
        asked.put_nowait(await reader.read())
        writer.close()

    server = await asyncio.start_server(answer_the_versions_only, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    consumer: AIOKafkaConsumer = kafka.consumer(
        KafkaSettings(bootstrap_servers=f"{host}:{port}"), group_id=None
    )
    starting = asyncio.create_task(consumer.start())
    await asked.get()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await consumer.stop()
    assert await asyncio.wait_for(asked.get(), 10), "all that was asked until it hung up"
    server.close()
    await server.wait_closed()
