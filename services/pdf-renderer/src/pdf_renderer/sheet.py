"""From the content of a CV to what a template sets: sections, entries, dates in words. A section without content vanishes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from pdf_renderer.glyphs import Glyphs
from pdf_renderer.rich_text import paragraph, rich_text
from pdf_renderer.wording import Words, day, experience, joined, moment, period

__all__ = ["Sheet", "cv_sheet"]

Sheet = dict[str, Any]
_Element = Mapping[str, Any]

# What an employer must not see ("mv. som ikke skal vises for fx arbejdsgiver"), beside the job targets.
_NOT_FOR_EMPLOYERS: Final = frozenset(
    {"StandardJobConditions", "EarlyRetirementConditions", "DisabilityPensionerConditions"}
)
_SEPARATOR: Final = " · "
_SAFE: Final = "/:?#[]@!$&'()*+,;=~%-._"
_ONGOING: Final = ("9999", "--12")
_UNTITLED: Final = "Titel ikke oplyst"


def cv_sheet(shown: _Element, words: Words, glyphs: Glyphs) -> Sheet:
    """Give the sheet of a CV, current or frozen; `shown` is what the document depends on."""
    return _CvSheet(shown, words, glyphs).made()


class _CvSheet:
    """One CV on its way to the template."""

    def __init__(self, shown: _Element, words: Words, glyphs: Glyphs) -> None:
        self._shown = shown
        self._frozen = shown["kind"] == "frozen"
        self._personal: _Element = shown["profile"]["PersonalData"]
        self._cv: _Element = shown["profile"]["CV"]
        self._words = words
        self._glyphs = glyphs
        self._clean = glyphs.clean
        self._time = datetime.fromisoformat(shown["time"])

    def made(self) -> Sheet:
        names = (self._personal.get(name, "") for name in ("GivenName", "MiddleName", "FamilyName"))
        name = joined([self._clean(part) for part in names]) or self._words["anonymous"]
        status = self._status()
        footer = f"{self._words['updated']} {day(self._time, self._words)}"
        return {
            "title": f"{self._words['cv_of']} {name}",
            "author": name,
            "name": name,
            "contact": self._contact(),
            "status": status,
            "footer": joined(
                [name, f"{status['name']} {status['detail']}" if status else footer], _SEPARATOR
            ),
            "sections": [section for section in self._sections() if section],
        }

    def _status(self) -> dict[str, str] | None:
        if not self._frozen:
            return None
        municipality = self._clean(self._shown["municipality"]["name"])
        detail = joined([moment(self._time, self._words), municipality], _SEPARATOR)
        return {"name": self._clean(self._shown["status"]["name"]), "detail": detail}

    def _contact(self) -> list[dict[str, str]]:
        address, contact = self._personal["PostalAddress"], self._personal["ContactInformation"]
        place = f"{address['PostalCode']} {address['PostalArea']}"
        written = [address.get("COAddress", ""), address["AddressLine"], place]
        lines = [
            {"what": "address", "text": joined([self._clean(line) for line in written], ", "), "url": ""}
        ]
        numbers = map(self._clean, contact.get("PhoneNumber", ()))
        lines += [{"what": "phone", "text": number, "url": ""} for number in numbers]
        email = self._clean(contact.get("E-mail", ""))
        lines.append({"what": "email", "text": email, "url": _mail_url(email)})
        return [line for line in lines if line["text"]]

    def _sections(self) -> list[Sheet | None]:
        cv = self._cv
        return [
            self._section("targets", entries=self._targets()),
            self._section("profile", blocks=self._profile()),
            self._section("experience", entries=self._jobs()),
            self._section("education", entries=self._educations()),
            self._section("other", entries=self._others()),
            self._section("competences", names=self._names(cv["QualificationCollection"])),
            self._section("languages", table=self._languages()),
            self._section("licences", names=self._names(cv["DriverLicenseCollection"])),
            self._section("conditions", table=self._conditions()),
            self._section("references", links=self._links()),
        ]

    def _section(self, key: str, **content: Any) -> Sheet | None:
        if not any(content.values()):
            return None
        return {"title": self._words["sections"][key], **content}

    def _targets(self) -> list[Sheet]:
        words = self._words
        found = []
        for target in self._shown["profile"].get("JobTargetCollection", ()) if self._frozen else ():
            last = target.get("LastExperience")
            said = [
                words["with_education"] if target["HasEducation"] else "",
                experience(target["MonthsOfExperience"], words),
                f"{words['last_worked']} {last}" if last else "",
            ]
            found.append(self._entry(target["JobTitle"], "", said, ""))
        return _present(found)

    def _profile(self) -> list[Any]:
        text = self._cv.get("ProfessionalSummaryText")
        return rich_text(text["HTMLText"], self._glyphs) if text else []

    def _jobs(self) -> list[Sheet]:
        jobs = self._cv["PreviousJobExperienceCollection"]
        return _present(
            self._entry(
                job["JobTitle"],
                self._period(job),
                [job.get("CompanyName", ""), job.get("Place", "")],
                job.get("SummaryText", ""),
            )
            for job in sorted(jobs, key=_age, reverse=True)
        )

    def _educations(self) -> list[Sheet]:
        levels = self._words["education_levels"]
        educations = self._cv["EducationCollection"]
        return _present(
            self._entry(
                education["Title"],
                self._period(education),
                [education.get("InstitutionName", ""), levels.get(education["EducationLevel"], "")],
                education.get("SummaryText", ""),
            )
            for education in sorted(educations, key=_age, reverse=True)
        )

    def _others(self) -> list[Sheet]:
        others = self._cv["OtherExperienceCollection"]
        return _present(
            self._entry(other["Title"], self._period(other), [other["Place"]], other["SummaryText"])
            for other in sorted(others, key=_age, reverse=True)
        )

    def _period(self, element: _Element) -> str:
        return period(element.get("StartDate"), element.get("EndDate"), self._words)

    def _entry(self, title: str, dates: str, meta: Sequence[str], summary: str) -> Sheet:
        said = [text for text in map(self._clean, meta) if text]
        blocks = [paragraph([{"s": line}]) for line in self._glyphs.lines(summary)]
        heading = self._clean(title)
        if not heading and said:
            heading = said.pop(0)
        if not heading and blocks:
            # A heading of nothing is no heading: PDF/UA has none.
            heading, dates = dates or _UNTITLED, ""
        return {"title": heading, "dates": dates, "meta": joined(said, _SEPARATOR), "blocks": blocks}

    def _names(self, elements: Sequence[_Element]) -> list[str]:
        return [name for name in (self._clean(element["Name"]) for element in elements) if name]

    def _languages(self) -> Sheet | None:
        columns, levels = self._words["columns"], self._words["levels"]
        skills = self._cv["LanguageSkillCollection"]
        rows = [[self._clean(skill["Name"] or skill["Code"]), levels[skill["Level"]]] for skill in skills]
        return _table([columns["language"], columns["level"]], [row for row in rows if row[0]])

    def _conditions(self) -> Sheet | None:
        columns, given = self._words["columns"], self._shown["profile"]["JobConditions"]
        chosen: dict[str, list[str]] = {}
        for element, (group, name) in self._words["conditions"].items():
            if given.get(element) and (self._frozen or element not in _NOT_FOR_EMPLOYERS):
                chosen.setdefault(group, []).append(name)
        rows = [[group, ", ".join(names)] for group, names in chosen.items()]
        return _table([columns["condition"], columns["choice"]], rows)

    def _links(self) -> list[dict[str, str]]:
        texts = map(self._clean, self._cv["OtherCVReferenceCollection"])
        return [{"text": text, "url": _web_url(text)} for text in texts if text]


def _present(entries: Any) -> list[Sheet]:
    return [one for one in entries if one["title"] or one["blocks"]]


def _table(head: list[str], rows: list[list[str]]) -> Sheet | None:
    return {"head": head, "rows": rows} if rows else None


def _age(element: _Element) -> tuple[tuple[str, str], tuple[str, str]]:
    """Order by the end, then by the start; what goes on is the newest, what has no date at all the oldest."""
    start, end = element.get("StartDate"), element.get("EndDate")
    first = _order(start) if start else ("", "")
    last = _order(end) if end else (_ONGOING if start else ("", ""))
    return last, first


def _order(date: Mapping[str, str]) -> tuple[str, str]:
    return date["Year"], date.get("Month", "--00")


def _web_url(text: str) -> str:
    """Give the target of a web link, empty for anything that is none: only http and https are ever followed."""
    address = text.replace("\u200b", "")
    if address.lower().startswith("www."):
        address = "https://" + address
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").encode("idna").decode()
    except (UnicodeError, ValueError):
        return ""
    if parts.scheme not in ("http", "https") or "." not in host or any(c in address for c in ' <>"'):
        return ""
    return quote(address.replace(parts.hostname or "", host, 1), safe=_SAFE)


def _mail_url(text: str) -> str:
    address = text.replace("\u200b", "")
    local, at, host = address.rpartition("@")
    if not (at and local and "." in host) or any(c.isspace() or c in '<>"?&,;:' for c in address):
        return ""
    return "mailto:" + quote(address, safe="@.+-_")
