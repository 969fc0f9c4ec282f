"""`python -m pdf_renderer.worker`: a process that renders one document after the other for the service that started it.

It has no environment, writes no file, and may die over any document.
"""

import gc
import resource
import sys
from typing import Final

import orjson

from pdf_renderer.templates import NEWEST
from pdf_renderer.typesetting import Typesetter
from servicekit.dumps import no_core_dumps
from servicekit.memory import bound_memory
from servicekit.worker_process import FAILED, WORKED, serve

_STATM: Final = "/proc/self/statm"
_WARM_UP: Final = {
    "kind": "cv",
    "time": "2020-01-01T00:00:00+00:00",
    "profile": {
        "PersonalData": {
            "PostalAddress": {"CountryCode": "", "AddressLine": "", "PostalCode": "", "PostalArea": ""},
            "ContactInformation": {},
        },
        "JobConditions": {"FullTimeEmployment": True},
        "CV": {
            "PreviousJobExperienceCollection": [],
            "EducationCollection": [],
            "QualificationCollection": [],
            "DriverLicenseCollection": [],
            "LanguageSkillCollection": [],
            "OtherExperienceCollection": [],
            "OtherCVReferenceCollection": [],
        },
    },
}


def main() -> None:
    """Render until the other side closes the socket that is standard input."""
    memory_mb, worn_mb, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    _bound(memory_mb)
    typesetter = Typesetter()
    typesetter.render(NEWEST.name, _WARM_UP)
    gc.freeze()

    def render(frame: bytes) -> tuple[bytes, bytes]:
        template, _, shown = frame.partition(b"\n")
        try:
            return WORKED, typesetter.render(template.decode(), orjson.loads(shown))
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - typst's refusal, or a mistake of ours that the next document does not meet
            return FAILED, b""

    serve(render, seconds, worn=lambda: _megabytes() > worn_mb)


def _bound(megabytes: int) -> None:
    """Bound the memory, and let no dump or file hold what a document says."""
    bound_memory(megabytes)
    no_core_dumps()
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _megabytes() -> int:
    """Give how much memory is in use; 0 where the system does not tell, as macOS: there only the pieces of work count."""
    try:
        with open(_STATM, "rb") as file:  # noqa: PTH123 - nothing is faster
            return int(file.read().split()[1]) * resource.getpagesize() >> 20
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    main()
