"""What the services say of themselves: ready, versions, what they follow, what waits, clock and disk."""

import platform
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from cv_contracts.topics import SERVICES as CONTRACTED
from cvhub.doctor.findings import Finding, warning, well, wrong
from cvhub.doctor.patient import Patient
from cvhub.health import what_fails
from cvhub.operator import KEY, URLS, Calls
from cvhub.services import SERVICES, Service
from servicekit.data.migrating import OWN_MIGRATIONS, migrations_of, with_required

LAG = 5_000
OUTBOX_SECONDS = 30.0
FRESH_SECONDS = 30.0
FEED_SECONDS = 60.0
INDEX_SECONDS = 10.0
PENDING_SECONDS = 300.0
CLOCK_SECONDS = 2.0
FREE = 0.1
OLDEST_POSTGRES = 150_000


class Asking:
    """Asks services as the operator."""

    def __init__(self, patient: Patient) -> None:
        self._calls = Calls(patient.place)

    def ready(self, service: str) -> tuple[int, dict[str, Any]]:
        answer = self._calls("GET", service, "/health/ready", timeout=5)
        return answer.status_code, answer.json()

    def operations(self, service: str, path: str) -> dict[str, Any]:
        """Give an answer of the operator's routes; raises httpx.HTTPError for any but 200."""
        answer = self._calls("GET", service, f"/internal/operations/{path}", timeout=30)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def services(patient: Patient) -> Iterator[Finding]:
    """Look at every service that should be there."""
    asking = Asking(patient)
    lists: dict[str, Mapping[str, Any]] = {}
    for service in SERVICES:
        if service.name in patient.place.urls:
            yield from _service(asking, service, lists)
    yield from _code_lists(lists)
    for name in sorted(set(CONTRACTED) - patient.place.urls.keys()):
        yield warning("services", name, "nobody says where it is", f"name it in {URLS}, or deploy it")


def _service(asking: Asking, service: Service, lists: dict[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Look at one service; the code lists it has in use go to those of the others."""
    name = service.name
    try:
        status, told = asking.ready(name)
    except (httpx.HTTPError, ValueError):
        yield wrong(
            "services",
            name,
            "does not answer",
            f"{log_of(name)} it ended or does not start, or no instance is ready",
        )
        return
    if status == 200:
        yield well("services", name, "ready")
    else:
        advice = "bring back what it names; it becomes ready by itself"
        yield wrong("services", name, f"not ready: {what_fails(told)}", advice)
    checks: dict[str, Mapping[str, Any]] = told.get("checks", {})
    if in_use := checks.get("code-lists"):
        lists[name] = in_use
    if service.migrations is None:
        return
    yield from _outbox(name, checks.get("relay"))
    yield from _feed(name, checks.get("feed"))
    yield from _index(name, checks.get("index"))
    yield from _providers(name, checks.get("sender"))
    try:
        begun = time.time()
        about = asking.operations(name, "about")
        yield from _about(service, about, (begun + time.time()) / 2)
        yield from _following(name, asking.operations(name, "projections")["projections"])
    except httpx.HTTPError as error:
        yield from _unanswered(name, error, is_ready=status == 200)


def _unanswered(name: str, error: httpx.HTTPError, *, is_ready: bool) -> Iterator[Finding]:
    """Say why the operator got no answer, unless it follows from what was said of readiness."""
    refused = isinstance(error, httpx.HTTPStatusError) and error.response.status_code in (401, 403)
    if refused or is_ready:
        advice = f"is {KEY} the key that the services trust as `operator`?" if refused else log_of(name)
        yield wrong("services", name, f"does not answer the operator ({_reason(error)})", advice)


def log_of(name: str) -> str:
    """Say where a service itself tells what is the matter."""
    return f"`cvhub logs {name}`, or the log of its pod, says why"


def _code_lists(lists: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Say who has refused new lists, and whether all have the same ones in use."""
    usual = Counter(one["version"] for one in lists.values()).most_common(1)
    for name, one in lists.items():
        version = one["version"]
        if one["refused"]:
            text = f"goes on with {version}: the new ones are not valid"
            yield wrong("code-lists", name, text, "docs/runbook.md, CvhubCodeListsRefused")
        elif version != usual[0][0]:
            text = f"{version}, most services have {usual[0][0]}"
            yield warning("code-lists", name, text, "give every service the same folder")
        else:
            yield well("code-lists", name, version)


def _reason(error: httpx.HTTPError) -> str:
    return (
        str(error.response.status_code) if isinstance(error, httpx.HTTPStatusError) else type(error).__name__
    )


def _outbox(name: str, relay: Mapping[str, Any] | None) -> Iterator[Finding]:
    if relay is None or "age_seconds" not in relay:
        return
    if relay["refused"]:
        yield wrong(
            "outbox",
            name,
            f"Kafka has refused {relay['refused']} records",
            f"`cvhub refused list {name}`, then retry or discard",
        )
    if relay["age_seconds"] > OUTBOX_SECONDS:
        trouble = f" ({relay['trouble']})" if relay.get("trouble") else ""
        yield wrong(
            "outbox",
            name,
            f"the oldest event has waited {relay['age_seconds']:.0f} s{trouble}",
            "docs/runbook.md, CvhubOutboxOld",
        )
    elif not relay["refused"]:
        yield well("outbox", name, f"{relay['backlog']} events wait")


def _feed(name: str, feed: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Look how far the feed is, and what it lacks; one that has not begun is told of as not ready."""
    if feed is None or "edge_age_seconds" not in feed:
        return
    age = feed["edge_age_seconds"]
    if age > FEED_SECONDS:
        trouble = f" ({feed['trouble']})" if feed["trouble"] else ""
        yield wrong(
            "feed", name, f"has taken in nothing for {age:.0f} s{trouble}", "docs/runbook.md, CvhubFeedBehind"
        )
    else:
        yield well("feed", name, f"as of {age:.0f} s ago")
    # A service of an earlier version does not tell.
    if unreadable := feed.get("unreadable", 0):
        yield _unreadable(name, name, unreadable)


def _index(name: str, index: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Look how far the index of the instance that answered is; one that was never built is told of as not ready."""
    if index is None or "lag_seconds" not in index:
        return
    lag, advice = index["lag_seconds"], "docs/runbook.md, CvhubIndexBehind"
    trouble = f" ({index['trouble']})" if index["trouble"] else ""
    if lag > INDEX_SECONDS:
        yield wrong("index", name, f"{lag:.0f} s behind its database{trouble}", advice)
    elif trouble:
        yield warning("index", name, f"what was tried last did not pass{trouble}", advice)
    else:
        yield well("index", name, f"{lag:.0f} s behind its database")


def _providers(name: str, sender: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Look whether mail and SMS get away."""
    if sender is None or "away" not in sender:
        return
    waits = f"{sender['waiting']} messages wait"
    if sender["away"]:
        text = f"{', '.join(sender['away'])} away, {waits}"
        yield wrong("providers", name, text, "docs/runbook.md, CvhubProviderAway")
    else:
        yield well("providers", name, waits)


def _about(service: Service, about: Mapping[str, Any], now: float) -> Iterator[Finding]:
    yield from _versions(service, about)
    yield _clock(service.name, about["time"] - now)
    # A service of an earlier version does not tell.
    if (database := about.get("databaseTime")) is not None:
        yield _clock(f"{service.name} database", database - now)
    share = about["disk"]["free"] / about["disk"]["total"]
    if share < FREE:
        yield wrong(
            "disk",
            service.name,
            f"{share:.0%} of its disk is free",
            "free some, or give it more, before writes fail",
        )
    else:
        yield well("disk", service.name, f"{share:.0%} free")


def _clock(subject: str, ahead: float) -> Finding:
    if abs(ahead) <= CLOCK_SECONDS:
        return well("clock", subject, "as here")
    text = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine"
    return wrong(
        "clock", subject, text, "set both by the same time server: heartbeats and codes go by the clock"
    )


def _versions(service: Service, about: Mapping[str, Any]) -> Iterator[Finding]:
    name = service.name
    shipped = {
        (package, one.name)
        for package in (OWN_MIGRATIONS, *with_required(service.migrations or OWN_MIGRATIONS))
        for one in migrations_of(package)
    }
    applied = {(package, one) for package, one in about["migrations"]}
    if shipped - applied:
        yield wrong(
            "versions",
            name,
            f"{len(shipped - applied)} migrations of this version are not applied",
            f"`python -m {service.module} migrate`, as the chart does before each upgrade",
        )
    elif applied - shipped:
        yield warning(
            "versions",
            name,
            "its database is of a newer version than this command",
            "use the command of the version that is deployed",
        )
    elif about["postgres"] < OLDEST_POSTGRES:
        yield wrong("versions", name, f"PostgreSQL {about['postgres'] // 10_000}", "upgrade to 15 or newer")
    elif about["python"].split(".")[:2] != platform.python_version().split(".")[:2]:
        yield warning(
            "versions",
            name,
            f"Python {about['python']}, here {platform.python_version()}",
            "the same image for all is simpler to look after",
        )
    else:
        yield well(
            "versions",
            name,
            f"Python {about['python']}, PostgreSQL {about['postgres'] // 10_000}, {len(applied)} migrations",
        )


def _following(name: str, projections: list[dict[str, Any]]) -> Iterator[Finding]:
    for one in projections:
        subject = f"{name} {one['name']}"
        yield _replica(name, subject, one)
        lag = one["lag"]
        if lag is None or lag > LAG:
            text = "not measured" if lag is None else f"{lag} records behind"
            yield warning("lag", subject, text, "docs/runbook.md, CvhubLag")
        else:
            yield well("lag", subject, f"{lag} records")
        yield _pending(name, subject, one)
        if one["unreadable"]:
            yield _unreadable(name, subject, one["unreadable"])
        else:
            yield well("unreadable", subject, "none")


def _unreadable(name: str, subject: str, count: int) -> Finding:
    advice = f"`cvhub unreadable list {name}`, then retry after an upgrade, or discard"
    return wrong("unreadable", subject, f"{count} records could not be read", advice)


def _replica(name: str, subject: str, one: Mapping[str, Any]) -> Finding:
    building = one["building"] or {}
    if one["live"] is None:
        advice = f"`cvhub rebuild {name} {one['name']}`; is its owner up?"
        return wrong("replicas", subject, "never built", advice)
    if (one["heartbeatAge"] or 0) > FRESH_SECONDS:
        text = f"not fresh: the heartbeats of a partition count as {one['heartbeatAge']:.0f} s old"
        return wrong("replicas", subject, text, "docs/runbook.md, CvhubReplicaStale")
    if building.get("held"):
        text = f"a new build is held: it has {building['rows']} subjects, far fewer than the live one"
        return wrong("replicas", subject, text, "docs/runbook.md, CvhubBuildHeld")
    # A service of an earlier version does not tell.
    if gaps := one.get("gaps", 0):
        text = f"records of {gaps} partitions were gone before it read them"
        return wrong("replicas", subject, text, "docs/runbook.md, CvhubRecordsGone")
    return well("replicas", subject, "fresh")


def _pending(name: str, subject: str, one: Mapping[str, Any]) -> Finding:
    if not one["pending"]:
        return well("pending", subject, "none")
    text = f"{one['pending']} subjects wait, the oldest for {one['pending_age']:.0f} s"
    advice = f"`cvhub pending list {name}` has the reasons; they are tried again by themselves"
    return (wrong if one["pending_age"] > PENDING_SECONDS else warning)("pending", subject, text, advice)
