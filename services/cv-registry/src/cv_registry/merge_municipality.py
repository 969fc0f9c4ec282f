"""`python -m cv_registry merge-municipality FORMER INTO DAY`: in small writes beside those who are served; may be begun again."""

import sys
from datetime import date

from cv_citizens.danish_time import utc_now
from cv_contracts.codelists import load
from cv_contracts.faults import Fault
from cv_registry.merged_states import MunicipalityMerger
from cv_registry.merging import Merging
from cv_registry.settings import SERVICE, Settings
from cv_registry.store_cvs import CvStore
from cv_registry.store_merges import MergeStore
from servicekit.data.postgres import Database
from servicekit.publish.outbox import Outbox

__all__ = ["run_merger"]


async def run_merger(settings: Settings, former: str, into: str, day: str) -> int:
    """Merge and tell how many citizens moved; gives the exit code. What cannot be is said in one line, and nothing is done."""
    merger = MunicipalityMerger(former, into, _day(day))
    database = await Database.connect(settings.postgres, f"{SERVICE}-merge")
    try:
        outbox = Outbox()
        merges, cvs = MergeStore(database, outbox), CvStore(database, outbox)
        moved = await Merging(merges, cvs, load(settings.code_lists), utc_now).municipalities(merger)
    except Fault as fault:
        sys.exit(f"Nothing was done: {', '.join(f'{e.element.upper()} {e.reason}' for e in fault.errors)}.")
    finally:
        await database.close()
    print(f"{moved} citizens move from {former} to {into} on {day}")  # noqa: T201 - the answer of a command
    return 0


def _day(day: str) -> date:
    try:
        return date.fromisoformat(day)
    except ValueError:
        sys.exit(f"Nothing was done: DAY is a date like 2027-01-01, and {day} is none.")
