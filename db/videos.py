"""Libraries, and the videos found in them.

A video is its bytes: one file at two paths is one video with two locations. A file that could not be used keeps its
row with the reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from db import dialect, withdrawals
from db.session import now_ms
from db.tables import LibraryRow, LocationRow, PairRow, TimelineRow, VideoRow
from db.withdrawals import give_back as give_back
from db.withdrawals import withdraw as withdraw
from db.withdrawals import withdrawn_ids as withdrawn_ids
from tempo_core.errors import Unknown
from tempo_core.types import Video

FOUND, UNREADABLE = "found", "unreadable"
MISSING: dict[str, Any] = {"status": "missing", "reason": "missing", "message": "No file with these bytes is left."}


@dataclass(frozen=True, slots=True)
class VideoCard:
    """A video as a page lists it. `left_out_by` is the first rule it failed, with value and limit; None = kept."""

    id: int
    sha256: str | None
    name: str
    status: str
    reason: str | None
    message: str | None
    duration_s: float | None
    n_frames: int | None
    width: int | None
    height: int | None
    timeline_id: int | None
    n_shots: int | None
    n_clips: int | None
    n_groups: int | None
    left_out_by: str | None
    left_out_value: float | None
    limit: float | None
    n_pairs: int

    @property
    def kept(self) -> bool:
        return self.status == "ok" and self.timeline_id is not None and self.left_out_by is None


@dataclass(frozen=True, slots=True)
class VideoDetails:
    """A video's file. `playable` is False where a browser needs a copy; None where nothing was measured."""

    places: tuple[Path, ...]
    size_bytes: int | None
    fps: Fraction | None
    container: str | None
    codec: str | None
    pix_fmt: str | None
    constant_rate: bool | None
    hdr: bool | None
    playable: bool | None


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """`left_out` videos fell at this rule, `remaining` are left after it."""

    code: str
    left_out: int
    remaining: int


def library(session: Session, root: Path, name: str | None = None) -> int:
    """The library of a folder, made if it is new."""
    root = root.resolve()
    found = session.execute(select(LibraryRow.id).where(LibraryRow.root == _text(root))).scalar_one_or_none()
    if found is not None:
        return found
    row = LibraryRow(root=_text(root), name=name or root.name or str(root), created_ms=now_ms())
    session.add(row)
    session.flush()
    return row.id


def libraries(session: Session) -> list[tuple[int, str, Path]]:
    """(id, name, root) of each library."""
    rows = session.execute(select(LibraryRow.id, LibraryRow.name, LibraryRow.root).order_by(LibraryRow.id))
    return [(id_, name, Path(root)) for id_, name, root in rows]


def record(
    session: Session, library_id: int, rel_path: str | Path, video: Video, times_sha256: str, probe: dict[str, Any]
) -> int:
    """Keep a scanned video and where it lies. Scanning again changes nothing but what the scan measured."""
    measured: dict[str, Any] = {
        "sha256": video.sha256, "size_bytes": _size(video.path), "duration_s": float(video.duration_s),
        "n_frames": int(video.n_frames), "fps_num": video.fps.numerator, "fps_den": video.fps.denominator,
        "width": int(video.width), "height": int(video.height), "times_sha256": times_sha256, "probe": probe,
        "status": "ok", "reason": None, "message": None,
    }  # fmt: skip
    return _keep(session, library_id, _text(rel_path), video.sha256, measured)


def record_failure(
    session: Session, library_id: int, rel_path: str | Path, sha256: str | None, code: str, message: str
) -> int:
    """Keep a file that cannot be used, with the code and the sentence why."""
    known = by_sha(session, sha256) if sha256 else None
    if known is not None and get(session, known).status in ("ok", withdrawals.STATUS):
        _place(session, library_id, _text(rel_path), known)
        return known
    failed = {"sha256": sha256, "status": "corrupt", "reason": code, "message": message}
    return _keep(session, library_id, _text(rel_path), sha256, failed)


def _keep(session: Session, library_id: int, rel_path: str, sha256: str | None, values: dict[str, Any]) -> int:
    """The row with these bytes, else the unnamed failure at this place, else a new row."""
    video_id = by_sha(session, sha256) if sha256 else None
    if video_id is None:
        here = session.execute(
            select(VideoRow.id)
            .join(LocationRow, LocationRow.video_id == VideoRow.id)
            .where(LocationRow.library_id == library_id, LocationRow.rel_path == rel_path, VideoRow.sha256.is_(None))
        )
        video_id = here.scalar_one_or_none()
    if video_id is None:
        row = VideoRow(name=Path(rel_path).name, created_ms=now_ms(), **values)
        session.add(row)
        session.flush()
        video_id = row.id
    else:
        _update(session, video_id, values)
    _place(session, library_id, rel_path, video_id)
    return video_id


def _place(session: Session, library_id: int, rel_path: str, video_id: int) -> None:
    """Other bytes at a known path are a new video; the old one is missing unless it lies elsewhere too."""
    place = session.get(LocationRow, (library_id, rel_path))
    if place is None:
        session.add(LocationRow(library_id=library_id, rel_path=rel_path, video_id=video_id, seen_ms=now_ms()))
        session.flush()
        return
    before, place.video_id, place.seen_ms = place.video_id, video_id, now_ms()
    session.flush()
    if before != video_id:
        missing_without_place(session, before)


def mark_absent(session: Session, library_id: int, present: Collection[str | Path]) -> int:
    """Forget places of a library that no longer hold a file; returns how many videos went missing."""
    kept = {_text(path) for path in present}
    places = session.execute(select(LocationRow).where(LocationRow.library_id == library_id)).scalars().all()
    gone = [place for place in places if place.rel_path not in kept]
    for place in gone:
        session.delete(place)
    session.flush()
    return sum(missing_without_place(session, place.video_id) for place in gone)


def missing_without_place(session: Session, video_id: int) -> bool:
    elsewhere = select(LocationRow.video_id).where(LocationRow.video_id == video_id).limit(1)
    if session.execute(elsewhere).first() is not None:
        return False
    _update(session, video_id, MISSING)
    return True


def _update(session: Session, video_id: int, values: dict[str, Any]) -> None:
    row = session.get_one(VideoRow, video_id)
    for name, value in withdrawals.stays_withdrawn(row, values).items():
        setattr(row, name, value)
    session.flush()


def get(session: Session, video_id: int) -> VideoCard:
    row = session.execute(_cards().where(VideoRow.id == video_id)).one_or_none()
    if row is None:
        raise Unknown(f"There is no video {video_id}.")
    return VideoCard(*row)


def by_sha(session: Session, sha256: str) -> int | None:
    return session.execute(select(VideoRow.id).where(VideoRow.sha256 == sha256)).scalar_one_or_none()


def at(session: Session, path: Path) -> int | None:
    """The video that lies at this path of a library."""
    places = [(id_, path.relative_to(root)) for id_, _, root in libraries(session) if path.is_relative_to(root)]
    for library_id, rel_path in places:
        here = select(LocationRow.video_id).where(
            LocationRow.library_id == library_id, LocationRow.rel_path == _text(rel_path)
        )
        if (found := session.execute(here).scalar_one_or_none()) is not None:
            return found
    return None


def by_rel_path(session: Session, rel_path: str) -> list[int]:
    """The videos that lie at this path below some library's folder; two where two libraries use one name."""
    here = select(LocationRow.video_id).where(LocationRow.rel_path == rel_path)
    return sorted(set(session.execute(here).scalars()))


def listing(
    session: Session,
    *,
    status: str | None = None,
    rule: str | None = None,
    kept: bool | None = None,
    library_id: int | None = None,
    search: str = "",
    after_id: int = 0,
    limit: int = 50,
) -> list[VideoCard]:
    """Videos by id; the next page starts after the last id. `rule` is a rule's code or a failure's code."""
    wanted = _asked(status, rule, kept, library_id, search)
    query = _cards().where(VideoRow.id > after_id, *wanted).order_by(VideoRow.id).limit(limit)
    return [VideoCard(*row) for row in session.execute(query)]


def names(session: Session) -> dict[int, str]:
    """Every video whose file can be read, by id; those that passed every rule first."""
    query = select(VideoRow.id, VideoRow.name).outerjoin(TimelineRow, _current()).where(VideoRow.status == "ok")
    return {id_: name for id_, name in session.execute(query.order_by(_is_kept().desc(), VideoRow.id))}


def matching(
    session: Session,
    *,
    status: str | None = None,
    rule: str | None = None,
    kept: bool | None = None,
    library_id: int | None = None,
    search: str = "",
) -> list[int]:
    """The ids of all videos of a filter."""
    query = select(VideoRow.id).outerjoin(TimelineRow, _current())
    return list(session.execute(query.where(*_asked(status, rule, kept, library_id, search))).scalars())


def _asked(
    status: str | None, rule: str | None, kept: bool | None, library_id: int | None, search: str
) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if status is not None:
        wanted.append(VideoRow.status == status)
    if rule is not None:
        fell = (VideoRow.status == "ok") & (TimelineRow.left_out_by == rule)
        wanted.append(fell | (VideoRow.reason == rule))
    if kept is not None:
        wanted.append(_is_kept() if kept else ~func.coalesce(_is_kept(), False))
    if library_id is not None:
        wanted.append(VideoRow.id.in_(select(LocationRow.video_id).where(LocationRow.library_id == library_id)))
    if search.strip():
        wanted.append(VideoRow.name.icontains(search.strip(), autoescape=True))
    return wanted


def cards(session: Session, video_ids: Collection[int]) -> dict[int, VideoCard]:
    """These videos by id; ids that nothing has are left out."""
    wanted = id_list(json.dumps(sorted(set(video_ids))))
    return {row[0]: VideoCard(*row) for row in session.execute(_cards().where(VideoRow.id.in_(wanted)))}


def details(session: Session, video_id: int) -> VideoDetails:
    """The file itself: where it was seen, how big it is and how it is encoded."""
    row = session.get(VideoRow, video_id)
    if row is None:
        raise Unknown(f"There is no video {video_id}.")
    places = tuple(root / rel_path for root, rel_path in places_of(session, [video_id]).get(video_id, []))
    fps = Fraction(row.fps_num, row.fps_den) if row.fps_num and row.fps_den else None
    probe = {name: row.probe.get(name) for name in ("container", "codec", "pix_fmt", "constant_rate", "hdr")}
    playable = row.probe.get("browser", {})
    return VideoDetails(places, row.size_bytes, fps, **probe, playable=playable.get("source_ok"))


def in_several_places(session: Session, limit: int = 500) -> dict[int, list[Path]]:
    """Videos whose bytes lie at more than one place, by id, with each place."""
    p = LocationRow
    many = select(p.video_id).group_by(p.video_id).having(func.count() > 1).order_by(p.video_id).limit(limit)
    found = places_of(session, list(session.execute(many).scalars()))
    return {video_id: [root / rel_path for root, rel_path in places] for video_id, places in found.items()}


def scanned(session: Session, video_ids: Collection[int] | None = None) -> list[tuple[int, str, str, str]]:
    """(id, name, sha256, hash of its frame times) of what was measured; withdrawn and missing videos too."""
    v = VideoRow
    query = select(v.id, v.name, v.sha256, v.times_sha256).where(v.sha256.is_not(None), v.times_sha256.is_not(None))
    if video_ids is not None:
        query = query.where(v.id.in_(id_list(json.dumps(sorted(video_ids)))))
    rows = session.execute(query.order_by(v.id))
    return [(id_, name, sha256 or "", times or "") for id_, name, sha256, times in rows]


def counts(session: Session) -> dict[str, int]:
    """Videos by status, and `kept`: those that passed every rule."""
    by_status = select(VideoRow.status, func.count()).group_by(VideoRow.status)
    found = {status: n for status, n in session.execute(by_status)}
    kept = select(func.count()).select_from(VideoRow).join(TimelineRow, _current()).where(_is_kept())
    return found | {"kept": session.execute(kept).scalar_one()}


def funnel(session: Session) -> list[FunnelStep]:
    """How many videos each rule left out, in the order in which the rules are asked."""
    v = VideoRow
    of_status: dict[str, int] = {}
    for status, reason, n in session.execute(select(v.status, v.reason, func.count()).group_by(v.status, v.reason)):
        name = reason if reason == withdrawals.REASON else status
        of_status[name] = of_status.get(name, 0) + n
    judged = session.execute(
        select(TimelineRow.left_out_by, func.count(), func.max(TimelineRow.id))
        .join(VideoRow, _current())
        .where(VideoRow.status == "ok")
        .group_by(TimelineRow.left_out_by)
    ).all()
    left_out = {code: n for code, n, _ in judged if code is not None}
    steps = [FunnelStep(FOUND, 0, sum(of_status.values()))]
    unreadable = steps[0].remaining - sum(n for _, n, _ in judged)
    gone = [(code, of_status[code]) for code in (withdrawals.REASON, "missing") if code in of_status]
    gone.append((UNREADABLE, unreadable - sum(n for _, n in gone)))
    for code, n in gone + [(code, left_out.get(code, 0)) for code in _rule_order(session, judged)]:
        steps.append(FunnelStep(code, n, steps[-1].remaining - n))
    return steps


def _rule_order(session: Session, judged: Collection[Any]) -> list[str]:
    """Codes as the newest judgement lists them; then codes of older judgements that it does not know."""
    if not judged:
        return []
    newest = max(last for _, _, last in judged)
    rules = session.execute(select(TimelineRow.rules).where(TimelineRow.id == newest)).scalar_one()
    order = [rule["code"] for rule in rules]
    return order + sorted({code for code, _, _ in judged if code is not None} - set(order))


def value(session: Session, video_id: int) -> Video:
    """The video as the core knows it, with a path where it lies now."""
    row = session.get(VideoRow, video_id)
    if row is None or row.status != "ok":
        raise Unknown(f"There is no usable video {video_id}.")
    return as_value(row, path_of(session, video_id))


def as_value(row: Any, path: Path) -> Video:
    """`row` has the columns of a video that is `ok`."""
    fps = Fraction(row.fps_num, row.fps_den)
    return Video(row.sha256, path, fps, row.n_frames, row.duration_s, row.width, row.height)


def path_of(session: Session, video_id: int) -> Path:
    """Where the video lies: an existing file below its library's folder, else `Unknown`."""
    places = places_of(session, [video_id]).get(video_id, [])
    for root, rel_path in places:
        path = (root / rel_path).resolve()
        if path.is_relative_to(root) and path.is_file():
            return path
    where = f" It was last seen at {places[0][0] / places[0][1]}." if places else ""
    raise Unknown(f"The file of video {video_id} is not there.{where} Put it back, or scan its folder again.")


def places_of(session: Session, video_ids: Collection[int]) -> dict[int, list[tuple[Path, str]]]:
    """(library folder, path below it) of each video, the last seen first."""
    found: dict[int, list[tuple[Path, str]]] = {}
    wanted = json.dumps(sorted(set(video_ids)))
    rows = session.execute(
        select(LocationRow.video_id, LibraryRow.root, LocationRow.rel_path)
        .join(LibraryRow, LibraryRow.id == LocationRow.library_id)
        .where(LocationRow.video_id.in_(id_list(wanted)))
        .order_by(LocationRow.video_id, LocationRow.seen_ms.desc(), LocationRow.rel_path)
    )
    for video_id, root, rel_path in rows:
        found.setdefault(video_id, []).append((Path(root), rel_path))
    return found


def id_list(wanted: str) -> Select[tuple[int]]:
    """A list of ids, as JSON, as one bound value: SQLite binds at most 32,766 variables."""
    return select(dialect.each_of(wanted))


def _cards() -> Select[Any]:
    n_pairs = select(func.count()).where(PairRow.video_id == VideoRow.id).scalar_subquery()
    t, v = TimelineRow, VideoRow
    columns: tuple[Any, ...] = (
        v.id, v.sha256, v.name, v.status, v.reason, v.message, v.duration_s, v.n_frames, v.width, v.height,
        t.id, t.n_shots, t.n_clips, t.n_groups, t.left_out_by, t.left_out_value, t.left_out_limit, n_pairs,
    )  # fmt: skip
    return select(*columns).outerjoin(t, _current())


def _current() -> ColumnElement[bool]:
    return (TimelineRow.video_id == VideoRow.id) & (TimelineRow.current == 1)


def _is_kept() -> ColumnElement[bool]:
    return (VideoRow.status == "ok") & TimelineRow.id.is_not(None) & TimelineRow.left_out_by.is_(None)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _text(path: str | Path) -> str:
    """A path as text; bytes that are no UTF-8 are written out, since the database holds UTF-8 only."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
