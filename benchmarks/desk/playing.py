"""Whether the two players keep together, and whether a step is one frame: by what they show, not by what the desk says.

The expected places come from the database: the clips' frame ranges and the plan's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page

from benchmarks.desk import tabs
from benchmarks.desk.tabs import key_of
from db import pairs, videos
from tempo_core.measures import load_measures, measures_path
from tests.browser.running import Studio

SPEEDS = {"half": ("slower", 2), "1x": ("slower", 0), "double": ("faster", 3)}
"""Keys from 1x: the desk's speeds are 0.25 0.5 0.75 1 1.25 1.5 2 3."""
SETTLE_S = 0.7
"""Left out at the start of playing, while both players come up."""

MOST_SKIPPED = 8


@dataclass(frozen=True, slots=True)
class Shown:
    """One pair: its rate, and which frames of the file the perturbed side shows, one after the other."""

    pair_id: int
    fps: Fraction
    frames: tuple[int, ...]
    segments: tuple[tuple[int, int], ...]

    def starts_s(self) -> list[float]:
        lengths = [float((end - start) / self.fps) for start, end in self.segments]
        return [0.0, *accumulate(lengths)]


def find(studio: Studio, kind: str, rate: int) -> Shown:
    """A pair of a kind whose video has this many frames a second."""
    with studio.database.reading() as session:
        for line in pairs.page(session, limit=400):
            if line.kind != kind:
                continue
            sha256 = videos.get(session, line.video_id).sha256 or ""
            fps = load_measures(measures_path(studio.home.cache, sha256)).fps
            card = pairs.get(session, line.id)
            if round(fps) == rate and card.plan is not None:
                segments = tuple(span for clip in card.plan.order for span in card.timeline[clip].ranges)
                frames = tuple(k for start, end in segments for k in range(start, end))
                return Shown(line.id, fps, frames, segments)
    raise SystemExit(f"There is no {kind} pair at {rate} frames a second.")


# ---- steps ----------------------------------------------------------------------------------------------------------
def steps(browser: Browser, studio: Studio, n_steps: int) -> dict[str, Any]:
    """Two thirds on and one third back, each one key; the frame that is presented after each must be the next one."""
    found: dict[str, Any] = {"steps": 0, "step_errors": 0}
    for rate in (25, 30):
        shown = find(studio, "shuffle", rate)
        page = tabs.opened(tabs.fresh(browser), f"{studio.review_url}?pair={shown.pair_id}")
        wrong = _wrong_steps(page, shown, n_steps)
        page.context.close()
        found[f"step_errors_{rate}fps"] = wrong
        found["step_errors"] += wrong
        found["steps"] += n_steps
    return found


def _wrong_steps(page: Page, shown: Shown, n_steps: int) -> int:
    page.keyboard.press(key_of("play"))
    page.wait_for_function("() => probe.players().every((video) => video.paused)")
    left, right = _step(page, shown, "stepOn")
    place, wrong = _place(shown, right, left), 0
    for number in range(n_steps):
        way, by = ("stepBack", -1) if number % 3 == 2 else ("stepOn", 1)
        left, right, place = left + by, right, place + by
        got = _step(page, shown, way)
        if got != (left, shown.frames[place]):
            wrong += 1
            # From here on count from what is there: one error is one error.
            left, place = got[0], _place(shown, got[1], got[0])
    return wrong


def _step(page: Page, shown: Shown, act: str) -> tuple[int, int]:
    counts = page.evaluate("() => probe.counts()")
    page.keyboard.press(key_of(act))
    left, right = page.evaluate("(counts) => probe.settled(counts)", counts)
    return round(left * shown.fps), round(right * shown.fps)


def _place(shown: Shown, frame: int, near: int) -> int:
    """Where in the perturbed video a frame of the file stands; in a time lock that is near the other side's place."""
    places = [place for place, k in enumerate(shown.frames) if k == frame]
    return min(places, key=lambda place: abs(place - near), default=near)


# ---- drift ----------------------------------------------------------------------------------------------------------
def drift(browser: Browser, studio: Studio, play_s: float) -> dict[str, Any]:
    """Both locks at three speeds. `drift_p95_ms` is the worst of the six."""
    shown = find(studio, "shuffle", 25)
    page = tabs.opened(tabs.fresh(browser), f"{studio.review_url}?pair={shown.pair_id}")
    found: dict[str, Any] = {}
    foreign, n_frames = 0, 0
    for lock in ("time", "content"):
        for name, (act, times) in SPEEDS.items():
            _from_the_start(page, act, times)
            followed = page.evaluate("(ms) => probe.follow(ms)", 1000 * play_s)
            apart = _apart(followed["rows"], shown, lock)
            found[f"drift_{lock}_{name}_p95_ms"] = float(np.percentile(apart, 95))
            found[f"drift_{lock}_{name}_n"] = len(apart)
            wrong, n = _foreign(followed["frames"], shown)
            foreign, n_frames = foreign + wrong, n_frames + n
            _back_to_normal(page, act, times)
        page.keyboard.press(key_of("lock"))
    page.context.close()
    worst = max(value for key, value in found.items() if key.endswith("_p95_ms"))
    return {"drift_p95_ms": worst, **found, "foreign_frames": foreign, "frames_presented": n_frames}


def _from_the_start(page: Page, act: str, times: int) -> None:
    """Playing from the first frame at a speed. Clip by clip back to the beginning, then play."""
    if page.evaluate("() => probe.players().some((video) => !video.paused)"):
        page.keyboard.press(key_of("play"))
    page.wait_for_timeout(300)
    for _ in range(24):
        page.keyboard.press(key_of("clipBack"))
    for _ in range(times):
        page.keyboard.press(key_of(act))
    page.wait_for_timeout(400)
    page.keyboard.press(key_of("play"))
    page.wait_for_timeout(1000 * SETTLE_S)


def _back_to_normal(page: Page, act: str, times: int) -> None:
    for _ in range(times):
        page.keyboard.press(key_of("faster" if act == "slower" else "slower"))


def _apart(rows: Sequence[Sequence[Any]], shown: Shown, lock: str) -> list[float]:
    """Milliseconds between what both sides show, once a picture, while both play; seeks at the clips' borders count."""
    found = []
    for _now, left, right, _a_seeks, _b_seeks, left_rests, right_rests in rows:
        if left_rests or right_rests:
            continue
        found.append(1000 * abs(right - left if lock == "content" else _in_time(shown, right, left)))
    return found or [float("nan")]


def _in_time(shown: Shown, right: float, left: float) -> float:
    """How far the perturbed side is ahead. A clip may run a frame over its end before the player leaves it."""
    frame = float(1 / shown.fps)
    ahead = [
        start + right - float(first / shown.fps) - left
        for start, (first, end) in zip(shown.starts_s(), shown.segments, strict=False)
        if float(first / shown.fps) - frame <= right <= float(end / shown.fps) + frame
    ]
    return min(ahead, key=abs, default=float("inf"))


def _foreign(frames: Sequence[Sequence[float]], shown: Shown) -> tuple[int, int]:
    """Frames on the perturbed side that do not come next in its order, of all that it presented.

    A busy player leaves frames out, so up to `MOST_SKIPPED` may be missing.
    """
    numbers = [round(media_time * shown.fps) for side, _, media_time in frames if side == 1]
    places: dict[int, int] = {k: place for place, k in enumerate(shown.frames)}
    soon = [set(shown.frames[places[one] : places[one] + MOST_SKIPPED]) if one in places else set() for one in numbers]
    return sum(other not in after for after, other in zip(soon, numbers[1:], strict=False)), len(numbers)
