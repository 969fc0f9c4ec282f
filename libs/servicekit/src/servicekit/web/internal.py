"""What the internal routes of all services have in common: bodies that say exactly what is asked, and answers as JSON."""

from collections.abc import Mapping
from typing import Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from starlette.responses import Response

from cv_contracts.wire.errors import faults_of

__all__ = ["InternalBody", "json_response"]


class InternalBody(BaseModel):
    """The body of an internal route, or a part of it: names in camel case, none that is unknown, and its content in no error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, alias_generator=to_camel
    )

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read the body of a hot route, which FastAPI does not read; raises fault 1014."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise faults_of(error) from None


def json_response(body: Mapping[str, Any], status: int = 200) -> Response:
    """Answer with JSON; what JSON has no type for is told as text."""
    return Response(orjson.dumps(body, default=str), status, media_type="application/json")
