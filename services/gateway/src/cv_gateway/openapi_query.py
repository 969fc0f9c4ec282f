"""Query parameters in the description of the interface, made from the types that read them."""

from typing import Any

from cv_contracts import wire

__all__ = ["query_parameters"]

Json = dict[str, Any]


def query_parameters(query: type[wire.Query] | None) -> list[Json]:
    """Give what may stand in a query, none where there is no query."""
    if query is None:
        return []
    schema = query.model_json_schema()
    required = schema.get("required", [])
    return [_parameter(name, field, name in required) for name, field in schema["properties"].items()]


def _parameter(name: str, field: Json, required: bool) -> Json:
    told = {"description": field["description"]} if "description" in field else {}
    schema = {key: value for key, value in _given(field).items() if key not in ("title", "description")}
    return {"name": name, "in": "query", "required": required, **told, "schema": schema}


def _given(field: Json) -> Json:
    """Leave `null` out: a query parameter is there or it is not."""
    kinds = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
    return kinds[0] if len(kinds) == 1 else {key: value for key, value in field.items() if key != "default"}
