"""One question of a benchmark in files: what is asked, what is right, and what is not independent of it.

Prompts are ours and versioned, so the numbers are not those of a leaderboard.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_uppercase
from typing import Literal

from tempo_core.benchmarks import answers
from tempo_core.benchmarks.answers import Read
from tempo_core.benchmarks.folders import VideoName
from tempo_core.benchmarks.rows import Row
from tempo_core.types import Asked

PROMPT_VERSION = 1

YES_NO = ("yes", "no")

Form = Literal["letters", "labels", "yes_no"]


@dataclass(frozen=True, slots=True)
class Item:
    """A question about one video. `truth` holds every right place in `options` (one text may stand there twice)."""

    video: VideoName
    question: str
    options: tuple[str, ...]
    truth: tuple[int, ...]
    tasks: tuple[str, ...]
    """Figures that it counts in beside the whole."""
    group: str
    """Ties questions about the same source footage."""
    part: str = "accuracy"
    """The figure that it counts in as a whole."""
    unit: str = ""
    """Questions of one unit are right together or not at all (Vinoground)."""
    form: Form = "letters"
    labels: tuple[str, ...] = ()
    word: str = ""
    """Said before a label: Option, Sentence, Caption."""
    seconds: tuple[float, float] | None = None
    """The stretch of the video that is asked about."""
    id: str = ""

    def prompt(self) -> str:
        """What the model is asked."""
        if self.form == "yes_no":
            return f"{self.question}\nReply yes or no."
        lines = [f"{label}. {text}" for label, text in zip(self.labels, self.options, strict=True)]
        if self.form == "labels":
            lines = [f"{self.word} {label}: {text}" for label, text in zip(self.labels, self.options, strict=True)]
        reply = "Reply with one letter." if self.form == "letters" else "Reply with the label."
        return "\n".join((self.question, *lines, reply))

    def parse(self, text: str) -> Read:
        """Which option an answer chose."""
        return answers.yes_no(text) if self.form == "yes_no" else answers.choice(text, self.labels, self.options)

    def asked(self, video: str = "", numbers: tuple[int, ...] = ()) -> Asked:
        """For people who look at the answer: options with their labels, and the right ones in words."""
        lines = [f"{label}. {text}" for label, text in zip(self.labels, self.options, strict=False)]
        options = tuple(lines) or self.options
        return Asked(self.question, options, " or ".join(options[place] for place in self.truth), video, numbers)

    @property
    def chance(self) -> float:
        return 1 / len(self.options)


@dataclass(frozen=True, slots=True)
class Annotations:
    """What a benchmark's files hold: every sound question, and a sentence for each kind that was left out."""

    items: tuple[Item, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def letters(options: Sequence[str]) -> tuple[str, ...]:
    return tuple(ascii_uppercase[: len(options)])


def identified(benchmark: str, items: Iterable[Item]) -> tuple[Item, ...]:
    """The items with their labels and ids: a hash of benchmark, video, question and options.

    A question that the file holds twice gets another id the second time, so that both are asked and counted.
    """
    found, seen = [], dict[str, int]()
    for item in items:
        labels = item.labels or (() if item.form == "yes_no" else letters(item.options))
        said = json.dumps([benchmark, str(item.video), item.question, item.options, item.seconds])
        name = hashlib.sha256(said.encode()).hexdigest()[:16]
        seen[name] = seen.get(name, 0) + 1
        found.append(replace(item, labels=labels, id=name if seen[name] == 1 else f"{name}-{seen[name]}"))
    return tuple(found)


_LETTERED = re.compile(r"\(?([A-Z])[.):] *(.*)")


def lettered(row: Row, field: str) -> tuple[str, tuple[str, ...]]:
    """A question whose last lines are its options ("A. dunking", "(B) passing"), taken apart."""
    lines = [line.strip() for line in row.text(field).strip().split("\n")]
    first = next((i for i, line in enumerate(lines) if (m := _LETTERED.fullmatch(line)) and m[1] == "A"), len(lines))
    options = []
    for line, letter in zip(lines[first:], ascii_uppercase, strict=False):
        match = _LETTERED.fullmatch(line)
        if match is None or match[1] != letter:
            raise row.wrong(field, f"has {line!r} where option {letter} is due")
        options.append(match[2].strip())
    question = "\n".join(line for line in lines[:first] if line)
    if len(options) < 2 or not question:
        raise row.wrong(field, "holds no question with two lettered options or more, a line each")
    return question, tuple(options)


def places(options: Sequence[str], right: str) -> tuple[int, ...]:
    """Every place where the right text stands."""
    return tuple(i for i, option in enumerate(options) if option.strip() == right.strip())
