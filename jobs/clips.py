"""Write one side of a pair as a video file: `python -m jobs export-clip PAIR --side rejected --out FILE.mp4`.

Apart from the other commands because it brings moviepy, which nothing else needs.
"""

from __future__ import annotations

import os
import shutil
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from db import pairs, timelines, videos
from db.session import Database
from jobs import commands
from tempo_core.clip_export import export_clip as write
from tempo_core.errors import FolderTaken, FrameTimesChanged, NoSpace, TempoError, TimelineTooShort
from tempo_core.measures import Measures, load_measures, measures_path
from tempo_core.media import sha256_of
from tempo_core.scan import scan
from tempo_core.settings import Home
from tempo_core.timeline import timeline_sha256
from tempo_core.types import PerturbationPlan, Timeline, Video

Side = Literal["chosen", "rejected", "both"]
SUFFIXES = (".mp4", ".gif")
ENOUGH_BYTES = 1_000_000
LOOKED_AT = 640
"""Pixels of the long side that are enough to look at."""


def export_clip(args: Namespace) -> int:
    studio = commands.open_studio()
    out = Path(args.out).expanduser().resolve()
    order = export_side(studio.database, studio.home, args.pair, args.side, out, titles=not args.no_titles)
    print(f"{out}: clips {', '.join(str(clip + 1) for clip in order)}")
    return commands.DONE


def export_side(
    database: Database, home: Home, pair_id: int, side: Side, out: Path, *, titles: bool = True,
    long_side: int | None = LOOKED_AT,
) -> tuple[int, ...]:  # fmt: skip
    """Write the clips in the order on which an answer was given; returns that order, counted from 0.

    Args:
        long_side: In pixels; None leaves the pictures as they are.

    Raises:
        Unknown: There is no such pair, or its video's file is not there.
        TimelineTooShort: The pair was imported without a plan, so there are no clips to put in order.
        FrameTimesChanged: The file is not the one that was scanned.
        FolderTaken: `out` exists.
        NoSpace: The disk is full; nothing is left.
    """
    _check_out(out)
    with database.reading() as session:
        card = pairs.get(session, pair_id)
        if card.timeline_id is None or not card.timeline or (card.plan is None and side != "chosen"):
            raise TimelineTooShort(f"Pair {pair_id} was imported without a plan: there is no order of clips to show.")
        stored, video = timelines.get(session, card.timeline_id), videos.value(session, card.video_id)
    measures = _measures(video, home.cache, card.timeline, stored.sha256)
    clean = PerturbationPlan("clean", 0, 0, tuple(range(len(card.timeline))))
    plan = clean if side == "chosen" or card.plan is None else card.plan
    how = {"side_by_side": side == "both", "titles": titles, "long_side": long_side}
    _written(video, measures, card.timeline, plan, out, how)
    return plan.order


def _check_out(out: Path) -> None:
    if out.suffix.lower() not in SUFFIXES:
        raise TempoError(f"{out.name} ends in {out.suffix or 'nothing'}; name a file that ends in .mp4 or .gif.")
    if out.exists():
        raise FolderTaken(f"{out} exists, and nothing is overwritten. Name a new file.")


def _measures(video: Video, cache: Path, timeline: Timeline, timeline_sha: str) -> Measures:
    """The scan's frame times, if the file still gives the timeline that the pair was made on."""
    place = measures_path(cache, video.sha256)
    if sha256_of(video.path) == video.sha256:
        if not place.exists():
            scan(video.path, cache)
        measures = load_measures(place)
        if timeline_sha256(video.sha256, measures.probe["times_sha256"], timeline) == timeline_sha:
            return measures
    raise FrameTimesChanged(
        f"{video.path.name} is not what was scanned: its bytes or its frame times changed. Put the file back, or scan "
        "its folder again and make new pairs."
    )


def _written(
    video: Video, measures: Measures, timeline: Timeline, plan: PerturbationPlan, out: Path, how: Mapping[str, Any]
) -> None:
    """Under another name until it is whole."""
    partial = out.with_name(f".{out.stem}.{os.getpid()}{out.suffix}")
    try:
        write(video.path, measures, timeline, plan, partial, **how)
        os.replace(partial, out)
    except OSError as error:
        # ffmpeg says it in words, and the words differ.
        if partial.parent.is_dir() and shutil.disk_usage(partial.parent).free < ENOUGH_BYTES:
            raise NoSpace(
                f"The disk of {out} is full; nothing was written. Make room, or name another disk."
            ) from error
        raise TempoError(f"{out} could not be written: {str(error)[:300]}. Choose another place.") from error
    finally:
        if partial.parent.is_dir():
            partial.unlink(missing_ok=True)
