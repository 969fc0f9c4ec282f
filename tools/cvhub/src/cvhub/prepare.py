"""The one-shot jobs of a deployment: `python -m cvhub.prepare keys FOLDER`, `... topics` and `... acls`.

The last two are told of Kafka by the environment, as every service is: KAFKA__BOOTSTRAP_SERVERS, KAFKA__SECURITY_PROTOCOL, ...
"""

import asyncio
import sys
from pathlib import Path

from aiokafka.errors import KafkaError
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cv_contracts.kafka_rights import acls, principals
from cv_contracts.topics import SERVICES, TOPICS
from cvhub.doctor.patient import names_of
from cvhub.keys import ensure_keys
from cvhub.servers.process import CannotStart
from cvhub.services import IDENTITIES
from servicekit.kafka_admin import ensure_acls, ensure_topics
from servicekit.settings import KafkaSettings


class Settings(BaseSettings):
    """Where the topics are made, and on how many brokers each record is kept."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", hide_input_in_errors=True)

    kafka: KafkaSettings
    replication_factor: int = 1


def main() -> None:
    match sys.argv[1:]:
        case "keys", folder:
            try:
                ensure_keys(Path(folder), [*SERVICES, *IDENTITIES])
            except CannotStart as error:
                sys.exit(str(error))
            except OSError as error:
                sys.exit(f"{error.filename} cannot be used: {error.strerror}")
        case [("topics" | "acls") as what]:
            try:
                asyncio.run(_prepare(what, Settings()))
            except ValidationError as error:
                sys.exit(
                    f"docs/settings.md lists how Kafka is reached; missing or invalid: {names_of(error)}."
                )
            except KafkaError as error:
                sys.exit(f"Kafka did not do it: {error}")
        case _:
            sys.exit("usage: python -m cvhub.prepare keys FOLDER | topics | acls")


async def _prepare(what: str, settings: Settings) -> None:
    kafka = settings.kafka
    if what == "topics":
        await ensure_topics(kafka, TOPICS, settings.replication_factor)
    else:
        await ensure_acls(kafka, [acl for name in principals() for acl in acls(name, kafka.topic_prefix)])


if __name__ == "__main__":
    main()
