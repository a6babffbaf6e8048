"""Values of records from elsewhere: each is asked for by name, and what is not as it should be says so."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tempo_core.exchange.base import Unreadable

LONGEST_TEXT = 20_000
"""Characters of a prompt or an answer (our choice: thirty times an ordinary description)."""
SHOWN = 60
_UNUSABLE = re.compile("[\0\ud800-\udfff]")


def shown(value: Any) -> str:
    """The beginning of a value, for a message."""
    text = json.dumps(value, default=str)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def text(record: Any, name: str) -> str:
    """A text that a database and a file can hold, of at most `LONGEST_TEXT` characters."""
    value = record.get(name) if isinstance(record, Mapping) else None
    return checked(value, name)


def checked(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise Unreadable(f"{name} is {shown(value)}, not a text")
    if len(value) > LONGEST_TEXT:
        raise Unreadable(f"{name} has {len(value):,} characters, at most {LONGEST_TEXT:,} are taken")
    # JSON can spell half a character, which no file and no database can hold.
    if _UNUSABLE.search(value):
        raise Unreadable(f"{name} holds half a character or a zero")
    return value


def objects(record: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    """A list of objects."""
    value = record.get(name)
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise Unreadable(f"{name} is {shown(value)}, not a list of objects")
    return value


def one_video(record: Mapping[str, Any], name: str) -> str:
    """The name of the one video, given as a text or as a list of one."""
    value = record.get(name)
    if isinstance(value, list) and len(value) != 1:
        raise Unreadable(f"{name} has {len(value)} entries; a pair is about one video")
    path = value[0] if isinstance(value, list) else value
    if not isinstance(path, str) or not path.strip():
        raise Unreadable(f"{name} is {shown(value)}, not the path of a video")
    return checked(path, name)


def untagged(prompt: str, tag: str) -> str:
    """A prompt without the mark that says where the video goes: here the video always comes first.

    Everything else stays as it is, so that a pair that comes back is known by its texts.
    """
    if prompt.count(tag) > 1:
        raise Unreadable(f"the prompt has {prompt.count(tag)} {tag}; a pair is about one video")
    if prompt.startswith(tag):
        return prompt.removeprefix(tag).removeprefix("\n")
    return prompt.replace(tag, "").strip() if tag in prompt else prompt


def rest(record: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """What a record says besides, such as scores; kept with the pair if it is not long and a database can hold it."""
    return {
        str(name)[:SHOWN]: value
        for name, value in record.items()
        if name not in known and value is not None and _can_be_kept({str(name): value})
    }


def _can_be_kept(one: Mapping[str, Any]) -> bool:
    """JSON can spell half a character and, as 1e999, a number without end; no file and no database holds those."""
    try:
        written = json.dumps(one, default=str, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return len(written) <= LONGEST_TEXT and b"\\u0000" not in written
