"""Tells a broker who may do what. Needs the right to alter the cluster, which no service has."""

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest

from cv_contracts.kafka_rights import Acl
from servicekit.kafka import connection
from servicekit.settings import KafkaSettings

_RESOURCES = {"topic": 2, "group": 3, "cluster": 4}
_PATTERNS = {"literal": 3, "prefix": 4}
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Alter": 7, "Describe": 8, "DescribeConfigs": 10}
_ALLOW = 3


async def ensure_acls(settings: KafkaSettings, acls: Iterable[Acl]) -> int:
    """Allow all this, and give how many entries it is. Safe to repeat; what was allowed before and is not listed stays."""
    admin = AIOKafkaAdminClient(**connection(settings))
    count = 0
    try:
        await admin.start()
        for acl in acls:
            for operation in acl.operations:
                await _allow(admin, acl, _OPERATIONS[operation])
                count += 1
    finally:
        await admin.close()
    return count


async def _allow(admin: AIOKafkaAdminClient, acl: Acl, operation: int) -> None:
    request = CreateAclsRequest(
        _RESOURCES[acl.resource],
        acl.name,
        _PATTERNS[acl.pattern],
        f"User:{acl.principal}",
        "*",
        operation,
        _ALLOW,
    )
    # The client has requests for this and no method.
    answer = await admin._send_request(request)  # noqa: SLF001
    for code, message in answer.creation_responses:
        if code != 0:
            raise for_code(code)(f"{acl.resource} {acl.name}: {message or ''}")
