"""What the feed is told that would stop it, or make it forget what the log still has, ends its start."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from change_feed.settings import LOG_REACHES_BACK, Settings
from cv_contracts.topics import TOPICS
from servicekit.settings import IdentitySettings, KafkaSettings, PostgresSettings


def told(**more: Any) -> Settings:
    return Settings(
        postgres=PostgresSettings(dsn="postgresql://nowhere"),
        kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"),
        identity=IdentitySettings(key_file=Path("key"), trusted_file=Path("trusted")),
        request_secret=SecretStr("a secret of sixteen bytes"),
        **more,
    )


def test_the_feed_forgets_no_event_that_may_still_be_in_the_log() -> None:
    assert all(topic.retention < LOG_REACHES_BACK for topic in TOPICS)
    assert told(retention=LOG_REACHES_BACK).retention == LOG_REACHES_BACK
    with pytest.raises(ValidationError, match="retention") as refused:
        told(retention=LOG_REACHES_BACK - timedelta(seconds=1))
    assert "the log may have records of 37 days" in str(refused.value)


def test_a_partition_covers_some_time() -> None:
    with pytest.raises(ValidationError, match="partition_width"):
        told(partition_width=timedelta(0))
