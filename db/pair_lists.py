"""Lists of pairs: pages that follow each other by key, and what each facet holds. Found in memory, read by id.

A page costs the same wherever it lies, and a pair that goes or comes while somebody pages moves no other page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import pair_filters, pair_masks
from db.pair_columns import STATUSES, Mask, Numbers, PairColumns, columns
from db.pair_filters import NO_FILTER, PairFilter
from db.tables import ModelRow, PairRow, PlanRow, VideoRow

Order = Literal["id", "hardest"]
Key = tuple[float, int] | int | None
FIRST_LOOK, LONGEST_LOOK = 400, 3_000
"""Hits of a search that are looked at, before all of them are read and remembered."""


@dataclass(frozen=True, slots=True)
class PairLine:
    """A pair in a list; `chosen` and `rejected` are the beginnings of the answers."""

    id: int
    video_id: int
    video_name: str
    kind: str
    magnitude: int | None
    difficulty: float | None
    n_clips: int | None
    status: str
    version: int
    chosen: str
    rejected: str
    length_ratio: float | None
    timeline_id: int | None
    order: tuple[int, ...]
    level: int | None = None


@dataclass(frozen=True, slots=True)
class PairPage:
    """`first` is the number of the first line in the whole list, from 1; None where a search was not counted."""

    lines: tuple[PairLine, ...]
    first: int | None
    has_before: bool
    has_after: bool


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Pairs of a filter, by status, kind and magnitude ("" for none)."""

    total: int
    status: dict[str, int]
    kind: dict[str, int]
    magnitude: dict[str, int]


@dataclass(frozen=True, slots=True)
class Facets:
    """What the filter holds (`total`, `pending`), and what each value of a facet would hold under the other facets.

    `capped`: the search has more hits than were counted, so every number is a least one.
    """

    total: int
    capped: bool
    by_status: dict[str, int]
    status: dict[str, int]
    kinds: dict[str, int]
    magnitudes: dict[int, int]
    levels: dict[int, int]
    models: dict[int, int]
    inputs: dict[str, int]
    rules: dict[str, int]
    by: dict[str, int]
    edited: int
    withdrawn: int
    model_names: dict[int, str]


def page(
    session: Session, wanted: PairFilter = NO_FILTER, after: Key = None, limit: int = 50, order: Order = "id"
) -> list[PairLine]:
    """One page; the next begins after `key_of` its last line."""
    return list(listed(session, wanted, after=after, limit=limit, order=order).lines)


def listed(
    session: Session,
    wanted: PairFilter = NO_FILTER,
    *,
    after: Key = None,
    before: Key = None,
    limit: int = 50,
    order: Order = "id",
) -> PairPage:
    """The page after a key, or the one that ends before a key. `hardest` ranks a search among its first hits."""
    c = columns(session)
    if wanted.search.strip() and order == "id":
        found, has_before, has_after = _searched(session, c, wanted, after, before, limit)
        return PairPage(_lines(session, c, wanted, found), None, has_before, has_after)
    there = pair_masks.chosen(session, c, wanted)
    places = c.by_difficulty[there[c.by_difficulty]] if order == "hardest" else np.flatnonzero(there)
    end = len(places) if before is None else _place(c, places, before, order, "left")
    start = _place(c, places, after, order, "right") if before is None else max(0, end - limit)
    shown = places[start : min(end, start + limit)]
    lines = _lines(session, c, wanted, c.ids[shown].tolist())
    return PairPage(lines, start + 1, start > 0, start + len(shown) < len(places))


def _place(c: PairColumns, places: Numbers, key: Key, order: Order, side: Literal["left", "right"]) -> int:
    """Where in the list a key stands, also of a pair that is no longer in it."""
    if key is None:
        return 0
    value, pair_id = key if isinstance(key, tuple) else (-1.0, key)
    if order == "id":
        return int(np.searchsorted(c.ids[places], pair_id, side))
    hard = -np.nan_to_num(c.difficulty[places], nan=-1.0)
    first, last = np.searchsorted(hard, -value, "left"), np.searchsorted(hard, -value, "right")
    return int(first + np.searchsorted(c.ids[places[first:last]], pair_id, side))


def _searched(
    session: Session, c: PairColumns, wanted: PairFilter, after: Key, before: Key, limit: int
) -> tuple[list[int], bool, bool]:
    """(ids, whether some come before, whether some come after), reading as few hits as it takes."""
    passing = pair_masks.both(c, list(pair_masks.parts(session, c, wanted).values()))
    if before is not None:
        found = _hits(session, c, wanted.search, passing, _id_of(before), limit + 1, backwards=True)
        return found[:limit][::-1], len(found) > limit, True
    start = 0 if after is None else _id_of(after)
    found = _hits(session, c, wanted.search, passing, start, limit + 1)
    return found[:limit], after is not None, len(found) > limit


def _hits(
    session: Session, c: PairColumns, words: str, passing: Mask, beyond: int, n: int, *, backwards: bool = False
) -> list[int]:
    """Up to `n` ids of pairs that hold the words and pass, beyond an id. Reads all hits only where few of them pass."""
    look = max(FIRST_LOOK, int(2 * n * len(c) / max(1, passing.sum())))
    if words not in c.hits and look <= LONGEST_LOOK:
        # About as many hits as hold a page, if words and facets have nothing to do with each other.
        hits = pair_masks.search(session, words, beyond=beyond, limit=look, backwards=backwards)
        at = c.places(hits)
        first: list[int] = c.ids[at[passing[at]]].tolist()
        if len(first) >= n or len(hits) < look:
            return first[:n]
    at = pair_masks.every_hit(session, c, words)
    ids = c.ids[at[passing[at]]]
    before, after = np.searchsorted(ids, beyond, "left"), np.searchsorted(ids, beyond, "right")
    found: list[int] = (ids[:before][::-1] if backwards else ids[after:])[:n].tolist()
    return found


def _id_of(key: Key) -> int:
    return key[1] if isinstance(key, tuple) else key or 0


def _lines(session: Session, c: PairColumns, wanted: PairFilter, pair_ids: Sequence[int]) -> tuple[PairLine, ...]:
    p = PairRow
    asked: tuple[Any, ...] = (
        p.id, p.video_id, VideoRow.name, p.kind, p.magnitude, p.difficulty, p.n_clips, p.status, p.version,
        func.substr(p.chosen, 1, 160), func.substr(p.rejected, 1, 160), p.length_ratio, PlanRow.timeline_id,
        PlanRow.clip_order,
    )  # fmt: skip
    query = select(*asked).join(VideoRow, VideoRow.id == p.video_id).outerjoin(PlanRow, PlanRow.id == p.plan_id)
    rows = {row[0]: row for row in session.execute(query.where(p.id.in_(pair_ids)))}
    levels = pair_masks.levels(c, wanted)[c.places(pair_ids)] if pair_ids else ()
    return tuple(_line(rows[i], int(level) or None) for i, level in zip(pair_ids, levels, strict=True) if i in rows)


def _line(row: Any, level: int | None) -> PairLine:
    about: tuple[Any, ...] = (*row[:-1], tuple(row[-1] or ()), level)
    return PairLine(*about)


def key_of(line: PairLine) -> tuple[float, int]:
    """Where the page after (or before) this line begins, for either order."""
    return (-1.0 if line.difficulty is None else line.difficulty, line.id)


def count(session: Session, wanted: PairFilter = NO_FILTER) -> int:
    """Exact, whatever the search."""
    if wanted.search.strip():
        return pair_filters.count(session, wanted)
    return int(pair_masks.chosen(session, columns(session), wanted).sum())


def counts(session: Session, wanted: PairFilter = NO_FILTER) -> PairCounts:
    """Of a search among its first hits."""
    c = columns(session)
    there = pair_masks.chosen(session, c, wanted)
    magnitude = {("" if value < 0 else str(value)): n for value, n in _values(c.magnitude[there])}
    return PairCounts(int(there.sum()), _named(STATUSES, c.status[there]), _named(c.kinds, c.kind[there]), magnitude)


def facets(session: Session, wanted: PairFilter = NO_FILTER) -> Facets:
    c = columns(session)
    asked = pair_masks.parts(session, c, wanted)
    hits, capped = pair_masks.searched(session, c, wanted)

    def without(name: str) -> Mask:
        return pair_masks.both(c, [*hits, *(mask for field, mask in asked.items() if field != name)])

    there, models, rules = without(""), _values(c.model_id[without("model_id")]), without("rule")
    by, edited = without("by"), without("edited")
    names = {i: name for i, name in session.execute(select(ModelRow.id, ModelRow.name))}
    return Facets(
        total=int(there.sum()),
        capped=capped,
        by_status=_named(STATUSES, c.status[there]),
        status=_named(STATUSES, c.status[without("status")]),
        kinds=_named(c.kinds, c.kind[without("kinds")]),
        magnitudes={value: n for value, n in _values(c.magnitude[without("magnitudes")]) if value > 0},
        levels={value: n for value, n in _values(pair_masks.levels(c, wanted)[without("levels")]) if value},
        models={value: n for value, n in models if value > 0},
        inputs=_named(c.inputs, c.input[without("input")]),
        rules={rule: int((rules & pair_masks.failing(c, rule)).sum()) for rule in sorted(c.rules)},
        by={how: int((by & pair_masks.made(c, how)).sum()) for how in ("person", "bulk")},
        edited=int((edited & c.edited).sum()),
        withdrawn=int((without("withdrawn") & pair_masks.withdrawn(session, c)).sum()),
        model_names=names,
    )


def _values(found: Numbers) -> list[tuple[int, int]]:
    """(value, how often), rising."""
    n = np.bincount(found + 1)
    return [(int(value) - 1, int(n[value])) for value in np.flatnonzero(n)]


def _named(words: Sequence[str], codes: Numbers) -> dict[str, int]:
    n = np.bincount(codes[codes >= 0], minlength=len(words))
    return {word: int(n[i]) for i, word in sorted(enumerate(words), key=lambda each: each[1]) if n[i]}
