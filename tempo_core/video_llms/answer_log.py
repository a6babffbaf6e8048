"""What a server has said in one job, a line each, written as it comes in.

The one thing to know: answers reach the database a batch at a time, and a process may be killed in between. What
another process has computed, and perhaps charged for, is read from here and not asked again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from tempo_core.types import Answer


class AnswerLog:
    """Answers by the bytes of their question. Without a path they are kept in memory only."""

    def __init__(self, path: Path | None = None) -> None:
        self._path, self._lock = path, threading.Lock()
        self._file: BinaryIO | None = None
        self._answers = {} if path is None or not path.exists() else dict(_lines(path.read_bytes()))

    def get(self, question: bytes) -> Answer | None:
        return self._answers.get(_key(question))

    def keep(self, question: bytes, answer: Answer) -> None:
        """From any thread; on the disk's way before the next question is asked."""
        line = json.dumps({"question": _key(question), **asdict(answer)}).encode()
        with self._lock:
            self._answers[_key(question)] = answer
            if self._path is not None:
                # Begun with a line break: the line before may have been broken off when a process was killed.
                self._opened(self._path).write(b"\n" + line + b"\n")

    def done(self) -> None:
        """All answers are in the database: they need not lie here too."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
            if self._path is not None:
                self._path.unlink(missing_ok=True)

    def _opened(self, path: Path) -> BinaryIO:
        if self._file is None:
            self._file = path.open("ab", buffering=0)
        return self._file


def _key(question: bytes) -> str:
    return hashlib.sha256(question).hexdigest()


def _lines(data: bytes) -> list[tuple[str, Answer]]:
    found = []
    for line in data.split(b"\n"):
        try:
            values = json.loads(line)
            found.append((values.pop("question"), Answer(**values)))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # an empty line, or one that was broken off: its question is asked again
    return found
