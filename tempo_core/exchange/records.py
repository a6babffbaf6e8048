"""The records of a JSONL, JSON or parquet file one after the other, within fixed limits whatever its size.

A bad line of JSONL is told and read past; a bad place in a list cannot be read past, so the file is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tempo_core.errors import TempoError
from tempo_core.types import JsonDict

LONGEST_RECORD = 1_000_000
"""Bytes (our choice): a pair of two answers of 20,000 characters and all that is known of it is a tenth."""
MOST_RECORDS = 200_000
CHUNK = 1 << 16
SPACE = " \t\r\n"
ROWS_AT_ONCE = 256

Numbered = Iterator[tuple[int, JsonDict | str]]
"""(number from 1, the record or the reason why there is none)."""


class BadFile(TempoError):
    """A file that cannot be read to its end; nothing of it was imported."""


def records(path: Path, limit: int | None = None) -> Numbered:
    """Every record of the file, at most `limit` of them.

    Raises:
        BadFile: With the place and the way out. More than `MOST_RECORDS` are too many.
    """
    for number, (place, record) in enumerate(_opened(path), start=1):
        if limit is not None and number > limit:
            return
        if number > MOST_RECORDS:
            raise BadFile(f"{path.name} holds more than {MOST_RECORDS:,} records. Split it into several files.")
        yield place, record


def _opened(path: Path) -> Numbered:
    try:
        if path.suffix == ".parquet":
            yield from _rows(path)
        elif _first_sign(path) == "[":
            yield from _listed(path)
        else:
            yield from _lines(path)
    except OSError as error:
        raise BadFile(f"{path} cannot be read ({error.strerror or error}). Name a file that may be read.") from None


def _first_sign(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(CHUNK).decode("utf-8-sig", "replace").lstrip(SPACE)[:1]


# ---- one record a line ----------------------------------------------------------------------------------------------
def _lines(path: Path) -> Numbered:
    """Lines that are empty are counted and passed over, so that numbers are those an editor shows."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_RECORD + 1):
            number += 1
            if len(line) > LONGEST_RECORD:
                _pass_over(file, line)
                yield number, f"longer than {LONGEST_RECORD:,} bytes"
            elif line.strip():
                yield number, _object(line, first=number == 1)


def _pass_over(file: IO[bytes], line: bytes) -> None:
    """To the end of a line that nobody should hold in memory."""
    while line and not line.endswith(b"\n"):
        line = file.readline(LONGEST_RECORD)


def _object(line: bytes, *, first: bool) -> JsonDict | str:
    try:
        value = _DECODER.decode(line.decode("utf-8-sig" if first else "utf-8").strip(SPACE))
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} is no UTF-8"
    except (ValueError, RecursionError) as error:
        return _reason(error)
    return value if isinstance(value, dict) else "it is no JSON object"


def _reason(error: Exception) -> str:
    told = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return "nested too deeply" if isinstance(error, RecursionError) else f"it is no JSON ({told})"


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


# ---- one list -------------------------------------------------------------------------------------------------------
def _listed(path: Path) -> Numbered:
    """The objects of a list, each decoded once it lies in memory whole."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        window = _Window(path, file)
        window.sign("[")
        number = 0
        while window.peek() != "]":
            if number:
                window.sign(",")
            number += 1
            value = window.value(number)
            yield number, value if isinstance(value, dict) else "it is no JSON object"


class _Window:
    """A piece of a text file that slides along; it holds at most one record and what was read with it."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path, self._file, self._text, self._number = path, file, "", 0

    def peek(self) -> str:
        """The next sign that is no space."""
        self._text = self._text.lstrip(SPACE)
        while not self._text:
            if not (more := self._more()):
                raise self._bad("it ends before its list does")
            self._text = more.lstrip(SPACE)
        return self._text[0]

    def sign(self, wanted: str) -> None:
        if (there := self.peek()) != wanted:
            raise self._bad(f"{there!r} stands where {wanted!r} must")
        self._text = self._text[1:]

    def value(self, number: int) -> Any:
        self._number = number
        self.peek()
        step = CHUNK
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text)
            except (ValueError, RecursionError) as error:
                # It may only be cut off. Twice as much each time, so that a long record is not decoded too often.
                if len(self._text) > LONGEST_RECORD:
                    raise self._bad(f"it is longer than {LONGEST_RECORD:,} characters, or {_reason(error)}") from None
                more = self._more(step)
                step *= 2
                if not more:
                    raise self._bad(_reason(error)) from None
                self._text += more
                continue
            self._text = self._text[end:]
            return value

    def _more(self, n: int = CHUNK) -> str:
        try:
            return self._file.read(n)
        except UnicodeDecodeError:
            raise self._bad("it is no UTF-8") from None

    def _bad(self, why: str) -> BadFile:
        place = f"record {self._number}" if self._number else "its beginning"
        return BadFile(f"{self._path.name}, {place}: {why}. Write the file anew; nothing of it was imported.")


# ---- rows -----------------------------------------------------------------------------------------------------------
def _rows(path: Path) -> Numbered:
    """Rows of a parquet file, a batch at a time. Columns that a row does not fill are left out."""
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {name: value for name, value in row.items() if _is_json(value)}
    except pa.ArrowException as error:
        raise BadFile(f"{path.name} is no parquet file that can be read ({str(error)[:200]}).") from None


def _is_json(value: Any) -> bool:
    """Pictures and dates are no part of a pair."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
