"""Documents about citizens, as the owners of their data ask pdf-renderer for them; and the address that a reader may not see."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

import structlog

from cv_contracts.faults import Fault, Unexpected
from servicekit.follow.state_client import Post
from servicekit.web.client import LIMITS, ServiceClient, ServiceError, ServiceRefused
from servicekit.web.identity import ServiceSigner

__all__ = ["HIDDEN_ADDRESS", "Document", "Documents", "hidden_address", "way_to_renderer"]

log = structlog.get_logger(__name__)

ROUTE: Final = "/internal/documents"
RETRY_SECONDS: Final = 2
LONGEST_WAIT: Final = 5.0
"""Seconds for a place among those who are asked for at once: where all of them hang, nobody else waits for the whole deadline."""
HIDDEN_ADDRESS: Final = "Adressebeskyttet"
_BUSY: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Document:
    """A PDF in base 64, and the hash of all that it was rendered from; a letter has none."""

    base64: str = field(repr=False)
    hash: str = ""


class Documents:
    """Pdf-renderer, as an owner that has authorised the reader asks it."""

    def __init__(self, post: Post) -> None:
        self._post = post

    async def get(self, body: Mapping[str, Any], unreachable: int) -> Document:
        """Give the document for a body of its route; raises the fault `unreachable` with Retry-After when there is none now.

        A document that it will never render is a mistake of ours (Unexpected).
        """
        try:
            answer = await self._post(ROUTE, dict(body))
            return Document(str(answer["pdf"]), str(answer.get("hash", "")))
        except ServiceRefused as refusal:
            log.warning("document_not_rendered", status=refusal.status)
            if refusal.status not in _BUSY:
                raise Unexpected from None
        except (ServiceError, KeyError, TypeError, AttributeError) as error:
            log.warning("document_not_rendered", error_type=type(error).__name__)
        raise Fault(unreachable, retry_after=RETRY_SECONDS)


def way_to_renderer(url: str, signer: ServiceSigner, deadline: timedelta) -> ServiceClient:
    """Give the way to pdf-renderer; `deadline` is for one document. Close it in the end."""
    limits = replace(LIMITS, longest_wait=LONGEST_WAIT)
    return ServiceClient(url, "pdf-renderer", signer, deadline=deadline, limits=limits)


def hidden_address(country: str) -> dict[str, str]:
    """Give the PostalAddress that is shown of a protected citizen to whoever may not see the address."""
    return {"CountryCode": country, "AddressLine": HIDDEN_ADDRESS, "PostalCode": "", "PostalArea": ""}
