"""Videos that must not be used any more (licence, privacy): their pairs leave every queue and every next version.

The file is never touched, and a frozen version stays what it was; it and the runs that used the video say so. What
the video was before stands in its `probe`, because a later scan must neither lose it nor bring the video back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, func, select, union
from sqlalchemy.orm import Session

from db import people, run_notes
from db.people import Person
from db.session import now_ms
from db.tables import DatasetItemRow, PairRow, RunRow, SftItemRow, VideoRow
from tempo_core.errors import TempoError, Unknown

STATUS, REASON = "quarantine", "withdrawn"
CAUSES = ("licence", "privacy", "other")
LONGEST_WHY = 500
HISTORY = "withdrawals"
"""The key of a video's `probe` under which each withdrawal stands, the newest last."""


class NotWithdrawn(TempoError):
    """A withdrawal that says nothing, or that cannot be taken back."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Who withdrew a video, when and why; `given_back_ms` is None while it holds."""

    cause: str
    why: str
    by: str
    at_ms: int
    given_back_by: str | None = None
    given_back_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """What a withdrawal of a video touches: its pairs, and what was frozen and trained with it."""

    n_pairs: int
    n_accepted: int
    n_versions: int
    n_runs: int


def withdrawn_ids() -> Select[int]:
    """The videos whose pairs no queue, no bulk decision, no stratum and no next version may take."""
    return select(VideoRow.id).where(VideoRow.status == STATUS, VideoRow.reason == REASON)


def is_withdrawn(row: VideoRow) -> bool:
    return row.status == STATUS and row.reason == REASON


def withdraw(session: Session, person: Person, video_id: int, why: str, *, cause: str = "other") -> None:
    """Take a video out of everything that comes next; a video that is withdrawn already is left as it is.

    Args:
        cause: One of `CAUSES`.
        why: In words; kept with the video and told by the runs that used it.
    """
    people.require(person, "admin")
    row, said = _row(session, video_id), " ".join(why.split())
    if cause not in CAUSES:
        raise NotWithdrawn(f"The reason {cause!r} is not known. Choose one of {', '.join(CAUSES)}.")
    if not said or len(said) > LONGEST_WHY:
        raise NotWithdrawn(f"Say why in 1 to {LONGEST_WHY} characters (now {len(said)}): others will read it.")
    if is_withdrawn(row):
        return
    entry = {
        "cause": cause, "why": said, "by": person.name, "at_ms": now_ms(),
        "was": {"status": row.status, "reason": row.reason, "message": row.message},
    }  # fmt: skip
    row.probe = row.probe | {HISTORY: [*row.probe.get(HISTORY, []), entry]}
    row.status, row.reason, row.message = STATUS, REASON, f"{cause}: {said}"
    session.flush()
    _tell_runs(session, row, f"{row.name} was withdrawn on {_day()} ({cause}: {said})")


def give_back(session: Session, person: Person, video_id: int) -> str:
    """Undo a withdrawal; the status that the video has again. Scans made meanwhile count: a lost file is missing."""
    people.require(person, "admin")
    row = _row(session, video_id)
    if not is_withdrawn(row):
        raise NotWithdrawn(f"{row.name} is not withdrawn, so there is nothing to give back.")
    *earlier, entry = row.probe[HISTORY]
    closed = entry | {"given_back_by": person.name, "given_back_ms": now_ms()}
    row.probe = row.probe | {HISTORY: [*earlier, closed]}
    was = entry["was"]
    row.status, row.reason, row.message = was["status"], was["reason"], was["message"]
    session.flush()
    _tell_runs(session, row, f"{row.name} was given back on {_day()}")
    return row.status


def stays_withdrawn(row: VideoRow, values: dict[str, Any]) -> dict[str, Any]:
    """What a scan may write to this row: a withdrawn video keeps its status and remembers the new one for later."""
    history = row.probe.get(HISTORY)
    if not history:
        return values
    probe = values.get("probe", row.probe) | {HISTORY: history}
    if not is_withdrawn(row):
        return values | {"probe": probe}
    seen = {name: values[name] for name in ("status", "reason", "message") if name in values}
    *earlier, entry = history
    probe[HISTORY] = [*earlier, entry | {"was": entry["was"] | seen}]
    return {name: value for name, value in values.items() if name not in seen} | {"probe": probe}


def history(session: Session, video_id: int) -> tuple[Withdrawal, ...]:
    """Every withdrawal of this video, the newest last."""
    entries = _row(session, video_id).probe.get(HISTORY, [])
    return tuple(
        Withdrawal(e["cause"], e["why"], e["by"], e["at_ms"], e.get("given_back_by"), e.get("given_back_ms"))
        for e in entries
    )


def reach(session: Session, video_id: int) -> Reach:
    """What a person should know before withdrawing."""
    status = select(PairRow.status, func.count()).where(PairRow.video_id == video_id).group_by(PairRow.status)
    counted = Counter(dict(session.execute(status).all()))
    versions = session.execute(_versions_of([video_id])).scalars().all()
    return Reach(counted.total(), counted["accepted"], len(set(versions)), len(_runs_of(session, video_id)))


def of_versions(session: Session) -> dict[int, int]:
    """Pairs of withdrawn videos in each frozen version that holds some."""
    i = DatasetItemRow
    query = (
        select(i.dataset_version_id, func.count())
        .join(PairRow, PairRow.id == i.pair_id)
        .where(PairRow.video_id.in_(withdrawn_ids()))
        .group_by(i.dataset_version_id)
    )
    return dict(session.execute(query).all())


def in_version(session: Session, version_id: int) -> list[tuple[int, str, str]]:
    """(id, name, why) of the withdrawn videos of a frozen version."""
    i = DatasetItemRow
    of = select(PairRow.video_id).join(i, i.pair_id == PairRow.id).where(i.dataset_version_id == version_id)
    return _named(session, of)


def in_run(session: Session, run_id: int) -> list[tuple[int, str, str]]:
    """(id, name, why) of the withdrawn videos that a run trained on, as pairs or as SFT examples."""
    i, r, s = DatasetItemRow, RunRow, SftItemRow
    pairs = (
        select(PairRow.video_id)
        .join(i, i.pair_id == PairRow.id)
        .join(r, r.dataset_version_id == i.dataset_version_id)
        .where(r.id == run_id, i.split == "train")
    )
    examples = select(s.video_id).join(r, r.sft_set_id == s.sft_set_id).where(r.id == run_id)
    return _named(session, union(pairs, examples).subquery().select())


def tell_run(session: Session, run_id: int) -> None:
    """A new run on a version from before a withdrawal keeps a note of each video that it should not have had."""
    for video_id, name, _ in in_run(session, run_id):
        said = f"{name} had been withdrawn when this run was started; the frozen data still has it (video {video_id})."
        run_notes.add(session, run_id, "withdrawn", said)


def _named(session: Session, video_ids: Any) -> list[tuple[int, str, str]]:
    v = VideoRow
    query = select(v.id, v.name, v.message).where(v.id.in_(withdrawn_ids()), v.id.in_(video_ids)).order_by(v.id)
    return [(id_, name, why or "") for id_, name, why in session.execute(query)]


def _row(session: Session, video_id: int) -> VideoRow:
    row = session.get(VideoRow, video_id)
    if row is None:
        raise Unknown(f"There is no video {video_id}.")
    return row


def _versions_of(video_ids: Collection[int]) -> Select[int]:
    i = DatasetItemRow
    joined = select(i.dataset_version_id).join(PairRow, PairRow.id == i.pair_id)
    return joined.where(PairRow.video_id.in_(video_ids)).distinct()


def _runs_of(session: Session, video_id: int) -> list[int]:
    """Runs whose data set trains on this video, or whose SFT set names it."""
    r, s, i = RunRow, SftItemRow, DatasetItemRow
    trained = _versions_of([video_id]).where(i.split == "train")
    sets = select(s.sft_set_id).where(s.video_id == video_id)
    query = select(r.id).where(r.dataset_version_id.in_(trained) | r.sft_set_id.in_(sets)).order_by(r.id)
    return list(session.execute(query).scalars())


def _tell_runs(session: Session, row: VideoRow, said: str) -> None:
    """Each run that used the video keeps a note, which its page shows."""
    for run_id in _runs_of(session, row.id):
        run_notes.add(session, run_id, "withdrawn", f"{said}; this run used it (video {row.id}).")


def _day() -> str:
    return datetime.fromtimestamp(now_ms() / 1000, UTC).strftime("%Y-%m-%d %H:%M")
