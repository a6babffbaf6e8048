"""Twelve files that are no good videos, scanned by the real worker."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from benchmarks.trust import yard as yards
from benchmarks.trust.rows import Row, at_most, none_of
from db import videos
from jobs import launch
from jobs.payloads import ScanPayload
from tempo_core import scan
from tempo_core.errors import MediaError
from tempo_core.settings import Home
from tests.videos import NASTY, write_nasty

TWELVE = {
    "0 byte": "zero.mp4", "cut off": "cut_off.mp4", "no video stream": "cover_art.mp4",
    "varying rate": "variable_rate.mp4", "rotated": "rotated.mp4", "HLS text": "playlist_named.mp4",
    "1 frame": "one_frame.mp4", "more pixels than allowed": "eight_k.mp4", "wrong suffix": "mkv_named.avi",
    "audio only": "sound.mp4", "fifo": "fifo.mp4", "symlink out": "link_out.mp4",
}  # fmt: skip
CODES = NASTY | {"cover_art.mp4": NASTY["cover_art.m4a"]}
SOUND = {"variable_rate.mp4", "rotated.mp4", "mkv_named.avi"}
"""Odd, and readable all the same: they get a status and a timeline's verdict, no code."""


def measure(scratch: Path, effort: float) -> list[Row]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        folder = _folder(scratch, f"http://127.0.0.1:{listener.getsockname()[1]}/x.ts")
        rows = [*_by_the_worker(scratch, folder), _slowest(scratch, folder)]
        heard = "a request" if _asked(listener) else "nothing"
        return [*rows, Row("what a playlist's address heard", "nothing", heard, heard == "nothing")]


def _folder(scratch: Path, url: str) -> Path:
    """The twelve alone."""
    made, folder = scratch / "made", scratch / "broken"
    made.mkdir()
    folder.mkdir()
    write_nasty(made, url)
    # A folder is searched for the suffixes of videos.
    (made / "cover_art.m4a").rename(made / "cover_art.mp4")
    for name in TWELVE.values():
        (made / name).rename(folder / name)
    return folder


def _by_the_worker(scratch: Path, folder: Path) -> list[Row]:
    with yards.opened(Home(scratch / "home")) as yard:
        worker = yard.worker()
        job = yard.ended(launch.enqueue(yard.database, ScanPayload(str(folder)), yard.person))
        alive = worker.poll() is None
        with yard.database.reading() as session:
            cards = {card.name: card for card in videos.listing(session, limit=100)}
    told = [_told(cards.get(name), name) for name in TWELVE.values()]
    return [
        none_of("files without their status and reason", told.count(False), len(TWELVE), "12 broken videos"),
        Row("the scan's job, and the worker after it", "done, alive", f"{job.state}, {'alive' if alive else 'gone'}",
            job.state == "succeeded" and alive),
    ]  # fmt: skip


def _told(card: videos.VideoCard | None, name: str) -> bool:
    if card is None:
        return False
    if name in SOUND:
        return card.status == "ok"
    return card.status != "ok" and card.reason == CODES[name] and bool(card.message)


def _slowest(scratch: Path, folder: Path) -> Row:
    """Each in a child of its own, the child's start with it."""
    took = {}
    for what, name in TWELVE.items():
        began = time.monotonic()
        ((_, result),) = scan.scan_many([folder / name], scratch / "cache", root=folder)
        took[what] = time.monotonic() - began
        assert isinstance(result, MediaError) == (name not in SOUND), (name, result)
    slowest = max(took, key=lambda what: took[what])
    return at_most(f"the slowest of them ({slowest}), with its child's start", took[slowest], 5, " s")


def _asked(listener: socket.socket) -> bool:
    """Whether anything connected."""
    try:
        listener.accept()
    except BlockingIOError:
        return False
    return True
