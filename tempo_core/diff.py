"""What a reviewer should see of two answers: which sentences moved, which are gone, which words changed.

Sentences are matched first and words compared inside matched sentences only, because a plain word diff of a
shuffled text is unreadable. The texts of one side, joined, are that answer unchanged.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Literal

from tempo_core.types import JsonDict

LEAST_LIKENESS = 0.34
"""Two sentences that share less than a third of their words are different sentences."""

MOST_COMPARED = 250_000
"""Sentences times sentences, or words times words in one sentence. Beyond it (two answers of 500 sentences, or one
sentence of 500 words) only what is equal is matched, so that no text can hold up the page."""

State = Literal["same", "moved", "missing", "added"]

_CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_SENTENCE = re.compile(r"(?:[.!?]+[\"'”’)\]]*(?=\s)|[。！？]+[”’」』）]*|(?=\n))\s*")
_EVENT = re.compile(r",\s+then\s+")
_LIST_MARK = re.compile(r"\s*(?:\d+[.)]|[-*•])\s*")
_TOKEN = re.compile(rf",\s+then\s+|[{_CJK}]\s*|[^\W{_CJK}]+(?:['’-][^\W{_CJK}]+)*\s*|(?:[^\w\s]|_)\s*|\s+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence (or one event of a list) of one side."""

    n: int
    """Its number on its own side, from 1."""
    to: int | None
    """The number of its partner on the other side."""
    state: State
    """same, moved; or missing (only in the chosen answer), added (only in the rejected one)."""
    words: tuple[tuple[int, str], ...]
    """Pieces of text, each with 1 if its words changed against the partner."""


@dataclass(frozen=True, slots=True)
class Diff:
    """Both sides, and how much of the order was kept: 1 - inverted / all pairs of matched sentences."""

    chosen: tuple[Sentence, ...]
    rejected: tuple[Sentence, ...]
    order_kept: float | None
    """None with fewer than two matched sentences."""

    def as_json(self) -> JsonDict:
        return asdict(self)


def diff(chosen: str, rejected: str) -> Diff:
    """Compare the answer on the clean video with the one on the perturbed video."""
    left, right = sentences(chosen), sentences(rejected)
    partner = _match(left, right)
    in_place = _longest_rise(partner)
    ours = [Sentence(i + 1, None, "missing", ((0, text),)) for i, text in enumerate(left)]
    theirs = [Sentence(j + 1, None, "added", ((0, text),)) for j, text in enumerate(right)]
    for i, j in partner.items():
        state: State = "same" if i in in_place else "moved"
        words, other_words = _changed_words(left[i], right[j])
        ours[i] = Sentence(i + 1, j + 1, state, words)
        theirs[j] = Sentence(j + 1, i + 1, state, other_words)
    return Diff(tuple(ours), tuple(theirs), _order_kept([partner[i] for i in sorted(partner)]))


def sentences(text: str) -> list[str]:
    """The sentences of a text; of a single sentence that lists events ("..., then ..."), the events.

    Separators stay at the end of the piece before, so the pieces joined are the text.
    """
    found = _split(_SENTENCE, text)
    return found if len(found) > 1 else _split(_EVENT, text)


def _split(after: re.Pattern[str], text: str) -> list[str]:
    pieces, start = [], 0
    for match in after.finditer(text):
        piece = text[start : match.end()]
        # "1." and "-" open a list's item, they are no sentence.
        if piece.strip() and not _LIST_MARK.fullmatch(piece):
            pieces.append(piece)
            start = match.end()
    rest = text[start:]
    if rest.strip() or not pieces:
        return [*pieces, rest] if rest else pieces
    return [*pieces[:-1], pieces[-1] + rest]


def _match(left: Sequence[str], right: Sequence[str]) -> dict[int, int]:
    """Partners: equal sentences in turn, then by falling likeness, of equally like ones the nearest."""
    a, b = [_keys(text) for text in left], [_keys(text) for text in right]
    partner = _equal(a, b)
    taken = set(partner.values())
    ours, theirs = [i for i in range(len(a)) if i not in partner], [j for j in range(len(b)) if j not in taken]
    if len(ours) * len(theirs) > MOST_COMPARED:
        return partner
    for _, _, i, j in sorted(_alike([(i, _bag(a[i])) for i in ours], [(j, _bag(b[j])) for j in theirs])):
        if i not in partner and j not in taken:
            partner[i] = j
            taken.add(j)
    return partner


def _equal(a: Sequence[tuple[str, ...]], b: Sequence[tuple[str, ...]]) -> dict[int, int]:
    places: dict[tuple[str, ...], deque[int]] = {}
    for j, keys in enumerate(b):
        places.setdefault(keys, deque()).append(j)
    return {i: places[keys].popleft() for i, keys in enumerate(a) if places.get(keys)}


def _alike(
    ours: Sequence[tuple[int, frozenset[str]]], theirs: Sequence[tuple[int, frozenset[str]]]
) -> Iterator[tuple[float, int, int, int]]:
    for i, bag in ours:
        for j, other in theirs:
            shared = len(bag & other)
            if shared and shared >= LEAST_LIKENESS * (len(bag) + len(other) - shared):
                yield -shared / (len(bag) + len(other) - shared), abs(i - j), i, j


def _keys(text: str) -> tuple[str, ...]:
    return tuple(key for key in map(_key, _TOKEN.findall(text)) if key)


def _key(token: str) -> str:
    """What is compared of a token: its word in small letters; nothing of punctuation, space and ", then"."""
    word = token.strip().casefold().replace("’", "'")
    return word if word[:1].isalnum() else ""


def _bag(keys: Sequence[str]) -> frozenset[str]:
    """Long words tell sentences apart; short ones count only where a sentence is too short to have many of them."""
    long = frozenset(key for key in keys if len(key) > 3)
    return long if len(long) > 3 else frozenset(keys)


def _longest_rise(partner: dict[int, int]) -> set[int]:
    """The largest set of matched sentences that stand in the same order on both sides: those did not move."""
    ends: list[int] = []
    at: list[int] = []
    before: dict[int, int | None] = {}
    for i in sorted(partner):
        place = bisect_left(ends, partner[i])
        ends[place : place + 1] = [partner[i]]
        at[place : place + 1] = [i]
        before[i] = at[place - 1] if place else None
    kept: set[int] = set()
    last = at[-1] if at else None
    while last is not None:
        kept.add(last)
        last = before[last]
    return kept


def _changed_words(a: str, b: str) -> tuple[tuple[tuple[int, str], ...], tuple[tuple[int, str], ...]]:
    left, right = _TOKEN.findall(a), _TOKEN.findall(b)
    places = [i for i, token in enumerate(left) if _key(token)], [j for j, token in enumerate(right) if _key(token)]
    ours, theirs = [_key(left[i]) for i in places[0]], [_key(right[j]) for j in places[1]]
    if len(ours) * len(theirs) > MOST_COMPARED:
        return ((0, a),), ((0, b),)
    kept_left, kept_right = set(), set()
    for start, other, size in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks():
        kept_left.update(places[0][start : start + size])
        kept_right.update(places[1][other : other + size])
    return _joined(left, kept_left), _joined(right, kept_right)


def _joined(tokens: Sequence[str], kept: set[int]) -> tuple[tuple[int, str], ...]:
    """Neighbouring tokens of one kind in one piece."""
    pieces: list[tuple[int, str]] = []
    for i, token in enumerate(tokens):
        changed = int(bool(_key(token)) and i not in kept)
        if pieces and pieces[-1][0] == changed:
            pieces[-1] = (changed, pieces[-1][1] + token)
        else:
            pieces.append((changed, token))
    return tuple(pieces)


def _order_kept(partners: Sequence[int]) -> float | None:
    seen: list[int] = []
    inverted = 0
    for place in partners:
        inverted += len(seen) - bisect_left(seen, place)
        insort(seen, place)
    n_pairs = len(seen) * (len(seen) - 1) // 2
    return 1 - inverted / n_pairs if n_pairs else None
