"""Captions that data sets bring along: JSONL and CSV manifests, and the layout of LLaVA-Video-178K.

A manifest has `video`, `caption` and, where the caption is about a part of the video, `start_s` and `end_s`; one row a
clip or one a video, other columns are passed over. LLaVA-Video-178K is a JSON list (or lines) of `{"id", "video",
"data_source", "conversations": [{"from": "human", "value"}, {"from": "gpt", "value": the caption}]}`, always about the
whole video. A file is read whole or refused whole; it comes from elsewhere, so everything in it has a limit.
"""

from __future__ import annotations

import codecs
import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from tempo_core.errors import TooFew
from tempo_core.exchange.llava import BadLine

MOST_BYTES = 1_000_000
"""Of one line or record."""
MOST_RECORDS = 200_000
MOST_CHARACTERS = 20_000
"""Of one caption or name."""

_SPACE = " \t\r\n"
_ROLES = {"human": "human", "user": "human", "gpt": "gpt", "assistant": "gpt"}


@dataclass(frozen=True, slots=True)
class Segment:
    """One caption: of `[start_s, end_s)` of a video, or of the whole video where both are None.

    `line` counts from 1: lines of a manifest, records of a list. `video` is the name that the file uses.
    """

    line: int
    video: str
    caption: str
    start_s: float | None = None
    end_s: float | None = None


def parse(stream: BinaryIO, *, is_csv: bool = False) -> tuple[Segment, ...]:
    """Read every caption of a file.

    Raises:
        BadLine: The first record that breaks a rule; nothing of the file counts then.
        TooFew: There is no caption in it.
    """
    found: list[Segment] = []
    for number, values in _rows(stream) if is_csv else _records(stream):
        if len(found) >= MOST_RECORDS:
            _bad(number, f"more than {MOST_RECORDS:,} records", "split the file")
        found.append(_segment(number, values))
    if not found:
        raise TooFew('The file holds no caption. Each record is {"video", "start_s", "end_s", "caption"}.')
    return tuple(found)


def _segment(number: int, values: Mapping[str, Any]) -> Segment:
    video = _text(number, "video", values.get("video"))
    if "conversations" in values or "messages" in values:
        return Segment(number, video, _said(number, values.get("conversations", values.get("messages"))))
    caption = _text(number, "caption", values.get("caption"))
    start_s, end_s = (_seconds(number, name, values.get(name)) for name in ("start_s", "end_s"))
    if (start_s is None) != (end_s is None):
        _bad(number, f"start_s is {start_s}, end_s is {end_s}", "give both, or neither for a whole video")
    if start_s is not None and end_s is not None and not 0 <= start_s < end_s:
        _bad(
            number, f"start_s is {start_s:g}, end_s is {end_s:g}", "a caption begins at 0 or later and ends after that"
        )
    return Segment(number, video, caption, start_s, end_s)


def _said(number: int, turns: Any) -> str:
    """The one answer of a conversation that asks for a description."""
    roles = (
        [_ROLES.get(str(turn.get("from", turn.get("role")))) for turn in turns if isinstance(turn, dict)]
        if isinstance(turns, list)
        else []
    )
    if roles != ["human", "gpt"]:
        rule = "a caption is one request and one answer; questions and answers are read in by python -m jobs sft FILE"
        _bad(number, f"a conversation of {len(turns) if isinstance(turns, list) else 'no'} texts", rule)
    return _text(number, "the answer", turns[1].get("value", turns[1].get("content")))


def _text(number: int, name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        _bad(number, f"{name} is {_shown(value)}", "it is a text and not empty")
    if len(value) > MOST_CHARACTERS:
        _bad(number, f"{name} has {len(value):,} characters", f"{MOST_CHARACTERS:,} are taken")
    # JSON can spell half a character, which no file and no database can hold.
    if any("\ud800" <= c <= "\udfff" or c == "\0" for c in value):
        _bad(number, f"{name} {_shown(value)} holds half a character or a zero", "write it anew")
    return value.strip()


def _seconds(number: int, name: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        _bad(number, f"{name} is {_shown(value)}", "it is a number of seconds from the video's beginning")
    return seconds


# -- the three containers --------------------------------------------------------------------------------------------


def _rows(stream: BinaryIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(_lines(stream))
    try:
        missing = {"video", "caption"} - set(reader.fieldnames or ())
        if missing:
            _bad(1, f"no column {' and no column '.join(sorted(missing))}", "the first line names the columns")
        for row in reader:
            if None in row:
                _bad(reader.line_num, "more fields than columns", "put texts with commas in double quotes")
            yield reader.line_num, row
    except csv.Error as error:
        _bad(reader.line_num, f"no CSV ({error})", "put texts with commas in double quotes and close every quote")


def _lines(stream: BinaryIO) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    number = 0
    while line := stream.readline(MOST_BYTES + 1):
        number += 1
        if len(line) > MOST_BYTES:
            _bad(number, f"a line of more than {MOST_BYTES:,} bytes", "each caption has a line of its own")
        yield _decoded(decoder, line, number)


def _records(stream: BinaryIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of a JSON list, or of JSON lines; never more than two records in memory."""
    start = stream.read(MOST_BYTES).removeprefix(codecs.BOM_UTF8).lstrip(_SPACE.encode())[:1]
    stream.seek(0)
    if start == b"[":
        yield from _list(stream)
        return
    for number, line in enumerate(_lines(stream), 1):
        if line.strip():
            yield number, _object(number, line)


def _object(number: int, line: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = getattr(error, "msg", "nested too deeply")
        _bad(number, f"{_shown(line.strip())} is no JSON ({why})", "write one whole JSON object on each line, or a CSV")
    return _mapping(number, value)


def _list(stream: BinaryIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    text = _Text(stream)
    text.take("[", 1)
    number = 0
    while True:
        number += 1
        if text.peek(number) == "]":
            text.take("]", number)
            break
        if number > 1:
            text.take(",", number)
        yield number, _mapping(number, text.value(number))
    if text.peek(number):
        _bad(number, "text after the list", "the file is one JSON list")


class _Text:
    """A JSON list read piece by piece."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._decoder = stream, codecs.getincrementaldecoder("utf-8-sig")()
        self._json, self._text, self._at, self._ended = json.JSONDecoder(), "", 0, False

    def peek(self, number: int) -> str:
        """The next sign that is no space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more(number)

    def take(self, sign: str, number: int) -> None:
        found = self.peek(number)
        if found != sign:
            what = f"{found!r}" if found else "the end of the file"
            _bad(number, f"{what} where {sign!r} belongs", "the file is one JSON list; it may be broken off")
        self._at += 1

    def value(self, number: int) -> Any:
        self.peek(number)
        while True:
            try:
                value, self._at = self._json.raw_decode(self._text, self._at)
                return value
            except RecursionError:
                _bad(number, "nested too deeply", "a record is flat")
            except ValueError as error:
                if self._ended or len(self._text) - self._at > MOST_BYTES:
                    _bad(number, f"no JSON ({getattr(error, 'msg', error)})", "the file is one JSON list of objects")
                self._more(number)

    def _more(self, number: int) -> None:
        data = self._stream.read(MOST_BYTES)
        self._ended = not data
        self._text, self._at = self._text[self._at :] + _decoded(self._decoder, data, number, final=not data), 0


def _decoded(decoder: codecs.IncrementalDecoder, data: bytes, number: int, *, final: bool = False) -> str:
    try:
        return decoder.decode(data, final)
    except UnicodeDecodeError as error:
        _bad(number, f"byte {data[error.start : error.start + 1]!r} is no UTF-8", "save the file as UTF-8")


def _mapping(number: int, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        _bad(number, f"{_shown(value)} is no object", 'write {"video", "start_s", "end_s", "caption"}')
    return value


def _bad(number: int, value: str, rule: str) -> NoReturn:
    raise BadLine(f"Record {number}: {value}: {rule}. Nothing of the file was read in.")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
