"""Reading one list from a CSV file, with errors that say the file and the line."""

import csv
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from cv_contracts.codelists.elements import check_number, check_text
from cv_contracts.errors import Misconfigured

Key = TypeVar("Key", bound=Hashable)
Entry = TypeVar("Entry")


class BadCodeList(Misconfigured):
    """A code list file that cannot be used: which file, which line, what is wrong."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path.name}, line {line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


class Row:
    """One line of a list; its methods name the column that is wrong."""

    __slots__ = ("_columns", "_name", "_values")

    def __init__(self, name: str, columns: Mapping[str, int], values: list[str]) -> None:
        self._name = name
        self._columns = columns
        self._values = values

    def text(self, column: str) -> str:
        value = self._values[self._columns[column]]
        if not value:
            raise ValueError(f"{column} is empty")
        check_text(self._name, column, value)
        return value

    def optional(self, column: str) -> str:
        return self._values[self._columns[column]]

    def number(self, column: str) -> int:
        value = self.text(column)
        if not value.isascii() or not value.isdigit():
            raise ValueError(f"{column} is not a number")
        number = int(value)
        check_number(self._name, column, number)
        return number

    def degrees(self, column: str) -> float:
        try:
            return float(self.text(column))
        except ValueError:
            raise ValueError(f"{column} is not a decimal number") from None

    def flag(self, column: str) -> bool:
        value = self.text(column)
        if value not in {"0", "1"}:
            raise ValueError(f"{column} is neither 0 nor 1")
        return value == "1"

    def one_of(self, column: str, allowed: frozenset[str]) -> str:
        value = self.text(column)
        if value not in allowed:
            raise ValueError(f"{column} is not one of {', '.join(sorted(allowed))}")
        return value


def read_list(
    path: Path, columns: tuple[str, ...], entry: Callable[[Row], tuple[Key, Entry]]
) -> Mapping[Key, Entry]:
    """Read one file into a mapping in the file's order; a repeated key is an error."""
    entries: dict[Key, Entry] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            missing = [column for column in columns if column not in header]
            if missing:
                raise BadCodeList(path, 1, f"column {', '.join(missing)} is missing")
            index = {column: header.index(column) for column in header}
            for values in reader:
                if len(values) != len(header):
                    raise BadCodeList(
                        path, reader.line_num, f"{len(values)} values for {len(header)} columns"
                    )
                try:
                    key, value = entry(Row(path.stem, index, values))
                except ValueError as error:
                    raise BadCodeList(path, reader.line_num, str(error)) from None
                if key in entries:
                    raise BadCodeList(path, reader.line_num, f"{key} is there twice")
                entries[key] = value
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadCodeList(path, 0, f"cannot be read ({type(error).__name__})") from error
    if not entries:
        raise BadCodeList(path, 1, "holds no entry")
    return MappingProxyType(entries)
