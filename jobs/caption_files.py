"""Read in captions that came with videos: `python -m jobs captions FILE`.

The one thing to know: a caption helps a pair only if it is about one clip, for a list of clip captions is what is put
into another order. So each is given to the clip whose time it shares, by the rule of `caption_matching`, and every one
that is not is counted with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sqlalchemy.orm import Session

from db import caption_sets, timelines, videos
from db.session import Database
from db.timelines import StoredTimeline
from jobs import named_videos
from tempo_core import caption_matching
from tempo_core.caption_matching import REASONS, Matching, Span
from tempo_core.errors import MediaError, TempoError, TooFew, Unknown
from tempo_core.exchange import captions
from tempo_core.exchange.captions import Segment
from tempo_core.measures import load_measures, measures_path
from tempo_core.media import sha256_of
from tempo_core.settings import Home
from tempo_core.types import Video


@dataclass(frozen=True, slots=True)
class ReadIn:
    """What came of a file. Every caption of it is matched, unmatched for a reason, or of a video that was left out."""

    set_id: int
    name: str
    n_read: int
    n_matched: int
    """Captions that were given to a clip; several may make the text of one."""
    n_clips: int
    """Clips that have a text now."""
    n_videos: int
    n_whole: int
    """Videos of which every clip has a text: only those can be asked about."""
    unmatched: dict[str, int]
    """By reason, in words."""
    left_out: dict[str, str]
    """Why, by video as the file names it."""

    def told(self) -> list[str]:
        """In sentences, for people."""
        lines = [f"left out {video}: {why}" for video, why in self.left_out.items()]
        lines += [f"{n} not used: {reason}" for reason, n in self.unmatched.items()]
        return [
            *lines,
            f"set of captions {self.set_id}: {self.name}, {self.n_matched} of {self.n_read} captions describe "
            f"{self.n_clips} clips of {self.n_videos} videos; of {self.n_whole} every clip is described",
        ]


@dataclass(frozen=True, slots=True)
class _Place:
    video: Video
    timeline: StoredTimeline


def read_in(
    database: Database,
    home: Home,
    file: Path,
    *,
    folder: Path | None = None,
    name: str | None = None,
    skip_missing: bool = False,
) -> ReadIn:
    """Keep the captions of a file as a set, whole or not at all.

    Args:
        folder: Where the file's video names begin; its own folder when not given. Nothing outside it is looked at.
        skip_missing: Leave out videos that are not scanned instead of refusing the file.

    Raises:
        BadLine: A record is not what the format says.
        Unknown: A video was not scanned.
        TooFew: No caption is about one clip.
    """
    segments = _parsed(file)
    begin = (folder or file.parent).resolve()
    by_video: dict[str, list[Segment]] = {}
    for segment in segments:
        by_video.setdefault(segment.video, []).append(segment)
    found, left_out = _found(database, begin, list(by_video))
    if left_out and not skip_missing:
        raise Unknown(named_videos.refusal(left_out, len(by_video)))
    # Two names may lead to one video.
    of_place: dict[int, tuple[_Place, list[Segment]]] = {}
    for video, place in found.items():
        of_place.setdefault(place.timeline.id, (place, []))[1].extend(by_video[video])
    matched = {i: caption_matching.match(_spans(home, place), own) for i, (place, own) in of_place.items()}
    texts = {timeline_id: matching.captions for timeline_id, matching in matched.items() if matching.captions}
    reasons = _reasons(list(matched.values()))
    if not texts:
        raise TooFew(f"No caption of {file} is about one clip. {_why(reasons, left_out, len(by_video))}")
    with database.session() as session:
        set_id, _ = caption_sets.record(
            session, file.resolve(), name or file.stem, sha256_of(file), caption_matching.RULE, texts
        )
        kept_name = caption_sets.get(session, set_id).name
    n_of_found = sum(len(own) for _, own in of_place.values())
    return ReadIn(
        set_id=set_id,
        name=kept_name,
        n_read=len(segments),
        n_matched=n_of_found - sum(reasons.values()),
        n_clips=sum(map(len, texts.values())),
        n_videos=len(texts),
        n_whole=sum(len(texts[i]) == place.timeline.n_clips for i, (place, _) in of_place.items() if i in texts),
        unmatched=dict(reasons),
        left_out=left_out,
    )


def _parsed(file: Path) -> tuple[Segment, ...]:
    if not file.is_file():
        raise TempoError(f"{file} is no file. Name a JSONL, JSON or CSV file of captions.")
    with file.open("rb") as stream:
        return captions.parse(stream, is_csv=file.suffix.lower() == ".csv")


def _found(database: Database, begin: Path, named: Sequence[str]) -> tuple[dict[str, _Place], dict[str, str]]:
    left_out = {video: "its name leads out of the folder of the videos" for video in named if not _inside(begin, video)}
    sha256s = {
        video: sha256_of(begin / video) if (begin / video).is_file() else None
        for video in named
        if video not in left_out
    }
    with database.reading() as session:
        shown, missing = named_videos.matched(session, sha256s)
        places = {video: _place(session, one.video_id, one.timeline_id) for video, one in shown.items()}
    return places, left_out | missing


def _inside(begin: Path, video: str) -> bool:
    """Whether a name from elsewhere stays below the folder: no address, no way up, no link out."""
    path = PurePosixPath(video)
    if "://" in video or "\\" in video or path.is_absolute() or ".." in path.parts:
        return False
    try:
        return (begin / path).resolve().is_relative_to(begin)
    except (OSError, RuntimeError):  # a name too long, links in a circle
        return False


def _place(session: Session, video_id: int, timeline_id: int) -> _Place:
    return _Place(videos.value(session, video_id), timelines.get(session, timeline_id))


def _spans(home: Home, place: _Place) -> list[list[Span]]:
    """When the shots of each clip begin and end, in seconds; where the scan's times are gone, by the mean rate."""
    video = place.video
    try:
        edges = load_measures(measures_path(home.cache, video.sha256)).edges_s.tolist()
    except MediaError:
        edges = [i * video.duration_s / video.n_frames for i in range(video.n_frames + 1)]
    return [[(edges[start], edges[end]) for start, end in clip.ranges] for clip in place.timeline.timeline]


def _reasons(matched: Sequence[Matching]) -> Counter[str]:
    total: Counter[str] = Counter()
    for matching in matched:
        total.update({REASONS[reason]: n for reason, n in matching.reasons.items()})
    return total


def _why(reasons: Counter[str], left_out: dict[str, str], n_videos: int) -> str:
    told = "; ".join(f"{n} not used: {reason}" for reason, n in reasons.most_common())
    return f"{told}." if told else named_videos.refusal(left_out, n_videos)
