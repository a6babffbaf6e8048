"""The pass over a video: every packet decoded once, everything measured on a small picture of each frame.

The small picture is made from views of the decoder's planes; converting full frames to RGB would cost half a decode
more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import AdaptiveDetector, FrameTimecode

from tempo_core import media
from tempo_core.errors import MediaError
from tempo_core.measures import LIKE_BINS, LIKE_STEP_S, LONG_SIDE, STRIP_STEP_S, Measures
from tempo_core.media import DEFAULT_LIMITS, Index, MediaLimits
from tempo_core.playback import browser_plan
from tempo_core.types import JsonDict

TICK_FRAMES = 32


def measure(
    path: Path,
    sha256: str,
    index: Index,
    limits: MediaLimits = DEFAULT_LIMITS,
    tick: Callable[[], None] = lambda: None,
) -> Measures:
    """Decode a video once and measure it.

    Raises:
        MediaError: `damaged`, `bad_times`, `size_changes`, `too_short`, `memory`.
    """
    one_pass, partial = _Pass(), False
    try:
        for frame in media.decode(path):
            one_pass.add(frame)
            if len(one_pass.pts) % TICK_FRAMES == 0:
                tick()
    except MediaError as error:
        if error.code != "damaged" or not limits.keep_damaged:
            raise
        partial = True
    if len(one_pass.pts) < 2:
        raise MediaError("too_short", f"{path.name} has {len(one_pass.pts)} frames; a video needs 2 or more.")
    measures = one_pass.measures(sha256)
    return replace(measures, probe=_probe(index, measures, one_pass.rotation, partial))


class FastAdaptiveDetector(AdaptiveDetector):  # type: ignore[misc]
    """PySceneDetect's detector with its content value computed in one call: 0.75 -> 0.28 ms a frame, the same value.

    It reaches into private parts (a StatsManager would hand the score out, but switches edge detection on, 3 times the
    cost); scenedetect is pinned below 0.8, and a test compares scores and cuts with the untouched detector.
    """

    def _calculate_frame_score(self, timecode: Any, frame_img: NDArray[np.uint8]) -> float:
        hsv = cv2.cvtColor(frame_img, cv2.COLOR_BGR2HSV)
        before, self._last_frame = self._last_frame, hsv  # type: ignore[has-type]
        return 0.0 if before is None else float(cv2.norm(hsv, before, cv2.NORM_L1)) / hsv.size

    @property
    def score(self) -> float:
        return float(self._frame_score or 0.0)


class _Pass:
    """Collects the measures of one video, frame by frame."""

    def __init__(self) -> None:
        # Every parameter is passed: the library's defaults changed between versions.
        self.detector = FastAdaptiveDetector(
            adaptive_threshold=3.5, min_scene_len="0.25s", window_width=3, min_content_val=15.0
        )
        self.pts: list[int] = []
        self.time_base = Fraction(1)
        self.tick_s = 0.0
        self.rotation = 0
        self.like_step = self.strip_step = -1
        self.score: list[float] = []
        self.sharpness: list[float] = []
        self.motion: list[float] = []
        self.lo: list[float] = []
        self.hi: list[float] = []
        self.like_at: list[int] = []
        self.like: list[NDArray[np.uint8]] = []
        self.strip_at: list[int] = []
        self.strip: list[NDArray[np.uint8]] = []
        self.luma: NDArray[np.uint8] | None = None

    def add(self, frame: Any) -> None:
        if not self.pts:
            self.time_base, self.tick_s = frame.time_base, float(frame.time_base)
            self.rotation = frame.rotation
        number = len(self.pts)
        self.pts.append(frame.pts)
        luma, bgr = small_picture(frame)
        self.detector.process_frame(FrameTimecode(number, 30.0), bgr)
        self.score.append(self.detector.score)
        self._luma_measures(luma)
        # By the grid and not by the distance to the last sample, so that every stretch of a step holds one.
        t = (frame.pts - self.pts[0]) * self.tick_s + 1e-6
        if (step := int(t / LIKE_STEP_S)) != self.like_step:
            self.like_step = step
            self.like_at.append(number)
            self.like.append(lab_histogram(bgr))
        if (step := int(t / STRIP_STEP_S)) != self.strip_step:
            self.strip_step = step
            self.strip_at.append(number)
            upright = np.ascontiguousarray(media.upright(bgr, self.rotation))
            self.strip.append(cv2.imencode(".jpg", upright, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].ravel())

    def _luma_measures(self, luma: NDArray[np.uint8]) -> None:
        edges = cv2.Laplacian(luma, cv2.CV_16S)
        self.sharpness.append(cv2.norm(edges, cv2.NORM_L1) / luma.size)
        self.motion.append(0.0 if self.luma is None else cv2.norm(luma, self.luma, cv2.NORM_L1) / luma.size)
        low, high, _, _ = cv2.minMaxLoc(luma)
        self.lo.append(low)
        self.hi.append(high)
        self.luma = luma

    def measures(self, sha256: str) -> Measures:
        return Measures(
            sha256=sha256,
            probe={},
            pts=np.array(self.pts, np.int64),
            time_base=self.time_base,
            score=np.array(self.score, np.float32),
            sharpness=np.array(self.sharpness, np.float32),
            motion=np.array(self.motion, np.float32),
            lo=np.array(self.lo, np.uint8),
            hi=np.array(self.hi, np.uint8),
            like_at=np.array(self.like_at, np.int32),
            like=np.stack(self.like),
            strip_at=np.array(self.strip_at, np.int32),
            strip=np.concatenate(self.strip),
            strip_ends=np.cumsum([len(jpeg) for jpeg in self.strip]).astype(np.int64),
        )


def small_picture(frame: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Luma (h, w) and BGR (h, w, 3) of a frame, long side at most 256, even sizes."""
    width, height = frame.width, frame.height
    scale = min(1.0, LONG_SIDE / max(width, height))
    w, h = (max(2, 2 * round(side * scale / 2)) for side in (width, height))
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        frame = frame.reformat(w, h, "yuv420p")
    stacked = np.empty((h * 3 // 2, w), np.uint8)
    chroma = stacked[h:].reshape(2, h // 2, w // 2)
    cv2.resize(_plane(frame, 0), (w, h), dst=stacked[:h], interpolation=cv2.INTER_LINEAR)
    for i in (1, 2):
        cv2.resize(_plane(frame, i), (w // 2, h // 2), dst=chroma[i - 1], interpolation=cv2.INTER_LINEAR)
    return stacked[:h], np.asarray(cv2.cvtColor(stacked, cv2.COLOR_YUV2BGR_I420), np.uint8)


def _plane(frame: Any, i: int) -> NDArray[np.uint8]:
    plane = frame.planes[i]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


def lab_histogram(bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Square root of the Lab histogram (1152,), scaled to 0..255: a dot product of two is their Bhattacharyya likeness.

    a and b outside 64..191 count in the outer bins; left out, a saturated scene would have an empty histogram.
    """
    half = cv2.resize(bgr, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    lab = cv2.LUT(cv2.cvtColor(half, cv2.COLOR_BGR2LAB), _CLIPPED)
    counts = cv2.calcHist([lab], [0, 1, 2], None, list(LIKE_BINS), [0, 256, 64, 192, 64, 192])
    return np.asarray(np.round(np.sqrt(counts.ravel() / counts.sum()) * 255), np.uint8)


_levels = np.arange(256, dtype=np.uint8)
_CLIPPED = np.stack([_levels, _levels.clip(64, 191), _levels.clip(64, 191)], axis=-1)[None]


def _probe(index: Index, measures: Measures, rotation: int, partial: bool) -> JsonDict:
    t, turned = measures.t, rotation % 180 != 0
    line = np.linspace(0.0, t[-1], len(t))
    tolerance = max(1.5 * float(measures.time_base), 1e-3)
    probe: JsonDict = {
        "container": index.container,
        "codec": index.codec,
        "profile": index.profile,
        "pix_fmt": index.pix_fmt,
        "width": index.height if turned else index.width,
        "height": index.width if turned else index.height,
        "rotation": rotation % 360,
        "hdr": index.hdr,
        "n_packets": index.n_packets,
        "n_frames": measures.n_frames,
        "first_pts": int(measures.pts[0]),
        "header_frames": index.header_frames,
        "header_duration_s": index.header_duration_s,
        "gop_max": index.gop_max,
        "constant_rate": bool(np.all(np.abs(t - line) <= tolerance)),
        "edit_list": index.n_packets != measures.n_frames,
        "times_sha256": media.times_sha256(measures.pts, measures.time_base),
        "partial": partial,
    }
    source_ok, why = browser_plan(probe)
    return {**probe, "browser": {"source_ok": source_ok, "why": list(why)}}
