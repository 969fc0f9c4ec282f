"""What the gateway is told about single methods."""

import json
from datetime import timedelta

import pytest
from pydantic import ValidationError

from cv_gateway.settings import DEADLINES, LimitSettings


def limits(**given: dict[str, str]) -> LimitSettings:
    return LimitSettings.model_validate_json(json.dumps(given))


def test_a_deadline_of_one_method_leaves_the_others_theirs() -> None:
    told = limits(deadlines={"GetCVAsPdf": "PT40S", "GetCV": "PT2S"}, swift={"ReplaceCV": "PT0.3S"})
    assert told.deadlines == {
        **DEADLINES,
        "GetCVAsPdf": timedelta(seconds=40),
        "GetCV": timedelta(seconds=2),
    }
    assert told.swift == {"SearchCVText": timedelta(seconds=1), "ReplaceCV": timedelta(milliseconds=300)}


@pytest.mark.parametrize("part", ["deadlines", "swift"])
def test_a_name_that_is_no_methods_is_refused(part: str) -> None:
    with pytest.raises(ValidationError, match="names what is no method"):
        limits(**{part: {"GetCvAsPdf": "PT40S"}})
