"""Which pairs a version would hold, on which level and side: drawn the same way for a look and for the freeze.

A video is held out whole. Videos that share footage count as one there: the same scene on both sides would measure
memory. Which do was found by the library's search for copies; the scan's own identity, the bytes, is always known.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import jobs
from db.pair_filters import PairFilter, checked, levels, where
from db.tables import PairRow, VideoRow

FEWEST_FOR_HELD_OUT = 5
"""With fewer videos none is held out: what is left would be too little to train on."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Pairs by id, in order. `split` is "train" or "held_out"; `level` lacks imported pairs."""

    wanted: PairFilter
    pair_ids: list[int]
    level: Mapping[int, int]
    split: Mapping[int, str]
    video: Mapping[int, str]
    """Each pair's video, by the hash of its bytes."""
    kept_back: frozenset[str]
    copies_job: int | None
    """The search for copies whose groups stay together; None: nobody looked."""
    together: tuple[tuple[str, ...], ...] = ()
    """Of these videos, those that share footage."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a version would hold. Counts are (to train on, held out)."""

    n_pairs: int
    n_held_out: int
    n_videos: int
    n_videos_held_out: int
    levels: Mapping[int | None, tuple[int, int]]
    kinds: Mapping[str, tuple[int, int]]
    videos_of_level: Mapping[int | None, int]
    """To train on."""
    n_withdrawn: int
    """Accepted pairs that are left out because their video was withdrawn."""
    copies_job: int | None
    n_together: int
    """Videos that stay on one side with others that share their footage."""


def without_withdrawn(wanted: PairFilter) -> PairFilter:
    return replace(wanted, withdrawn=None)


def draft(
    session: Session,
    wanted: PairFilter,
    share: float,
    seed: int,
    thresholds: tuple[float, float, float],
    axis: str,
) -> Draft:
    """Draw the sides and rank the levels of a filter's pairs. Nothing is stored."""
    query = select(PairRow.id, VideoRow.sha256).join(VideoRow, VideoRow.id == PairRow.video_id)
    rows = session.execute(query.where(*where(wanted, session)).order_by(PairRow.id))
    video = {pair_id: sha256 or "" for pair_id, sha256 in rows}
    job_id, found = copies(session)
    shas = set(video.values())
    together = tuple(here for group in found if len(here := tuple(sha for sha in group if sha in shas)) > 1)
    kept_back = held_out(shas, share, seed, together)
    return Draft(
        wanted=wanted,
        pair_ids=list(video),
        level=_levels(session, video.keys(), checked(thresholds), axis),
        split={pair_id: "held_out" if sha in kept_back else "train" for pair_id, sha in video.items()},
        video=video,
        kept_back=frozenset(kept_back),
        copies_job=job_id,
        together=together,
    )


def counted(session: Session, drawn: Draft) -> Preview:
    """The figures of a draft, for a person to decide by."""
    kind_of = {i: kind for i, kind in session.execute(select(PairRow.id, PairRow.kind)) if i in drawn.video}
    of_level, of_kind = Counter[tuple[int | None, str]](), Counter[tuple[str, str]]()
    videos: dict[int | None, set[str]] = {}
    for pair_id, split in drawn.split.items():
        level = drawn.level.get(pair_id)
        of_level[level, split] += 1
        of_kind[kind_of[pair_id], split] += 1
        if split == "train":
            videos.setdefault(level, set()).add(drawn.video[pair_id])
    gone = replace(drawn.wanted, withdrawn="only")
    return Preview(
        n_pairs=len(drawn.pair_ids),
        n_held_out=sum(split == "held_out" for split in drawn.split.values()),
        n_videos=len(set(drawn.video.values())),
        n_videos_held_out=len(drawn.kept_back),
        levels={level: (of_level[level, "train"], of_level[level, "held_out"]) for level in (1, 2, 3, 4, None)},
        kinds={kind: (of_kind[kind, "train"], of_kind[kind, "held_out"]) for kind in sorted({k for k, _ in of_kind})},
        videos_of_level={level: len(shas) for level, shas in videos.items()},
        n_withdrawn=session.execute(
            select(func.count()).select_from(PairRow).where(*where(gone, session))
        ).scalar_one(),
        copies_job=drawn.copies_job,
        n_together=sum(len(group) for group in drawn.together),
    )


def _levels(
    session: Session, pair_ids: Collection[int], thresholds: tuple[float, float, float], axis: str
) -> dict[int, int]:
    """Levels as the studio shows them: the rank inside the kind among all pairs that no rule refused."""
    ranked = levels(thresholds, axis).subquery()
    rows = session.execute(select(ranked.c.id, ranked.c.level).where(ranked.c.level.is_not(None)))
    return {pair_id: level for pair_id, level in rows if pair_id in pair_ids}


def copies(session: Session) -> tuple[int | None, list[tuple[str, ...]]]:
    """The newest search for shared footage, as (job, groups of videos by their bytes); (None, none) without one."""
    done = jobs.latest(session, 1, kinds=("copies",), states=("succeeded",))
    if not done:
        return None, []
    groups: list[list[int]] = (done[0].result or {}).get("groups", [])
    ids = {video_id for group in groups for video_id in group}
    sha = dict(session.execute(select(VideoRow.id, VideoRow.sha256).where(VideoRow.id.in_(ids))).all())
    return done[0].id, [tuple(str(sha[i]) for i in group if sha.get(i)) for group in groups]


def held_out(shas: Collection[str], share: float, seed: int, together: Sequence[Collection[str]] = ()) -> set[str]:
    """The videos (by content) that a version of these videos holds out: never one without those it shares footage with.

    Drawn by `seed`; as near to the share as whole groups allow, and never all.
    """
    if len(shas) < FEWEST_FOR_HELD_OUT or share <= 0:
        return set()
    most = min(len(shas) - 1, max(1, round(share * len(shas))))
    taken: set[str] = set()
    units = sorted(_units(shas, together), key=lambda unit: _drawn(seed, unit[0]))
    for unit in units:
        if len(taken) + len(unit) <= most:
            taken |= set(unit)
    if not taken:
        smallest = min(units, key=len)
        return set(smallest) if len(smallest) < len(shas) else set()
    return taken


def _drawn(seed: int, sha: str) -> str:
    return hashlib.sha256(f"{seed}|{sha}".encode()).hexdigest()


def _units(shas: Collection[str], together: Sequence[Collection[str]]) -> list[tuple[str, ...]]:
    """The videos in groups that must not be parted, each in order of its bytes."""
    group_of = {sha: number for number, group in enumerate(together) for sha in group}
    units: dict[int | str, list[str]] = {}
    for sha in sorted(shas):
        units.setdefault(group_of.get(sha, sha), []).append(sha)
    return [tuple(unit) for unit in units.values()]
