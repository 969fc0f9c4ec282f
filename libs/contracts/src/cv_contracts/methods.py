"""The nineteen methods as one table: where each is reached, who owns it, what a caller needs and what may be answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

ALWAYS_ALLOWED = frozenset({1011, 1012, 1013, 1014, 4575, 8173, 8174, 8232, 8233, 8234, 8235, 8292})
"""Faults that every method may answer, whether its seed lists them or not."""

Verb = Literal["GET", "POST", "PUT"]
Scope = Literal[
    "cv.read",
    "cv.account",
    "cv.status",
    "cv.search",
    "cv.changes",
    "cv.write",
    "contact.write",
    "contact.verify",
    "contact.lookup",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of the public interface.

    `citizen` says where the caller names the citizen (never in the URL); `listed` are the faults of its seed;
    `assistant` is the service that the owner asks to render; `write` methods have effects and are not simply retried.
    """

    number: int
    name: str
    verb: Verb
    path: str
    owner: str
    scope: Scope
    citizen: Literal["header", "body", "none"]
    listed: frozenset[int]
    write: bool = False
    assistant: str | None = None
    note: str = ""

    @property
    def faults(self) -> frozenset[int]:
        """Every numbered fault that this method may answer."""
        return self.listed | ALWAYS_ALLOWED

    @property
    def unreachable_fault(self) -> Literal[4430, 8236, 1011]:
        """Give the fault for an owner that does not answer: the seed's own where it lists one."""
        if 4430 in self.listed:
            return 4430
        return 8236 if 8236 in self.listed else 1011


_VIEW = frozenset({4385, 4511, 8291, 8292})
_STATES = frozenset({4753, 4754, 4755})
_CONTACT = frozenset({9153, 9154, 9155, 9156, 9157, 9158})
_ASYLUM = frozenset({1010, 1014, 6005, 9196, 9197, 9198})
_VERIFY = frozenset({1001, 1013, 1014, 4400, 9153, 9159, 9240, 9242})

METHODS: tuple[Method, ...] = (
    Method(
        number=1,
        name="GetCV",
        verb="GET",
        path="/v6/Cv",
        owner="cv-registry",
        scope="cv.read",
        citizen="header",
        listed=_VIEW | _STATES | {1010, 1014, 4103, 4430},
    ),
    Method(
        number=2,
        name="GetCVAsPdf",
        verb="GET",
        path="/v6/Cv/pdf",
        owner="cv-registry",
        scope="cv.read",
        citizen="header",
        listed=_VIEW | _STATES | {1014, 4103, 4430},
        assistant="pdf-renderer",
        note="An unknown citizen is 4103. The document leaves out the job targets.",
    ),
    Method(
        number=3,
        name="CreateJobnetAccountLetter",
        verb="POST",
        path="/v6/JobnetAccount/letter",
        owner="cv-registry",
        scope="cv.account",
        citizen="header",
        listed=_VIEW | {1014, 4103, 4400, 4430, 4431},
        write=True,
        assistant="pdf-renderer",
        note="An unknown citizen is 4103; 4400 where the CV number has no account. On 4431 the old login still works.",
    ),
    Method(
        number=4,
        name="SetCvStatus",
        verb="POST",
        path="/v6/Cv/cvstatus",
        owner="cv-status",
        scope="cv.status",
        citizen="body",
        listed=_VIEW | {1014, 4103, 4368, 4369, 4370, 8236, 9008, 9009},
        write=True,
        note="An unknown citizen, and no CV in state ACTIVE to freeze, are 4103. 4368-4370 do not bind Jobnet.",
    ),
    Method(
        number=5,
        name="SearchCVText",
        verb="POST",
        path="/v6/Cv/search",
        owner="cv-search",
        scope="cv.search",
        citizen="none",
        listed=frozenset({1001, 1002}),
        note="1002: the owner's answer could not be read.",
    ),
    Method(
        number=6,
        name="GetCvStatus",
        verb="GET",
        path="/v6/Cv/cvstatus",
        owner="cv-status",
        scope="cv.read",
        citizen="header",
        listed=_VIEW | {1014, 4102},
        note="x-cvcustomeridentifier is optional; it must belong to the citizen, else 4102. An unknown citizen is 4102.",
    ),
    Method(
        number=7,
        name="GetCVOnStatus",
        verb="GET",
        path="/v6/Cv/versions/onstatus",
        owner="cv-status",
        scope="cv.read",
        citizen="header",
        listed=_VIEW | {1010, 1014, 4103, 9110, 9111, 9112, 9113},
        assistant="pdf-renderer",
        note="With a status only it returns the newest version that has it.",
    ),
    Method(
        number=8,
        name="GetAvailableCVStatusVersions",
        verb="GET",
        path="/v6/Cv/versions",
        owner="cv-status",
        scope="cv.read",
        citizen="header",
        listed=_VIEW | {1010, 1014},
        note="With nothing to list the collection is absent.",
    ),
    Method(
        number=9,
        name="GetCVUpdateList",
        verb="GET",
        path="/v6/Cv/changes",
        owner="change-feed",
        scope="cv.changes",
        citizen="none",
        listed=frozenset({1014}),
        note="The period is compared with the time a change arrived in the feed. Only CVChanged counts.",
    ),
    Method(
        number=10,
        name="GetCVByCVNumber",
        verb="POST",
        path="/v6/Cv/bynumber",
        owner="cv-registry",
        scope="cv.read",
        citizen="body",
        listed=frozenset({1014, 4103, 4400, 9192}),
        note="9192 comes before 4400, else callers without consent learn which numbers exist. A quota per client.",
    ),
    Method(
        number=11,
        name="CreateAsylumCVTransition",
        verb="POST",
        path="/v6/AsylumTransition",
        owner="cv-registry",
        scope="cv.write",
        citizen="header",
        listed=_ASYLUM,
        write=True,
        note="A second Create is 1014.",
    ),
    Method(
        number=12,
        name="UpdateAsylumCVTransition",
        verb="PUT",
        path="/v6/AsylumTransition",
        owner="cv-registry",
        scope="cv.write",
        citizen="header",
        listed=_ASYLUM | {9200, 9201, 9202},
        write=True,
        note="A blank comment is 9202.",
    ),
    Method(
        number=13,
        name="ReplaceCV",
        verb="PUT",
        path="/v6/Cv",
        owner="cv-registry",
        scope="cv.write",
        citizen="header",
        listed=_STATES | _CONTACT | {4103, 4405, 4823, 6005, 9230, 9231, 9232, 9233, 9234},
        write=True,
        note="An unknown citizen is 4103. Creates a CV that never existed; does not change the status.",
    ),
    Method(
        number=14,
        name="SavePersonContactData",
        verb="POST",
        path="/v1/kontaktinformation",
        owner="contact-verification",
        scope="contact.write",
        citizen="header",
        listed=_CONTACT | {1001, 1010, 1012, 1013, 1014, 4405, 4575},
        write=True,
        note="Takes a CV number in the citizen's header too. 9154 holds as for ReplaceCV, beyond the seed's list.",
    ),
    Method(
        number=15,
        name="VerifyPersonContactData",
        verb="POST",
        path="/v1/kontaktinformation/verificering",
        owner="contact-verification",
        scope="contact.verify",
        citizen="body",
        listed=_VERIFY | {9241},
        write=True,
        note="Jobnet only, else 1013. Already verified is 9242.",
    ),
    Method(
        number=16,
        name="RequestNewVerificationCode",
        verb="POST",
        path="/v1/kontaktinformation/verificering/ny",
        owner="contact-verification",
        scope="contact.verify",
        citizen="body",
        listed=_VERIFY | {9247},
        write=True,
        note="Jobnet only, else 1013. Too early or too many is 429.",
    ),
    Method(
        number=17,
        name="GetPersonByMobilePhoneNumber",
        verb="POST",
        path="/v1/kontaktinformation/mobiltelefon",
        owner="contact-verification",
        scope="contact.lookup",
        citizen="none",
        listed=frozenset(),
        note="The number is in the body, with its prefix (else 1014). Unknown is 200 and empty.",
    ),
    Method(
        number=18,
        name="GetPersonByEmailAddress",
        verb="POST",
        path="/v1/kontaktinformation/emailadresse",
        owner="contact-verification",
        scope="contact.lookup",
        citizen="none",
        listed=frozenset(),
        note="The address is in the body. Unknown is 200 and empty.",
    ),
    Method(
        number=19,
        name="SavePersonContactStatus",
        verb="POST",
        path="/v1/kontaktinformation/status",
        owner="contact-verification",
        scope="contact.write",
        citizen="header",
        listed=frozenset({1001, 1010, 1012, 1013, 1014, 4575, 4985, 4986, 9153, 9193}),
        write=True,
        note="4985 (a-kasse) and 4986 (jobcenter) come before the token's organisations.",
    ),
)

METHOD_BY_NUMBER: Mapping[int, Method] = MappingProxyType({method.number: method for method in METHODS})
