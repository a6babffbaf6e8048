"""What the one decode pass of a video left behind, and its file. Every threshold acts on this; nothing decodes again.

The file is named by the video's content and by the *scan key*: other sizes, steps or libraries measure other values,
so they get another file instead of a silent mixture.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import zipfile
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tempo_core.errors import MediaError, NoSpace
from tempo_core.types import JsonDict

SCHEMA = 1
LIBRARIES = (("av",), ("numpy",), ("scenedetect-headless", "scenedetect"))
"""What measures, each by the names under which it is distributed."""
LONG_SIDE = 256
"""Long side of the small picture that everything is measured on."""
LIKE_STEP_S = 0.2
"""One likeness sample each 0.2 s, the shortest shot kept: so every kept shot holds one."""
STRIP_STEP_S = 0.5
LIKE_BINS = (8, 12, 12)
"""Lab histogram over L 0..255 and a, b 64..191; 1,152 bins."""


@dataclass(frozen=True, slots=True)
class Measures:
    """Per-frame values (n frames), likeness samples (m) and thumbnails (q) of one video."""

    sha256: str
    probe: JsonDict
    pts: NDArray[np.int64]
    time_base: Fraction
    score: NDArray[np.float32]
    """How much a frame differs from the one before (PySceneDetect's content value); cuts come from it."""
    sharpness: NDArray[np.float32]
    """Mean absolute Laplacian of the small luma picture."""
    motion: NDArray[np.float32]
    lo: NDArray[np.uint8]
    hi: NDArray[np.uint8]
    """Darkest and brightest luma of the small picture."""
    like_at: NDArray[np.int32]
    like: NDArray[np.uint8]
    """Frame numbers (m,) and square roots of the Lab histograms (m, 1152)."""
    strip_at: NDArray[np.int32]
    strip: NDArray[np.uint8]
    strip_ends: NDArray[np.int64]
    """Frame numbers (q,), the JPEGs one after the other, and where each ends (q,)."""

    @property
    def n_frames(self) -> int:
        return len(self.pts)

    @property
    def t(self) -> NDArray[np.float64]:
        """Seconds from the first frame; an MPEG-TS may start at 1000 s."""
        return np.asarray((self.pts - self.pts[0]) * float(self.time_base), np.float64)

    @property
    def edges_s(self) -> NDArray[np.float64]:
        """Where each frame begins, and where the last one ends (n + 1,)."""
        return edges_s(self.pts, self.time_base)

    @property
    def fps(self) -> Fraction:
        """For display and for constant-rate proxies only; a moment is a frame number."""
        span = Fraction(int(self.pts[-1] - self.pts[0])) * self.time_base
        return ((self.n_frames - 1) / span).limit_denominator(1001)


def edges_s(pts: NDArray[np.int64], time_base: Fraction) -> NDArray[np.float64]:
    """Seconds from the first frame to each frame, and the end of the last one: a median step later (n + 1,)."""
    t = (pts - pts[0]) * float(time_base)
    step = float(np.median(np.diff(t))) if len(t) > 1 else 0.0
    return np.append(t, t[-1] + step)


@cache
def scan_key() -> str:
    """First 16 hex digits over everything that changes what is measured."""
    # By the installed versions, not by importing: pages read measures, and need no decoder for it.
    versions = [".".join(_version(*names).split(".")[:2]) for names in LIBRARIES]
    parts = [SCHEMA, versions, LONG_SIDE, LIKE_STEP_S, STRIP_STEP_S, LIKE_BINS]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _version(*names: str) -> str:
    """The version of a library by the first of its distributions that is installed."""
    for name in names[:-1]:
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    return version(names[-1])


def measures_path(cache: Path, sha256: str) -> Path:
    return cache / "scan" / f"{sha256}-{scan_key()}.npz"


def save_measures(measures: Measures, path: Path) -> None:
    """Under a temporary name, then renamed: a killed scan leaves no torn file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(measures, name) for name in _ARRAYS}
    temporary = temporary_name(path, os.getpid())
    try:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, head=_head(measures), **arrays)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"The disk of {path.parent} is full; free some space and scan again.") from error
        raise


def temporary_name(path: Path, pid: int) -> Path:
    return path.with_name(f".{pid}.{path.name}.part")


def load_measures(path: Path) -> Measures:
    """Read a stored pass. Nothing in it is ever unpickled.

    Raises:
        MediaError: `missing` where the cache was cleared, `torn` where the file is broken: scan the video again.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            head = json.loads(bytes(stored["head"]))
            arrays = {name: stored[name] for name in _ARRAYS}
    except FileNotFoundError as error:
        raise MediaError("missing", f"The measurements {path.name} are gone from the cache. Scan again.") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise MediaError("torn", f"The measurements {path.name} are not readable. Delete them, scan again.") from error
    return Measures(head["sha256"], head["probe"], time_base=Fraction(*head["time_base"]), **arrays)


_ARRAYS = ("pts", "score", "sharpness", "motion", "lo", "hi", "like_at", "like", "strip_at", "strip", "strip_ends")


def _head(measures: Measures) -> NDArray[np.uint8]:
    base = measures.time_base
    head = {"sha256": measures.sha256, "probe": measures.probe, "time_base": [base.numerator, base.denominator]}
    return np.frombuffer(json.dumps(head).encode(), np.uint8)


def strip_jpeg(measures: Measures, frame_number: int) -> bytes:
    """The stored thumbnail nearest to a frame, as JPEG (long side 256)."""
    i = int(np.argmin(np.abs(measures.strip_at - frame_number)))
    start = int(measures.strip_ends[i - 1]) if i else 0
    return bytes(measures.strip[start : int(measures.strip_ends[i])])
