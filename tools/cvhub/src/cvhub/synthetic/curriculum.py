"""A CV that fits the citizen's line of work, as a body of ReplaceCV."""

from datetime import date
from html import escape
from random import Random
from typing import Final

from cv_contracts.codelists import Education, Occupation
from cvhub.synthetic.citizen import Json
from cvhub.synthetic.material import Family, Material, pick, pick_some, wheel

LEVELS: Final = wheel(
    (("Novice", 15), ("AdvancedBeginner", 25), ("Competent", 30), ("Proficient", 20), ("Expert", 10))
)
CONDITIONS: Final = (
    ("FullTimeEmployment", 0.85),
    ("PartTimeEmployment", 0.35),
    ("StartAsSoonAsPossible", 0.8),
    ("StartAsAgreedOn", 0.3),
    ("PermanentJobPosition", 0.85),
    ("TemporaryJobPosition", 0.5),
    ("StandardJobConditions", 0.95),
    ("EarlyRetirementConditions", 0.02),
    ("DisabilityPensionerConditions", 0.03),
)
COMPANIES: Final = ("A/S", "ApS", "& Søn", "& Co.", "Service", "Gruppen")
PLACES: Final = (
    "Foreningen",
    "Idrætsklubben",
    "Beboerforeningen",
    "Spejderne",
    "Frivilligcentret",
    "Skolebestyrelsen",
)
ROLES: Final = ("Træner", "Kasserer", "Formand", "Frivillig", "Mentor", "Holdleder", "Suppleant")
SCHOOLS: Final = (
    "Tekniske Skole",
    "Handelsskole",
    "Erhvervsskole",
    "Gymnasium",
    "Professionshøjskole",
    "VUC",
)
MONTHS: Final = tuple(f"--{month:02}" for month in range(1, 13))
LEARNED: Final = frozenset({"Vocational", "ShortTertiaryEducation", "Bachelor", "Master", "PhdOrPostdoc"})


class Curriculum:
    """Writes one CV; `birth` and `today` bound the years in it."""

    def __init__(self, rng: Random, material: Material, family: Family, birth: date, today: date) -> None:
        self._rng = rng
        self._material = material
        self._family = family
        self._grown = birth.year + 18
        self._year = today.year
        # One in eight works outside the family's usual jobs.
        strange = rng.random() < 0.125
        self._occupation = pick(rng, material.occupations if strange else family.occupations)

    def body(self, contact: Json) -> Json:
        """Write the whole body of ReplaceCV."""
        jobs = self._jobs()
        return {
            "ContactInformation": contact,
            "JobConditions": {name: True for name, share in CONDITIONS if self._rng.random() < share},
            "JobTargetCollection": self._targets(jobs),
            "CV": {
                "PreviousJobExperienceCollection": jobs,
                "EducationCollection": self._educations(),
                "QualificationCollection": self._qualifications(),
                "DriverLicenseCollection": self._licences(),
                "LanguageSkillCollection": self._languages(),
                "OtherExperienceCollection": self._others(),
                "ProfessionalSummaryText": {"HTMLText": self._summary(jobs)},
                "OtherCVReferenceCollection": self._references(),
            },
        }

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share

    def _below(self, count: int) -> int:
        return int(self._rng.random() * count)

    def _sentence(self) -> str:
        return pick(self._rng, self._material.sentences)

    def _skill(self) -> str:
        return pick(self._rng, self._family.skills)

    def _jobs(self) -> list[Json]:
        jobs: list[Json] = []
        end = self._year - self._below(3)
        for _ in range(self._below(6)):
            start = end - self._below(6)
            if start < self._grown:
                break
            jobs.append(
                self._job(self._occupation_of_job(), start, end, ongoing=not jobs and self._chance(0.2))
            )
            end = start - self._below(2)
        return jobs

    def _occupation_of_job(self) -> Occupation:
        return self._occupation if self._chance(0.6) else pick(self._rng, self._family.occupations)

    def _job(self, occupation: Occupation, start: int, end: int, *, ongoing: bool) -> Json:
        rng, material = self._rng, self._material
        job: Json = {
            "JobTitle": occupation.title,
            "OccupationTaxonomyReference": occupation.id,
            "CompanyName": f"{pick(rng, material.surname)} {pick(rng, COMPANIES)}",
            "Place": pick(rng, material.town),
            "SummaryText": f"Arbejdede med {self._skill()} og {self._skill()}. {self._sentence()} {self._sentence()}",
            "StartDate": {"Year": str(start), "Month": MONTHS[self._below(6)]},
        }
        if not ongoing:
            job["EndDate"] = {"Year": str(end), "Month": MONTHS[6 + self._below(6)]}
        return job

    def _educations(self) -> list[Json]:
        rng, material = self._rng, self._material
        learned = [pick(rng, material.schools)] if self._chance(0.75) else []
        learned += [pick(rng, self._family.educations)] if self._chance(0.75) else []
        learned += [pick(rng, material.courses)] if self._chance(0.3) else []
        return [self._education(education) for education in learned]

    def _education(self, education: Education) -> Json:
        town = pick(self._rng, self._material.town)
        start = min(self._grown - 1 + self._below(8), self._year - 1)
        end = start + (3 if education.level in LEARNED else 1)
        written: Json = {
            "Title": education.title,
            "EducationTaxonomyReference": education.id,
            "EducationLevel": education.level,
            "InstitutionName": f"{town} {pick(self._rng, SCHOOLS)}",
            "StartDate": {"Year": str(start)},
        }
        if end <= self._year:
            written["EndDate"] = {"Year": str(end)}
        return written

    def _qualifications(self) -> list[Json]:
        found = pick_some(self._rng, self._family.qualifications, 2 + self._below(6))
        found += pick_some(self._rng, self._material.qualities, 1 + self._below(4))
        return [{"QualificationTaxonomyReference": number} for number in dict.fromkeys(found)]

    def _licences(self) -> list[Json]:
        if not self._chance(0.7):
            return []
        held = ["B"]
        if self._family.licences and self._chance(0.5):
            held.append(pick(self._rng, self._family.licences))
        return [{"Code": code} for code in held]

    def _languages(self) -> list[Json]:
        spoken = {"da": "Expert" if self._chance(0.85) else pick(self._rng, LEVELS)}
        for _ in range(self._below(4)):
            spoken.setdefault(pick(self._rng, self._material.language), pick(self._rng, LEVELS))
        return [{"Code": code, "Level": level} for code, level in spoken.items()]

    def _others(self) -> list[Json]:
        if not self._chance(0.25):
            return []
        start = self._year - 1 - self._below(8)
        return [
            {
                "Title": pick(self._rng, ROLES),
                "Place": pick(self._rng, PLACES),
                "SummaryText": self._sentence(),
                "StartDate": {"Year": str(start)},
                "EndDate": {"Year": str(start + self._below(2)), "Month": "--12"},
            }
        ]

    def _targets(self, jobs: list[Json]) -> list[Json]:
        others = [pick(self._rng, self._family.occupations).id for _ in range(self._below(3))]
        return [self._target(number, jobs) for number in dict.fromkeys([self._occupation.id, *others])]

    def _target(self, number: int, jobs: list[Json]) -> Json:
        held = [job for job in jobs if job["OccupationTaxonomyReference"] == number]
        years = sum(self._last_year(job) - int(job["StartDate"]["Year"]) for job in held)
        target: Json = {
            "OccupationTaxonomyReference": number,
            "HasEducation": self._chance(0.6),
            "MonthsOfExperience": years * 12 + (6 if held else 0),
        }
        if held:
            target["LastExperience"] = str(max(self._last_year(job) for job in held))
        return target

    def _last_year(self, job: Json) -> int:
        return int(job["EndDate"]["Year"]) if "EndDate" in job else self._year

    def _summary(self, jobs: list[Json]) -> str:
        title = escape(self._occupation.title.lower(), quote=False)
        had = f"har haft {len(jobs)} job" if jobs else "søger mit første job"
        lines = [f"<p>Jeg er <strong>{title}</strong> og {had}.</p>"]
        lines += ["<ul>", *(f"<li>{escape(self._skill(), quote=False)}</li>" for _ in range(3)), "</ul>"]
        lines += [f"<p>{escape(self._sentence(), quote=False)}</p>" for _ in range(1 + self._below(4))]
        return "".join(lines)

    def _references(self) -> list[str]:
        return [f"https://cv.example.org/{self._below(10**8):08}"] if self._chance(0.2) else []
