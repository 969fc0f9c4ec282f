"""The ETag of a state is its version; a write may name in If-Match which one it was made for."""

__all__ = ["etag", "holds_if_match"]


def etag(version: int) -> str:
    return f'"{version}"'


def holds_if_match(if_match: str | None, version: int | None) -> bool:
    """Whether If-Match allows a write on the state of this version (None: there is none), as RFC 9110 13.1.1."""
    if if_match is None:
        return True
    if if_match.strip() == "*":
        return version is not None
    return version is not None and etag(version) in {tag.strip() for tag in if_match.split(",")}
