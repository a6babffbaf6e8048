"""How a browser shows a plan: the file itself where it can, and an edit list over it. No decoder is loaded here."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tempo_core.measures import edges_s
from tempo_core.types import JsonDict, Timeline

BROWSER_PIX_FMTS = ("yuv420p", "yuvj420p")
H264_PROFILES = ("Baseline", "Constrained Baseline", "Main", "High")
STEP_MS = 50.0
"""A step backwards decodes a whole group of pictures; above this it feels slow (our choice)."""


def browser_plan(probe: JsonDict) -> tuple[bool, tuple[str, ...]]:
    """Whether the file itself can be played and stepped in a browser, and every reason why not (VIDEO.md 9)."""
    pixels = probe["width"] * probe["height"]
    codec = "av1" if "av1" in probe["codec"] or "dav1d" in probe["codec"] else probe["codec"].removeprefix("lib")
    webm = "webm" in probe["container"] and codec in ("vp8", "vp9", "av1")
    mp4 = "mp4" in probe["container"] and codec in ("h264", "vp9", "av1")
    reasons = {
        "codec": codec not in ("h264", "vp8", "vp9", "av1"),
        "container": codec in ("h264", "vp8", "vp9", "av1") and not (webm or mp4),
        "pixel_format": probe["pix_fmt"] not in BROWSER_PIX_FMTS,
        "profile": codec == "h264" and probe["profile"] not in H264_PROFILES,
        "rotation": probe["rotation"] != 0,
        "starts_late": probe["first_pts"] != 0,
        "edit_list": probe["edit_list"],
        "too_large": max(probe["width"], probe["height"]) > 1280 or min(probe["width"], probe["height"]) > 720,
        "slow_steps": probe["gop_max"] * 1.1 * pixels / 921_600 > STEP_MS,
        "partial": probe["partial"],
    }
    why = tuple(code for code, holds in reasons.items() if holds)
    return not why, why


def edit_list(
    timeline: Timeline, order: Sequence[int], pts: NDArray[np.int64], time_base: Fraction
) -> list[list[tuple[float, float]]]:
    """What a player shows of the file for a plan: for each clip in `order`, its ranges in seconds `[start, end)`."""
    edges = edges_s(pts, time_base)
    return [[(float(edges[start]), float(edges[end])) for start, end in timeline[i].ranges] for i in order]
