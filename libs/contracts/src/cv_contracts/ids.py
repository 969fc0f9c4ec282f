"""The random ids that name a citizen and a CV on the bus; neither person number nor CV number can be had from them."""

from typing import NewType
from uuid import UUID

PersonId = NewType("PersonId", UUID)
CvId = NewType("CvId", UUID)
