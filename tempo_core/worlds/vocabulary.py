"""The words of the drawn world: its objects, actions, questions, and every text the embedded model can read.

One object is ONE word ("red circle"), one action too ("moves left"): the tiny model learned sixteen shots only
that way. The order of `WORDS` is the token numbering of the shipped weights: append, never reorder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tempo_core.errors import OutsideVocabulary

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 46, 46),
    "green": (52, 190, 72),
    "blue": (58, 96, 236),
    "yellow": (246, 214, 44),
    "purple": (166, 66, 200),
    "white": (244, 244, 240),
}
SHAPES = ("circle", "square", "triangle", "ring", "cross")
ACTIONS = ("rises", "falls", "moves left", "moves right", "grows", "shrinks", "appears", "vanishes")
OBJECTS = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
OPPOSITE = {
    "rises": "falls", "falls": "rises", "moves left": "moves right", "moves right": "moves left",
    "grows": "shrinks", "shrinks": "grows", "appears": "vanishes", "vanishes": "appears",
}  # fmt: skip
MAX_CLIPS = 16
"""As many clips as the model has seen in one prompt, and as many numbers as it can count."""

DESCRIBE = (
    "What happens in this video, step by step?",
    "Tell the events in the order in which they occur.",
    "List what you see from beginning to end.",
    "Give the story of the clip in sequence.",
    "Which things happen, one after the other?",
    "Recount the video from its first to its last event.",
)
FROM_CAPTIONS = "You are given captions of consecutive clips. Write one caption for the whole video."

SPECIAL = (
    "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>",
    "<|image_pad|>", "<|unk|>",
)  # fmt: skip
PATTERN = "|".join((*OBJECTS, "moves left", "moves right", ", then", r"[\w']+:?", "[.,?]"))
"""What is one word, as a regular expression (also the tokenizer's)."""

_WORD = re.compile(PATTERN)
_QUESTIONS = (
    *DESCRIBE, FROM_CAPTIONS, "What does the", "What happens right after the", "What happens right before the",
)  # fmt: skip
_REST = (
    "first", "last", "happens", "What", "does", "do", "the", "Which", "comes", "or", "Is", "there", "a", "yes", "no",
    "how", "many", "events", "earlier", "later", "?", ".", ",", ", then",
)  # fmt: skip


def words(text: str) -> list[str]:
    """The words of a text, known or not; white space separates and is dropped."""
    found, at = [], 0
    for match in _WORD.finditer(text):
        found += text[at : match.start()].split()
        found.append(match.group())
        at = match.end()
    return found + text[at:].split()


def unknown(text: str) -> tuple[str, ...]:
    """The words of a text that the embedded model does not know, each once."""
    return tuple(dict.fromkeys(word for word in words(text) if word not in _KNOWN))


def check(text: str) -> None:
    """Refuse a text that the embedded model cannot read.

    Raises:
        OutsideVocabulary: Names the unknown words; nothing is ever read as padding.
    """
    if strange := unknown(text):
        shown = ", ".join(repr(word) for word in strange[:8]) + (" ..." if len(strange) > 8 else "")
        raise OutsideVocabulary(
            f"The embedded model does not know {shown}. It reads only the {len(WORDS)} words of the drawn world; "
            "use a prompt of the embedded set, or load another model for free text."
        )


def from_captions(captions: Sequence[str]) -> str:
    """The question that lists clip captions in order, numbered as the embedded model was taught."""
    listed = " ".join(f"{i}: {caption.rstrip(' .')}" for i, caption in enumerate(captions, start=1))
    return f"{FROM_CAPTIONS} {listed}"


def _all_words() -> tuple[str, ...]:
    numbers = [f"{i}:" for i in range(1, MAX_CLIPS + 1)]
    asked = [word for question in _QUESTIONS for word in words(question)]
    return tuple(dict.fromkeys([*SPECIAL, *OBJECTS, *ACTIONS, *numbers, *asked, *_REST]))


WORDS = _all_words()
_KNOWN = frozenset(WORDS) - frozenset(SPECIAL)
