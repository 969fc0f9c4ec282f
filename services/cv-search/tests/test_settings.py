"""What the search is told that it cannot do ends its start."""

import pytest
from pydantic import ValidationError

from cv_search.opensearch_engine.mapping import settings
from cv_search.settings import PinSettings


def test_no_more_persons_are_named_than_every_engine_can_give() -> None:
    most = settings()["settings"]["max_result_window"]
    assert PinSettings(persons=most).persons == most
    with pytest.raises(ValidationError, match=f"less than or equal to {most}"):
        PinSettings(persons=most + 1)
