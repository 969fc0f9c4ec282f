"""Whether two versions of an event may live side by side: each one's readers understand what the other's writers write.

Records of every version stay in the log and services are not deployed together, so the rule holds in both directions
and against all earlier versions: only optional fields may come or go. Anything else is a new event type (v2).
"""

from collections.abc import Iterable, Iterator

from cv_contracts.schemas import Schema, shape_of


def breaking_changes(earlier: Iterable[Schema], later: Schema) -> list[str]:
    """Tell what an earlier version's reader or writer would not survive, once each; empty when all is well."""
    found = (change for one in earlier for change in _between(shape_of(one), shape_of(later), ""))
    return list(dict.fromkeys(found))


def _between(earlier: Schema, later: Schema, path: str) -> Iterator[str]:
    yield from _keywords(earlier, later, path)
    yield from _required(earlier, later, path)
    before, after = earlier.get("properties", {}), later.get("properties", {})
    for name in before.keys() & after.keys():
        yield from _between(before[name], after[name], f"{path}/{name}")


def _keywords(earlier: Schema, later: Schema, path: str) -> Iterator[str]:
    if later.get("additionalProperties") is False:
        yield f"{path or '/'}: unknown fields are refused"
    if "$ref" in str(later):
        yield f"{path or '/'}: refers to a schema elsewhere, which cannot be compared"
    for keyword in sorted((earlier.keys() | later.keys()) - {"properties", "required"}):
        before, after = earlier.get(keyword), later.get(keyword)
        if keyword == "enum":
            yield from _values(before or [], after or [], path)
        elif before != after:
            yield f"{path or '/'}: {keyword} was {before!r} and is {after!r}"


def _values(before: list[object], after: list[object], path: str) -> Iterator[str]:
    for value in after:
        if value not in before:
            yield f"{path}: earlier readers do not know the value {value!r}"
    for value in before:
        if value not in after:
            yield f"{path}: earlier writers may have written {value!r}"


def _required(earlier: Schema, later: Schema, path: str) -> Iterator[str]:
    before, after = set(earlier.get("required", ())), set(later.get("required", ()))
    for name in sorted(after - before):
        yield f"{path}/{name}: required, but earlier writers may leave it out"
    for name in sorted(before - after):
        yield f"{path}/{name}: no longer required, but earlier readers need it"
