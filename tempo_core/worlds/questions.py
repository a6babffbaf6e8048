"""Questions about a drawn video, with true answers, and what an SFT set is made of.

Nothing but the video gives an answer away: places of the right option are drawn evenly, every option of a question
about time names an event of the same video, and the actions come as two pairs of opposites.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tempo_core.worlds.vocabulary import ACTIONS, DESCRIBE, OPPOSITE
from tempo_core.worlds.world import Event, WorldVideo, caption

TEMPORAL = ("after", "before", "first", "last", "earlier")
KINDS = ("content", *TEMPORAL)
CHANCE = {"content": 1 / 4, "after": 1 / 3, "before": 1 / 3, "first": 1 / 3, "last": 1 / 3, "earlier": 1 / 2}


@dataclass(frozen=True, slots=True)
class WorldQuestion:
    """`answer` is one of `options`; all are sentences that the embedded model can read and write."""

    kind: str
    text: str
    options: tuple[str, ...]
    answer: str


def questions(video: WorldVideo, seed: int) -> tuple[WorldQuestion, ...]:
    """One question of each kind about this video; the same seed gives the same questions."""
    rng = _rng(video, seed, "questions")
    return tuple(_question(rng, kind, video.events) for kind in KINDS)


def sft_examples(video: WorldVideo, seed: int, n: int) -> tuple[tuple[str, str], ...]:
    """Questions and true answers: half chronological captions, a quarter about content, a quarter about time."""
    rng = _rng(video, seed, "sft")
    start = rng.randrange(4)
    examples = []
    for i in range(start, start + n):
        kind = ("caption", "content", "caption", rng.choice(TEMPORAL))[i % 4]
        if kind == "caption":
            examples.append((rng.choice(DESCRIBE), caption(video)))
        else:
            question = _question(rng, kind, video.events)
            examples.append((question.text, question.answer))
    return tuple(examples)


def _question(rng: random.Random, kind: str, events: Sequence[Event]) -> WorldQuestion:
    if kind == "content":
        return _about_content(rng, rng.choice(events))
    if kind == "earlier":
        return _about_two(rng, events)
    text, right, asked = _about_place(rng, kind, events)
    wrong = [i for i in range(len(events)) if i not in (right, asked)]
    return _choice(rng, kind, text, str(events[right]), [str(events[i]) for i in rng.sample(wrong, 2)])


def _about_content(rng: random.Random, event: Event) -> WorldQuestion:
    others = [action for action in ACTIONS if action not in (event.action, OPPOSITE[event.action])]
    other = rng.choice(others)
    text = f"What does the {event.thing} do?"
    return _choice(rng, "content", text, event.action, [OPPOSITE[event.action], other, OPPOSITE[other]])


def _about_two(rng: random.Random, events: Sequence[Event]) -> WorldQuestion:
    first, second = sorted(rng.sample(range(len(events)), 2))
    named = [events[first], events[second]]
    rng.shuffle(named)
    text = f"Which comes earlier, {named[0]} or {named[1]}?"
    return _choice(rng, "earlier", text, str(events[first]), [str(events[second])])


def _about_place(rng: random.Random, kind: str, events: Sequence[Event]) -> tuple[str, int, int | None]:
    """The text, which event is right, and which one the question itself names."""
    if kind in ("first", "last"):
        return f"What happens {kind}?", 0 if kind == "first" else len(events) - 1, None
    right = rng.randrange(1, len(events)) if kind == "after" else rng.randrange(len(events) - 1)
    asked = right - 1 if kind == "after" else right + 1
    return f"What happens right {kind} the {events[asked]}?", right, asked


def _choice(rng: random.Random, kind: str, text: str, right: str, wrong: Sequence[str]) -> WorldQuestion:
    options = [f"{option}." for option in (right, *wrong)]
    rng.shuffle(options)
    return WorldQuestion(kind, text, tuple(options), f"{right}.")


def _rng(video: WorldVideo, seed: int, use: str) -> random.Random:
    return random.Random(f"tempo-{use}-1|{seed}|{video.seed}|{video.index}")
