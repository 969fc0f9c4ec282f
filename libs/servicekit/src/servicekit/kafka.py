"""The only place that makes Kafka clients: how to connect, and how to produce and consume safely."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from servicekit import aiokafka_patches
from servicekit.settings import BadSetting, KafkaSettings

aiokafka_patches.apply()

MAX_BATCH_BYTES = 256 * 1024


def ssl_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    """Give the context of TLS connections: host names checked, TLS 1.2 at least. None where TLS is not used."""
    if settings.security_protocol not in ("SSL", "SASL_SSL"):
        return None
    context = ssl.create_default_context(cafile=settings.ssl_cafile)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ssl_certfile is not None:
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    return context


def sasl_password(settings: KafkaSettings) -> str:
    """Give the password from its file or its value."""
    if settings.sasl_password_file is not None:
        return settings.sasl_password_file.read_text(encoding="utf-8").strip()
    if settings.sasl_password is None:
        raise BadSetting("KAFKA__SASL_PASSWORD or KAFKA__SASL_PASSWORD_FILE is needed for SASL")
    return settings.sasl_password.get_secret_value()


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Give what every aiokafka client takes to connect, TLS and SASL included."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": round(settings.request_timeout.total_seconds() * 1000),
        "ssl_context": ssl_context(settings),
    }
    if settings.security_protocol.startswith("SASL_"):
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": sasl_password(settings),
        }
    return options


def producer(settings: KafkaSettings, client_id: str, **options: Any) -> AIOKafkaProducer:
    """Make a producer that is not started: idempotent, acks from all in-sync replicas, retries keep the order."""
    return AIOKafkaProducer(
        **connection(settings),
        client_id=client_id,
        **{"acks": "all", "enable_idempotence": True, "max_batch_size": MAX_BATCH_BYTES, **options},
    )


async def abort(sender: AIOKafkaProducer) -> None:
    """Stop a producer at once. What it still holds is not sent, and those who wait for it wait in vain."""
    # Its own stop() sends what is left first, and would try until the broker is back.
    task = sender._sender.sender_task  # noqa: SLF001
    if task is not None:
        task.cancel()
    await sender.client.close()
    if task is not None:
        await asyncio.wait({task}, timeout=5)
        await sender.client.close()
    sender._closed = True  # noqa: SLF001


def heed_cancellation() -> None:
    """Raise a cancellation that aiokafka's stop() has swallowed: it takes one that comes meanwhile for that of its own tasks."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@contextmanager
def no_stray_cancellation() -> Iterator[None]:
    """Turn a CancelledError that is not ours into ConnectionAbortedError.

    aiokafka leaks the cancellation of an internal future when its connection is lost.
    """
    try:
        yield
    except asyncio.CancelledError:
        heed_cancellation()
        raise ConnectionAbortedError from None


def consumer(settings: KafkaSettings, *topics: str, group_id: str | None, **options: Any) -> AIOKafkaConsumer:
    """Make a consumer that is not started: from the earliest record, offsets committed by its user only.

    Topics are named as in the contracts; the prefix of the settings is put before them.
    """
    return AIOKafkaConsumer(
        *(settings.topic_prefix + topic for topic in topics),
        **connection(settings),
        group_id=group_id,
        **{"enable_auto_commit": False, "auto_offset_reset": "earliest", **options},
    )


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """Give the partition of a key as every Kafka client chooses it by default (Java's murmur2)."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


def passing(error: BaseException) -> bool:
    """Tell whether trouble with Kafka passes by itself."""
    return isinstance(error, KafkaError | OSError | TimeoutError)
