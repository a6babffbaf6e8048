"""Read an official annotation file row by row: JSON, JSONL, CSV or parquet, all behind the same `Row`.

The one thing to know: every row knows its file and its line, and a field that is missing or of another kind is an
error that names both. Files are data of others: nothing in them is executed, followed or fetched.
"""

from __future__ import annotations

import csv
import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from json import decoder, scanner
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tempo_core.errors import TempoError

MAX_BYTES = 256 << 20
"""The largest official file is below 10 MB; what is larger is another file."""


class BadAnnotations(TempoError):
    """An annotation file that is not in its documented form."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record with the place it stands at, such as "val.csv, line 12"."""

    values: Mapping[str, Any]
    place: str

    def wrong(self, field: str, what: str) -> BadAnnotations:
        return BadAnnotations(
            f"{self.place}: field {field!r} {what}. Put the official file there again; it must be unchanged."
        )

    def has(self, field: str) -> bool:
        return self.values.get(field) is not None

    def text(self, field: str) -> str:
        """Text that is not empty; whole numbers are written out, since some files hold names as numbers."""
        value = self._value(field)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(field, f"is {_short(value)}, but must be text")
        return value

    def one_of(self, field: str, known: Sequence[str]) -> str:
        value = self.text(field)
        if value not in known:
            raise self.wrong(field, f"is {_short(value)}, but must be one of {', '.join(known)}")
        return value

    def number(self, field: str, below: int) -> int:
        """A whole number from 0, also where the file holds it as text."""
        value = self._value(field)
        digits = str(value).strip()
        if isinstance(value, bool) or not digits.isdecimal() or not 0 <= int(digits) < below:
            raise self.wrong(field, f"is {_short(value)}, but must be a number from 0 to {below - 1}")
        return int(digits)

    def seconds(self, field: str) -> float:
        value = self._value(field)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise self.wrong(field, f"is {_short(value)}, but must be a number of seconds") from None

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of two texts or more; a text may be empty."""
        value = self._value(field)
        if not isinstance(value, list | tuple) or len(value) < 2:
            raise self.wrong(field, f"is {_short(value)}, but must be a list of two options or more")
        if not all(isinstance(part, str | int | float) and not isinstance(part, bool) for part in value):
            raise self.wrong(field, f"is {_short(value)}, but all its options must be text")
        return tuple(str(part) for part in value)

    def row(self, field: str) -> Row:
        """The record in a field."""
        value = self._value(field)
        if not isinstance(value, Mapping):
            raise self.wrong(field, f"is {_short(value)}, but must be a record")
        return Row(value, self._inside(value))

    def rows(self, field: str) -> list[Row]:
        """The records listed in a field."""
        value = self._value(field)
        if not isinstance(value, list) or not all(isinstance(part, Mapping) for part in value):
            raise self.wrong(field, f"is {_short(value)}, but must be a list of records")
        return [Row(part, self._inside(part)) for part in value]

    def _inside(self, value: Any) -> str:
        """Its own line where it knows it, as in a JSON file; else the line of this row."""
        return _place(self.place.split(", line ")[0], value) if getattr(value, "line", 0) else self.place

    def _value(self, field: str) -> Any:
        if field not in self.values or self.values[field] is None:
            raise self.wrong(field, "is missing")
        return self.values[field]


def read(path: Path) -> list[Row]:
    """Every record of a table, by the suffix of its file.

    A JSON file is a list of records, or a record of records (each then has its key as "key", unless it has one).
    """
    if path.suffix == ".parquet":
        return list(_parquet(path))
    text = _text(path)
    if path.suffix == ".jsonl":
        return [_line(path, n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if path.suffix == ".csv":
        return list(_csv(path, text))
    whole = _json(path, text)
    if isinstance(whole, Mapping):
        whole = [_keyed(path, key, value) for key, value in whole.items()]
    if not isinstance(whole, list) or not all(isinstance(part, Mapping) for part in whole):
        raise BadAnnotations(f"{path.name}: it must hold a list of records. Put the official file there again.")
    return [Row(part, _place(path.name, part)) for part in whole]


def nested(path: Path) -> Row:
    """A JSON file whose whole is one record."""
    whole = _json(path, _text(path))
    if not isinstance(whole, Mapping):
        raise BadAnnotations(f"{path.name}: it must hold one record of records. Put the official file there again.")
    return Row(whole, _place(path.name, whole))


# Both are public in name, but not in the type stubs.
_object: Any = vars(decoder)["JSONObject"]
_scanner: Any = vars(scanner)["py_make_scanner"]


class _Record(dict[str, Any]):
    """A JSON object that knows the line it begins at."""

    line: int = 0


class _Placed(json.JSONDecoder):
    def __init__(self, text: str) -> None:
        super().__init__()
        breaks = [found.start() for found in re.finditer("\n", text)]

        def record(at: tuple[str, int], *rest: Any) -> tuple[_Record, int]:
            values, end = _object(at, *rest)
            found = _Record(values)
            found.line = bisect_right(breaks, at[1] - 1) + 1
            return found, end

        self.parse_object = record
        # The fast scanner of C makes plain dicts only.
        self.scan_once = _scanner(self)


def _json(path: Path, text: str) -> Any:
    try:
        return _Placed(text).decode(text)
    except json.JSONDecodeError as error:
        raise _broken(path, error.lineno, error) from None
    except RecursionError:
        raise BadAnnotations(f"{path.name}: its records are nested too deeply to be an annotation file.") from None


def _line(path: Path, n: int, line: str) -> Row:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise _broken(path, n, error) from None
    if not isinstance(value, dict):
        raise BadAnnotations(f"{path.name}, line {n}: it must hold a record, not {_short(value)}.")
    return Row(value, f"{path.name}, line {n}")


def _broken(path: Path, line: int, error: json.JSONDecodeError) -> BadAnnotations:
    return BadAnnotations(
        f"{path.name}, line {line}: it is no JSON ({error.msg}, column {error.colno}). Put the official file there "
        "again, it may be cut off."
    )


def _keyed(path: Path, key: str, value: Any) -> Any:
    if isinstance(value, _Record):
        value.setdefault("key", key)
    return value


def _csv(path: Path, text: str) -> Iterator[Row]:
    reader = csv.DictReader(StringIO(text, newline=""), strict=True)
    try:
        for values in reader:
            row = Row(values, f"{path.name}, line {reader.line_num}")
            if None in values:
                last = str((reader.fieldnames or ["?"])[-1])
                raise row.wrong(last, "is followed by more values than there are fields")
            yield row
    except csv.Error as error:
        raise BadAnnotations(f"{path.name}, line {reader.line_num}: it is no CSV ({error}).") from None


def _parquet(path: Path) -> Iterator[Row]:
    try:
        table = pq.read_table(path)
    except (OSError, ValueError) as error:
        raise BadAnnotations(
            f"{path.name}: it is no parquet file ({error}). Put the official file there again."
        ) from None
    for n, values in enumerate(table.to_pylist(), 1):
        yield Row(values, f"{path.name}, row {n}")


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadAnnotations(f"{path.name} is larger than {MAX_BYTES >> 20} MiB: no benchmark's file is.")
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise BadAnnotations(f"{path.name}, line {line}: it is not UTF-8. Put the official file there again.") from None
    except OSError as error:
        raise BadAnnotations(f"{path.name} cannot be read ({error.strerror}).") from None


def _place(name: str, value: Any) -> str:
    line = getattr(value, "line", 0)
    return f"{name}, line {line}" if line else name


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
