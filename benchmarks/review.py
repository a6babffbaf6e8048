"""How the review desk behaves in real Chromium, in front of the real server, with H.264 videos of about 5 MB.

    python benchmarks/review.py --json                       everything, about six minutes on two cores
    python benchmarks/review.py --only latency,plain         some parts: latency plain burst restart drift steps
                                                             memory first acks
    python benchmarks/review.py --quick --only burst         small counts, to see that it works

What the figures mean, all taken inside the page by `performance.now()` (benchmarks/desk/probe.js):

- `key_to_pair`: from the keydown event to the first animation frame after the one in which *all* of this held: the
  header names another pair; both players that can be seen have another file than at the key; each has a decoded frame,
  does not seek, and has presented a frame of this file (requestVideoFrameCallback) that belongs to where it stands.
- `st_video`: the same, on a page with two `st.video` of the same files, both texts and a button with a key.
- `key_to_moving`: until both players have also presented a frame *after* the key, so the new pair visibly plays.
- `ack`: until the header says "saved" again. The reviewer does not wait for it.
- `first_pair_s`: from the start of the navigation to the first pair, visible as above, in a profile without a cache.
- `drift`: how far the players are apart by their own clocks, once a picture while both play, seeks at the borders of
  clips included: the same moment of both videos (time lock), or the same moment of the file (content lock).
- `step_errors`: steps after which the frame that Chromium presented, by its media time, is not the next one of the file
  on the left or the next one of the plan on the right.
- `foreign_frames`: frames that the perturbed side presented while playing and that do not come next in its order.
- `burst_stored`, `restart_stored`, `switch_stored`, `closed_tab_stored`: rows in the database, against keys pressed.
- `server_growth_mb`, `heap_growth_mb`: the server's resident memory and the page's JavaScript heap (its rubbish
  collected), after 200 pairs against before them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.desk import home as homes
from benchmarks.desk import tabs
from benchmarks.desk.parts import PARTS, Bench, Figures
from tempo_core.settings import Home

TARGETS = {
    "key_to_pair_p50_ms": "<= 60", "key_to_pair_p95_ms": "<= 120", "key_to_pair_never": "<= 0",
    "burst_stored": ">= 60", "restart_stored": ">= 4", "switch_stored": ">= 8", "closed_tab_stored": ">= 4",
    "drift_p95_ms": "<= 20", "step_errors": "<= 0", "server_growth_mb": "<= 10", "heap_growth_mb": "<= 5",
    "first_pair_s": "<= 3", "server_rss_mb": "<= 250",
}  # fmt: skip
N_VIDEOS, N_PAIRS = 60, 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--only", default="", help=f"parts, with commas between: {' '.join(PARTS)}")
    parser.add_argument(
        "--quick", action="store_true", help="few videos and keys: shows that it works, measures nothing"
    )
    parser.add_argument(
        "--studio", type=Path, help="keep the drawn studio in this folder, or use the one that is there"
    )
    arguments = parser.parse_args()
    wanted = [name.strip() for name in arguments.only.split(",") if name.strip()] or list(PARTS)
    if unknown := [name for name in wanted if name not in PARTS]:
        parser.error(f"There is no part {', '.join(unknown)}. Parts are {' '.join(PARTS)}.")
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(arguments.studio or Path(scratch), wanted, quick=arguments.quick)
    if arguments.json:
        print(json.dumps(figures))


def measure(folder: Path, wanted: list[str], *, quick: bool = False) -> Figures:
    """The parts one after the other, each over a copy of the same studio."""
    base = _studio(folder, quick)
    figures: Figures = {}
    with tabs.chromium() as browser, tempfile.TemporaryDirectory(dir=folder) as scratch:
        figures |= _told({"chromium": browser.version, **_machine()})
        for name in wanted:
            load, started = os.getloadavg()[0], time.monotonic()
            found = PARTS[name](Bench(browser, base, Path(scratch), quick))
            figures |= _told({**found, f"{name}_load": load, f"{name}_took_s": time.monotonic() - started})
    if "key_to_pair_p50_ms" in figures and "st_video_p50_ms" in figures:
        ratio = figures["key_to_pair_p50_ms"] / figures["st_video_p50_ms"]
        figures |= _told({"key_to_pair_over_st_video": ratio})
    return figures


def _studio(folder: Path, quick: bool) -> Home:
    """What lies in the folder, or a new one."""
    if (folder / "home" / "tempo.db").exists():
        return Home(folder / "home")
    folder.mkdir(parents=True, exist_ok=True)
    if quick:
        return homes.build(folder, 4, N_PAIRS, homes.SMALL)
    return homes.build(folder, N_VIDEOS, N_PAIRS)


def _machine() -> Figures:
    return {"streamlit": version("streamlit"), "python": platform.python_version(), "cores": os.cpu_count() or 0}


def _told(figures: Figures) -> Figures:
    """Print them as they come: a part that fails takes no other part's figures with it."""
    for name, value in figures.items():
        print(line(name, value), flush=True)
    return figures


def line(name: str, value: object) -> str:
    """One figure for a person: with its target, and whether it is met."""
    shown = str(value)
    if isinstance(value, float):
        shown = f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"
    target = TARGETS.get(name, "")
    return f"{name:32}{shown:>16}   {target}{'' if not target or _met(value, target) else '   MISSED'}".rstrip()


def _met(value: object, target: str) -> bool:
    sign, limit = target.split()
    assert isinstance(value, int | float)
    return value <= float(limit) if sign == "<=" else value >= float(limit)


if __name__ == "__main__":
    main()
