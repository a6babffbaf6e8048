"""Conversations about videos in the form LLaVA made common, one JSON object a line, read into questions and answers.

A file is read whole or refused whole: an error names the line, its value, the rule and the way out. Nothing here
opens a video; whose bytes a path means is decided by who asks for the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tempo_core.errors import TempoError, TooFew
from tempo_core.exchange.base import MEDIA_TAG

TAG = "<video>"
ROLES = {"human": "human", "user": "human", "gpt": "gpt", "assistant": "gpt"}


class BadLine(TempoError):
    """A line of a file that is not what its format says; nothing of the file is imported."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One question with its answer; `example` is unique in the file."""

    example: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """One line: a video, as the file names it, and what was asked about it. `line` counts from 1."""

    line: int
    video: str
    turns: tuple[Turn, ...]


def parse(lines: Iterable[bytes]) -> tuple[Conversation, ...]:
    """Read all conversations of a file; empty lines are passed over.

    Raises:
        BadLine: The first line that breaks a rule.
        TooFew: There is no conversation in it.
    """
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    found = tuple(_conversation(number, _object(number, line)) for number, line in numbered)
    if not found:
        raise TooFew('The file holds no conversation. Each line is {"id", "video", "conversations": [...]}.')
    return found


def _object(number: int, line: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise _bad(number, f"byte {error.start + 1} is no UTF-8", "save the file as UTF-8") from None
    except (json.JSONDecodeError, RecursionError) as error:
        text = _shown(line.decode(errors="replace").strip())
        why = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise _bad(number, f"{text} is no JSON ({why})", "write one whole JSON object on each line") from None
    if not isinstance(value, dict):
        raise _bad(number, f"{_shown(value)} is no object", 'write {"id", "video", "conversations": [...]}')
    return value


def _conversation(number: int, values: Mapping[str, Any]) -> Conversation:
    name = values.get("id", "line")
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise _bad(number, f"id is {_shown(name)}", "an id is a text or a whole number; leave it out to have none")
    name, video = _text(number, "id", str(name)), _video(number, values)
    # Files in the wild give all lines about one video the same id; the line's number tells them apart.
    turns = [Turn(f"{name}#{number}.{i}", *turn) for i, turn in enumerate(_turns(number, values), start=1)]
    return Conversation(number, video, tuple(turns))


def _video(number: int, values: Mapping[str, Any]) -> str:
    """The one video: `video`, or a list of one, there or under `videos`."""
    if "image" in values or "images" in values:
        raise _bad(number, "it is about an image", "only videos have an order to learn; leave this line out")
    given = values.get("video", values.get("videos"))
    path = given[0] if isinstance(given, list) and len(given) == 1 else given
    if not isinstance(path, str) or not path.strip():
        raise _bad(number, f"video is {_shown(given)}", "each line names one video file")
    return _text(number, "video", path)


def _turns(number: int, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    key = next((key for key in ("conversations", "messages") if key in values), None)
    said = values[key] if key else None
    if not isinstance(said, list) or not said:
        raise _bad(number, f"{key or 'conversations'} is {_shown(said)}", "it is a list of questions and answers")
    texts = [_said(number, place, message) for place, message in enumerate(said)]
    if len(texts) % 2:
        raise _bad(number, f"{len(texts)} texts", "each question is followed by its answer; add the last answer")
    questions = [_question(number, place, text) for place, text in enumerate(texts) if place % 2 == 0]
    return list(zip(questions, [_answer(number, text) for text in texts[1::2]], strict=True))


def _said(number: int, place: int, message: Any) -> str:
    """The text of one message, which must be whose turn it is."""
    due = ("human", "gpt")[place % 2]
    if not isinstance(message, dict):
        raise _bad(number, f"text {place + 1} is {_shown(message)}", 'it is {"from", "value"} or {"role", "content"}')
    role = message.get("from", message.get("role"))
    if (ROLES.get(role) if isinstance(role, str) else None) != due:
        also = ' Texts of "system" are not trained; leave them out.' if role == "system" else ""
        raise _bad(number, f"text {place + 1} is from {_shown(role)}", f"human and gpt take turns, {due} is due.{also}")
    return _text(number, f"text {place + 1}", message.get("value", message.get("content")))


def _question(number: int, place: int, text: str) -> str:
    """Without the mark that says where the video goes: here the video always comes first."""
    n_marks = text.count(TAG)
    if n_marks > 1 or (n_marks and place):
        raise _bad(number, f"text {place + 1} has {n_marks} {TAG}", "a line has one video, marked once, at its start")
    rest = text.replace(TAG, "").strip()
    return _plain(number, rest, f"question {_shown(text)}")


def _answer(number: int, text: str) -> str:
    return _plain(number, text.strip(), f"answer {_shown(text)}")


def _plain(number: int, text: str, what: str) -> str:
    if not text:
        raise _bad(number, f"{what} is empty", "there is nothing to learn from it; leave the line out")
    if mark := MEDIA_TAG.search(text):
        raise _bad(number, f"{what} holds {mark.group()}", "trainers take it for one more picture; take it out")
    return text


def _text(number: int, name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _bad(number, f"{name} is {_shown(value)}", "it is a text")
    # JSON can spell half a character, which no file and no database can hold.
    if any("\ud800" <= c <= "\udfff" or c == "\0" for c in value):
        raise _bad(number, f"{name} {_shown(value)} holds half a character or a zero", "write it anew")
    return value


def _bad(number: int, value: str, rule: str) -> BadLine:
    return BadLine(f"Line {number}: {value}: {rule.removesuffix('.')}. Nothing of the file was imported.")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
