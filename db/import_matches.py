"""Where a pair from elsewhere belongs: which video it means, which plan it was made with, whether it is here already.

Nothing is written and no file is opened. A video is its bytes; a name of a file only leads to one that the library
holds, and a name that leads to several leads to none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import standings, withdrawals
from db.standings import Standing
from db.tables import LibraryRow, LocationRow, PairRow, TimelineRow, VideoRow, canonical
from tempo_core import filters
from tempo_core.exchange import ForeignPair
from tempo_core.exchange.reading import Found
from tempo_core.exchange.sidecar import Returned
from tempo_core.folders import SUFFIXES
from tempo_core.perturbation import PERTURBATIONS
from tempo_core.types import IMPORTED, Answer, FilterVerdict, Law, PerturbationPlan

Timelines = Mapping[tuple[int, str], tuple[int, int]]
"""(timeline, its number of clips) by video and content."""
NO_TIMELINE = "the scan found no clip in its video, so there is nothing to show"


@dataclass(frozen=True, slots=True)
class Match:
    """One pair of a file and its place here; `reason` says why it has none. `plan` only where its timeline is here."""

    found: Found
    reason: str = ""
    missing: bool = False
    """The reason is that the video is not in the library."""
    here: int | None = None
    """The pair of this studio that it is already."""
    video_id: int = 0
    timeline_id: int = 0
    plan: PerturbationPlan | None = None
    verdicts: tuple[FilterVerdict, ...] = ()

    @property
    def pair(self) -> ForeignPair:
        if self.found.pair is None:
            raise ValueError(f"line {self.found.line} holds no pair")
        return self.found.pair


@dataclass(frozen=True, slots=True)
class Shelf:
    """Every video by its bytes and by what a file may call it."""

    roots: tuple[str, ...]
    by_sha: Mapping[str, int]
    sha_of: Mapping[int, str]
    by_name: Mapping[str, list[tuple[str, int]]]
    """(path below its library, video) by the file's name, and by the name without its ending."""
    faults: Mapping[int, str]
    timelines: Mapping[int, int]
    """The current timeline of each video that has clips."""


@dataclass
class Seen:
    """What a file held so far, so that a pair that stands there twice is taken once: line by key.

    `here` are the pairs of this studio about the `videos` that came up so far, read once for each video.
    """

    lines: dict[str, int] = field(default_factory=dict)
    here: dict[str, int] = field(default_factory=dict)
    videos: set[int] = field(default_factory=set)


def shelf(session: Session) -> Shelf:
    """Read once for a whole file."""
    v, t, by_name = VideoRow, TimelineRow, dict[str, list[tuple[str, int]]]()
    rows = session.execute(select(v.id, v.sha256, v.status, v.reason)).all()
    for rel_path, video_id in session.execute(select(LocationRow.rel_path, LocationRow.video_id)):
        name = PurePosixPath(rel_path)
        for called in {name.name, name.stem}:
            by_name.setdefault(called, []).append((rel_path, video_id))
    current = session.execute(select(t.video_id, t.id).where(t.current == 1, t.n_clips > 0))
    return Shelf(
        roots=tuple(session.execute(select(LibraryRow.root)).scalars()),
        by_sha={sha256: video_id for video_id, sha256, _, _ in rows if sha256},
        sha_of={video_id: sha256 for video_id, sha256, _, _ in rows if sha256},
        by_name=by_name,
        faults={video_id: _fault(status, reason) for video_id, _, status, reason in rows if status != "ok"},
        timelines={video_id: timeline_id for video_id, timeline_id in current},
    )


def _fault(status: str, reason: str | None) -> str:
    if reason == withdrawals.REASON:
        return "its video was withdrawn"
    return f"its video cannot be used here ({reason or status})"


def video_of(shelf: Shelf, name: str, sha256: str | None) -> int | str:
    """The video that is meant, or why there is none. With a hash the bytes decide, and the name is only a name."""
    if sha256 is not None:
        found = shelf.by_sha.get(sha256)
        return found if found is not None else f"no video of the library has its bytes ({sha256[:12]}): {name[:80]}"
    place = _below(shelf, name)
    if place is None:
        return f"{name[:80]} is no path below the library; URLs, .. and other folders are not followed"
    return _named(shelf, place)


def _below(shelf: Shelf, name: str) -> str | None:
    """The path without the library's root; nothing that would leave it."""
    plain = name.replace("\\", "/")
    if "://" in plain or plain.startswith(("file:", "data:", "~")):
        return None
    path = PurePosixPath(plain)
    if path.is_absolute():
        root = next((root for root in shelf.roots if path.is_relative_to(root)), None)
        if root is None:
            return None
        path = path.relative_to(root)
    return None if ".." in path.parts or not path.name else path.as_posix()


def _named(shelf: Shelf, place: str) -> int | str:
    """The longest part of the path that fits decides: all of it, its end, the file's name alone."""
    called = PurePosixPath(place)
    of_name = shelf.by_name.get(called.name, [])
    if called.suffix.lower() in SUFFIXES:
        of_name = [(path, video_id) for path, video_id in of_name if PurePosixPath(path).name == called.name]
    for fits in (lambda path: path == place, lambda path: path.endswith(f"/{place}"), lambda path: True):
        ids = {video_id for path, video_id in of_name if fits(path)}
        if len(ids) > 1:
            return f"{len(ids)} videos of the library are called {place[:80]}; say which with --videos FOLDER"
        if ids:
            return ids.pop()
    return f"no video of the library is called {place[:80]}"


def matched(
    session: Session, shelf: Shelf, some: Sequence[Found], seen: Seen, sha256s: Mapping[str, str | None] | None = None
) -> list[Match]:
    """The place of each of these pairs, in their order.

    Args:
        seen: Of the same file, filled on the way.
        sha256s: Bytes of the files that names mean, where a folder was given; None for a name without a file in it.
    """
    placed = [_placed(shelf, found, sha256s) for found in some]
    videos = {match.video_id for match in placed if not match.reason}
    seen.here |= _here(session, videos - seen.videos)
    seen.here |= _elsewhere(session, {m.found.returned.uid for m in placed if m.found.returned} - seen.here.keys())
    seen.videos |= videos
    timelines = _timelines(session, videos, placed)
    return [m if m.reason else _settled(m, shelf, timelines, seen) for m in placed]


def _placed(shelf: Shelf, found: Found, sha256s: Mapping[str, str | None] | None) -> Match:
    if found.pair is None:
        return Match(found, found.reason)
    name, sha256 = found.pair.video, found.returned.video_sha256 if found.returned else None
    if sha256 is None and sha256s is not None:
        sha256 = sha256s.get(name)
        if sha256 is None:
            return Match(found, f"no file {name[:80]} below the folder of the videos", missing=True)
    video_id = video_of(shelf, name, sha256)
    if isinstance(video_id, str):
        return Match(found, video_id, missing=True)
    if video_id in shelf.faults:
        return Match(found, shelf.faults[video_id])
    if video_id not in shelf.timelines:
        return Match(found, NO_TIMELINE)
    return Match(found, video_id=video_id, timeline_id=shelf.timelines[video_id])


def _settled(match: Match, shelf: Shelf, timelines: Timelines, seen: Seen) -> Match:
    """Whether it is here already or stood in the file before, else with its plan."""
    found, pair, returned = match.found, match.pair, match.found.returned
    texts = fingerprint(shelf.sha_of[match.video_id], pair.prompt, pair.chosen, pair.rejected)
    known = seen.here.get(returned.uid) if returned else None
    known = seen.here.get(texts) if known is None else known
    if known is not None:
        return Match(found, f"it is here already: pair {known}", here=known)
    # Two plans may have led to the same answers; only a pair that brings no identity is known by its texts.
    first = seen.lines.setdefault(returned.uid if returned else texts, found.line)
    if first != found.line:
        return Match(found, f"the same as line {first}")
    timeline_id, plan = match.timeline_id, None
    if returned is not None and (match.video_id, returned.timeline_sha256) in timelines:
        own_id, n_clips = timelines[match.video_id, returned.timeline_sha256]
        plan = _plan(returned, n_clips)
        timeline_id = own_id if plan is not None else timeline_id
    verdicts = _verdicts(pair, plan, returned)
    return Match(found, video_id=match.video_id, timeline_id=timeline_id, plan=plan, verdicts=verdicts)


def _verdicts(pair: ForeignPair, plan: PerturbationPlan | None, returned: Returned | None) -> tuple[FilterVerdict, ...]:
    """As they were when the pair was made; a foreign pair is judged by the rules that hold for every kind."""
    if plan is not None and returned is not None:
        known = tuple(verdict for verdict in returned.filters if verdict.name in filters.FILTERS)
        if known:
            return known
    kind = IMPORTED if plan is None else plan.kind
    return filters.run(Answer(pair.chosen, 0, "stop"), Answer(pair.rejected, 0, "stop"), kind)


def _plan(returned: Returned, n_clips: int) -> PerturbationPlan | None:
    """The plan that an export told, if it is one of this timeline."""
    order = returned.order
    if not order or returned.magnitude is None or returned.seed is None or returned.law not in ("tempo", "authors"):
        return None
    if max(order) >= n_clips or len(set(order)) < len(order) or returned.kind not in PERTURBATIONS:
        return None
    law: Law = "authors" if returned.law == "authors" else "tempo"
    told = returned.kind, returned.magnitude, returned.seed, order
    return PerturbationPlan(*told, law=law, aliases=returned.aliases, attempt=returned.attempt)


def _timelines(session: Session, video_ids: Iterable[int], placed: Sequence[Match]) -> Timelines:
    """Those that the pairs were made on."""
    asked = {match.found.returned.timeline_sha256 for match in placed if match.found.returned}
    t = TimelineRow
    query = select(t.video_id, t.sha256, t.id, t.n_clips).where(t.sha256.in_(asked - {""}), t.video_id.in_(video_ids))
    return {(video_id, sha256): (row_id, n) for video_id, sha256, row_id, n in session.execute(query)}


def _here(session: Session, video_ids: Iterable[int]) -> dict[str, int]:
    """Pairs of these videos by what makes them the same: their uid, and their texts as made and as decided."""
    p = PairRow
    columns = p.id, p.uid, VideoRow.sha256, p.prompt, p.chosen, p.rejected
    query = select(*columns).join(VideoRow, VideoRow.id == p.video_id).where(p.video_id.in_(video_ids))
    rows = session.execute(query).all()
    decided = standings.standing(session, [row[0] for row in rows])
    found: dict[str, int] = {}
    for pair_id, uid, sha256, prompt, chosen, rejected in rows:
        for texts in {(chosen, rejected), decided.get(pair_id, Standing()).texts(chosen, rejected)}:
            found[fingerprint(sha256 or "", prompt, *texts)] = pair_id
        found[uid] = pair_id
    return found


def _elsewhere(session: Session, uids: Iterable[str]) -> dict[str, int]:
    """Pairs by uid whatever their video: a uid is taken once."""
    rows = session.execute(select(PairRow.uid, PairRow.id).where(PairRow.uid.in_(uids)))
    return {uid: pair_id for uid, pair_id in rows}


def fingerprint(video_sha256: str, prompt: str, chosen: str, rejected: str) -> str:
    """What makes two pairs the same, whoever made them."""
    return "texts:" + hashlib.sha256(canonical([video_sha256, prompt, chosen, rejected]).encode()).hexdigest()
