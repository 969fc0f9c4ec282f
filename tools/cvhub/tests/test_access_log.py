"""Who looked at whom: the logs of all services as one, the citizen's own statement, users who read far more than usual."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pypdfium2
import pytest

from cvhub.access.command import collected, days_of, organisation_of, period, person_id, reads_of
from cvhub.access.export import pdf_of, statement_of
from cvhub.access.unusual import DailyReads, UserKey, unusual
from cvhub.explain import in_words, method_of
from cvhub.servers.process import CannotStart

NOON = datetime(2026, 11, 22, 11, tzinfo=UTC)
TODAY = date(2026, 11, 22)
PERIOD = {"since": "2026-10-31T23:00:00+00:00", "until": "2026-11-22T23:00:00+00:00"}


def row(at: datetime, **changes: Any) -> dict[str, Any]:
    return {
        "at": at.isoformat(),
        "subject": str(UUID(int=5)),
        "method": "GetCV",
        "service": None,
        "client": "jobcenter-system",
        "active_type": 8,
        "active_code": "10100",
        "request_type": 8,
        "request_code": "10100",
        "user_name": "Ada #Example *fed*",
        "purpose": None,
        **changes,
    }


def service(rows: dict[str, list[dict[str, Any]]], most: int) -> Callable[[str, str, dict[str, Any]], Any]:
    def ask(holder: str, path: str, body: dict[str, Any]) -> Any:
        assert path == "/access-log"
        found = [one for one in rows[holder] if body["since"] <= one["at"] < body["until"]]
        return {"rows": sorted(found, key=lambda one: one["at"], reverse=True)[:most]}

    return ask


def test_the_rows_of_all_services_are_one_list_the_newest_first() -> None:
    rows = {"a": [row(NOON)], "b": [row(NOON + timedelta(hours=1)), row(NOON - timedelta(hours=1))]}
    found = collected(dict(PERIOD), service(rows, 100), ["a", "b"])
    assert [(one["kept_by"], one["at"][11:13]) for one in found] == [("b", "12"), ("a", "11"), ("b", "10")]


def test_what_a_service_does_not_give_at_once_is_asked_for_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvhub.access.command.ROWS_MOST", 3)
    rows = [row(NOON - timedelta(seconds=n // 2), object_version=n) for n in range(11)]
    found = collected(dict(PERIOD), service({"a": rows}, 3), ["a"])
    assert sorted(one["object_version"] for one in found) == list(range(11))


def test_rows_of_a_citizen_are_asked_for_at_once_and_all_others_by_day() -> None:
    asked: list[tuple[str, str]] = []

    def ask(_holder: str, _path: str, body: dict[str, Any]) -> Any:
        asked.append((body["since"], body["until"]))
        return {"rows": []}

    collected({**PERIOD, "subject": str(UUID(int=5))}, ask, ["a"])
    assert asked == [(PERIOD["since"], PERIOD["until"])]
    asked.clear()
    collected({**PERIOD, "user": "ada"}, ask, ["a"])
    assert asked == [(day["since"], day["until"]) for day in days_of(PERIOD)]


def test_the_days_of_a_period_follow_each_other_also_where_the_clock_is_changed() -> None:
    asked = period(datetime(2026, 10, 24), datetime(2026, 10, 26), TODAY)  # noqa: DTZ001 - as a terminal gives it
    days = days_of(asked)
    assert [day["until"] for day in days] == [asked["until"], *(day["since"] for day in days[:-1])]
    assert days[-1]["since"] == asked["since"]
    lengths = [datetime.fromisoformat(day["until"]) - datetime.fromisoformat(day["since"]) for day in days]
    assert lengths == [timedelta(hours=hours) for hours in (24, 25, 24)]


def test_how_much_users_read_is_asked_by_day() -> None:
    def ask(_holder: str, path: str, body: dict[str, Any]) -> Any:
        assert path == "/access-log/reads"
        day = (datetime.fromisoformat(body["until"]) - timedelta(hours=1)).date()
        user = {"client": "c", "user_type": 2, "user_identifier": "ada", "own_type": 8, "own_code": "10100"}
        return {"reads": [{**user, "day": day.isoformat(), "looks": 3}]}

    told = reads_of(PERIOD, ask, ["a", "b"])
    assert len(told) == 2 * len({one.day for one in told}) == 2 * 22


def test_a_period_is_of_whole_danish_days() -> None:
    told = period(datetime(2026, 11, 1), datetime(2026, 11, 22), TODAY)  # noqa: DTZ001 - as a terminal gives it
    assert told == PERIOD
    with pytest.raises(CannotStart):
        period(datetime(2026, 11, 23), None, TODAY)  # noqa: DTZ001 - as above


def test_a_person_id_is_taken_as_it_is_and_a_number_is_looked_up() -> None:
    asked: list[Any] = []

    def ask(*call: Any) -> Any:
        asked.append(call)
        return {"personId": str(UUID(int=7))}

    assert person_id(str(UUID(int=5)), ask) == UUID(int=5)
    assert asked == []
    assert person_id("0101001234", ask) == UUID(int=7)
    assert asked == [("cv-registry", "/citizens/find", {"personNumber": "0101001234"})]
    with pytest.raises(CannotStart):
        person_id("0101001234", lambda *_: {})


@pytest.mark.parametrize("written", ["8", "8:", ":10100", "x:1"])
def test_an_organisation_is_written_type_and_code(written: str) -> None:
    assert organisation_of("8:10100") == (8, "10100")
    with pytest.raises(CannotStart):
        organisation_of(written)


def test_the_statement_says_who_when_as_which_authority_and_what() -> None:
    actor = row(NOON, request_type=4, request_code="12345678", method="GetCVAsPdf")
    own = row(NOON, client=None, user_name=None, service="cv-search", method="states")
    statement = statement_of([row(NOON), actor, own], PERIOD, NOON)
    first, second, third = statement["looks"]
    assert (first["at"], first["authority"], first["user"], first["what"]) == (
        "2026-11-22T12:00:00+01:00",
        "Jobcenter København",
        "Ada #Example *fed*",
        "Så dit CV",
    )
    assert (second["onBehalfBy"], second["what"]) == ("AndenAktoer 12345678", "Hentede dit CV som PDF")
    assert (third["authority"], "user" in third) == ("CV-systemet selv", False)


def test_the_pdf_is_danish_has_every_look_and_sets_no_text_as_markup() -> None:
    looks = [row(NOON - timedelta(minutes=n)) for n in range(60)]
    document = pypdfium2.PdfDocument(pdf_of(statement_of(looks, PERIOD, NOON)))
    text = "".join(page.get_textpage().get_text_range() for page in document)
    assert "Hvem har set dine oplysninger" in text
    assert text.count("Ada #Example *fed*") == 60
    assert "fra og med 01.11.2026" in text
    nothing = pypdfium2.PdfDocument(pdf_of(statement_of([], PERIOD, NOON)))
    assert "Ingen har set dine oplysninger" in nothing[0].get_textpage().get_text_range()


def reads(name: str, looks: dict[int, int], code: str = "10100") -> list[DailyReads]:
    user = UserKey("jobcenter-system", 2, name, (8, code))
    return [DailyReads(user, TODAY - timedelta(days=ago), count) for ago, count in looks.items()]


def found(*all_reads: list[DailyReads], least: int = 100) -> list[str]:
    together = [one for some in all_reads for one in some]
    return [one.user.identifier for one in unusual(together, TODAY, factor=5, least=least)]


def test_who_reads_far_more_than_before_and_than_others_is_reported_with_the_most_first() -> None:
    usual = [reads(f"u{n}", {0: 30, 1: 25, 2: 35}) for n in range(5)]
    curious, worse = reads("curious", {0: 200, 1: 20, 2: 30}), reads("worse", {0: 900, 1: 20})
    assert found(*usual, curious, worse) == ["worse", "curious"]


def test_who_reads_much_every_day_or_like_the_others_or_little_is_not_reported() -> None:
    assert found(reads("system", {0: 5_000, 1: 4_800, 2: 5_100})) == []
    peers = [reads(f"u{n}", {0: 120, 1: 130}) for n in range(3)]
    assert found(*peers, reads("new", {0: 140})) == []
    assert found(reads("few", {0: 99, 1: 1})) == []
    assert found(reads("first day", {0: 100})) == ["first day"]


def test_looks_of_one_day_in_several_services_are_added_and_other_organisations_are_no_measure() -> None:
    split = [*reads("split", {0: 60, 1: 10}), *reads("split", {0: 60})]
    assert found(split, reads("elsewhere", {0: 400, 1: 400}, "46100")) == ["split"]


def test_an_explanation_names_the_row_and_the_relation() -> None:
    told = {
        "allowed": True,
        "fault": None,
        "title": None,
        "why": "related",
        "day": "2026-11-22",
        "row": {
            "method": 13,
            "organisationType": 8,
            "kind": "own",
            "fault": 6005,
            "unregistered_fault": None,
            "window_days": 0,
            "extra": "asylum-window",
        },
        "relation": {"organisationType": 8, "organisationCode": "46100", "from": "2026-01-01"},
    }
    text = in_words(told)
    assert text.startswith("Allowed.")
    assert "13,8,own,6005,,0,asylum-window" in text
    assert "8:46100 from 2026-01-01" in text
    refused = in_words({**told, "allowed": False, "fault": 6005, "title": "No", "relation": None})
    assert refused.startswith("Refused: 6005 No.")
    assert (method_of("getcv").number, method_of("13").name) == (1, "ReplaceCV")
    with pytest.raises(CannotStart):
        method_of("GetAll")
