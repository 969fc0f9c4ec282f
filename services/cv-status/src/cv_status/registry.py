"""The CV that is to be frozen, asked of the registry."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, StrictInt

from cv_contracts.ids import CvId
from cv_contracts.wire.cv_profile import CVProfileType
from cv_status.store import Content
from servicekit.caller import Caller
from servicekit.web.client import ServiceClient


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    version: StrictInt
    state: str
    content: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CvOfRegistry:
    """A CV as the registry has it now. Content is there whatever the state; None once the CV is deleted."""

    version: int
    state: str
    content: Content | None


class RegistryCvs:
    """Reads CVs from their owner. Any exception means that it gave no answer that can be used."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def cv(self, cv_id: CvId, caller: Caller) -> CvOfRegistry | None:
        """Give the CV, None if there never was one. The registry notes for whom it was asked."""
        asked = {"cvId": str(cv_id)}
        raw = await self._client.post_json("/internal/cvs/content", asked, caller=caller)
        if raw == {"unknown": True}:
            return None
        answer = _Answer.model_validate(raw)
        content = None if answer.content is None else _content(answer.version, answer.content)
        return CvOfRegistry(answer.version, answer.state, content)


def _content(version: int, profile: dict[str, Any]) -> Content:
    """Take the profile as it was sent; what is no CVProfile is not frozen, for nobody could ever show it."""
    json = orjson.dumps(profile)
    CVProfileType.from_json(json)
    return Content(version, sha256(json).digest(), json)
