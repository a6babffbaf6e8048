"""Scan videos: one decode pass each, ever, stored under the content's hash.

`scan` works in this process, for tests and notebooks. `scan_many` is for files of unknown origin: its children can be
killed, and what happens to one file never stops the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from tempo_core import media
from tempo_core.children import Death, run_bounded
from tempo_core.errors import MediaError, NoSpace
from tempo_core.measures import Measures, load_measures, measures_path, save_measures, strip_jpeg
from tempo_core.media import DEFAULT_LIMITS, Index, MediaLimits
from tempo_core.scan_pass import measure
from tempo_core.types import JsonDict, Video

__all__ = ["ScanResult", "load_measures", "measures_path", "scan", "scan_many", "strip_jpeg"]

CHILD = "tempo_core.scan_child"


@dataclass(frozen=True, slots=True)
class ScanResult:
    """A video as scanned. `probe` can be stored as JSON; the measurements lie at `measures_path`."""

    video: Video
    times_sha256: str
    probe: JsonDict
    measures_path: Path
    n_decoded: int
    """Frames decoded now: 0 where the measurements were already stored."""

    def as_json(self) -> JsonDict:
        video = {**asdict(self.video), "path": None, "fps": str(self.video.fps)}
        return {"video": video, "probe": self.probe, "n_decoded": self.n_decoded}


def scan(
    path: Path,
    cache: Path,
    *,
    limits: MediaLimits = DEFAULT_LIMITS,
    root: Path | None = None,
    before_decode: Callable[[Index], None] = lambda index: None,
    tick: Callable[[], None] = lambda: None,
) -> ScanResult:
    """Measure one video in this process and store the result, or find it stored.

    Args:
        cache: The studio's cache folder; measurements go to `cache/scan`.
        root: Where the file's real path must lie.
        tick: Called while work goes on, so that a watchdog sees progress.

    Raises:
        MediaError: With the code of VIDEO.md section 10.
        NoSpace: The cache's disk is full.
    """
    media.check_file(path, limits, root)
    sha256 = media.sha256_of(path, tick)
    stored = measures_path(cache, sha256)
    if stored.exists():
        return _result(path, load_measures(stored), stored, 0)
    index = media.index(path, limits, tick)
    before_decode(index)
    measures = measure(path, sha256, index, limits, tick)
    save_measures(measures, stored)
    return _result(path, measures, stored, measures.n_frames)


def _result(path: Path, measures: Measures, stored: Path, n_decoded: int) -> ScanResult:
    probe = measures.probe
    video = Video(
        sha256=measures.sha256,
        path=path,
        fps=measures.fps,
        n_frames=measures.n_frames,
        duration_s=float(measures.edges_s[-1]),
        width=probe["width"],
        height=probe["height"],
    )
    return ScanResult(video, probe["times_sha256"], probe, stored, n_decoded)


def scan_many(
    paths: Sequence[Path],
    cache: Path,
    *,
    processes: int = 1,
    limits: MediaLimits = DEFAULT_LIMITS,
    root: Path | None = None,
) -> Iterator[tuple[Path, ScanResult | MediaError]]:
    """Scan videos in bounded children, in the order in which they complete; every path comes back exactly once.

    Raises:
        NoSpace: The cache's disk is full; what was scanned is stored.
    """
    setup = {"cache": str(cache), "root": None if root is None else str(root), "limits": asdict(limits)}
    answers = run_bounded(
        CHILD,
        setup,
        [str(path) for path in paths],
        processes=processes,
        no_progress_s=limits.no_progress_s,
        memory_bytes=limits.memory_bytes,
    )
    for i, answer in answers:
        if isinstance(answer, Death):
            yield paths[i], MediaError(answer.code, f"{paths[i].name}: {answer.message} The other videos went on.")
            _sweep(cache, answer.pid)
        elif "no_space" in answer:
            raise NoSpace(answer["no_space"])
        elif "code" in answer:
            yield paths[i], MediaError(answer["code"], answer["message"])
        else:
            yield paths[i], _from_json(paths[i], cache, answer)


def _sweep(cache: Path, pid: int) -> None:
    for torn in (cache / "scan").glob(f".{pid}.*.part"):
        torn.unlink(missing_ok=True)


def _from_json(path: Path, cache: Path, answer: JsonDict) -> ScanResult:
    video = Video(**{**answer["video"], "path": path, "fps": Fraction(answer["video"]["fps"])})
    stored = measures_path(cache, video.sha256)
    return ScanResult(video, answer["probe"]["times_sha256"], answer["probe"], stored, answer["n_decoded"])
