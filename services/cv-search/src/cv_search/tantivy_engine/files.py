"""Whether the files of an index are whole: tantivy keeps a checksum at the end of each, and does not look at it itself."""

import struct
import zlib
from pathlib import Path
from typing import Final

import orjson
from tantivy import Index

from cv_search.port import IndexBroken

_MAGIC: Final = 1337
_TAIL: Final = struct.Struct("<II")
_CHUNK: Final = 1 << 22
_SUFFIXES: Final = ("term", "idx", "fieldnorm", "fast", "store", "pos")


def check(folder: Path) -> None:
    """Read every file of the newest commit against its checksum; raises IndexBroken. 300 MB take about 0.3 s."""
    try:
        if not Index.exists(str(folder)) or not Index.is_compatible(str(folder)):
            raise IndexBroken
        meta = orjson.loads((folder / "meta.json").read_bytes())
        for segment in meta["segments"]:
            _check_segment(folder, segment)
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise IndexBroken from error


def _check_segment(folder: Path, segment: dict[str, object]) -> None:
    name = str(segment["segment_id"]).replace("-", "")
    deletes = segment.get("deletes")
    wanted = {f"{name}.{suffix}" for suffix in _SUFFIXES}
    if isinstance(deletes, dict):
        wanted.add(f"{name}.{deletes['opstamp']}.del")
    for file in wanted:
        _check_file(folder / file)


def _check_file(path: Path) -> None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(size - _TAIL.size)
        length, magic = _TAIL.unpack(file.read())
        body = size - _TAIL.size - length
        if magic != _MAGIC or body < 0:
            raise IndexBroken
        file.seek(body)
        crc = orjson.loads(file.read(length))["crc"]
        file.seek(0)
        found, left = 0, body
        while left and (chunk := file.read(min(_CHUNK, left))):
            found, left = zlib.crc32(chunk, found), left - len(chunk)
    if left or found != crc:
        raise IndexBroken
