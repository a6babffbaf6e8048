"""How fast is the scan: against decoding alone, and against separate passes in the published style.

Ratios of CPU seconds measured in one run, each in its own process; absolute times depend on the machine. The grainy
720p clips are drawn here. The multi-pass reference is written for this comparison: separate passes that reopen the
file per shot, keep every frame at full size, and measure at full RGB; the two networks of the paper are left out of it.

Run: python benchmarks/scan.py [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tempo_core import media, scan, shots
from tempo_core.scan_child import peak_bytes

WIDTH, HEIGHT, FPS = 1280, 720, 30
SHOT_S = 3
BIT_RATE = 2_500_000
"""What video sites give 720p; the cost of decoding, and with it every ratio here, depends on it."""
TARGETS = {"scan_over_decode": "<= 2.0", "multipass_over_scan": ">= 8", "peak_rss_mb_short": "< 400",
           "peak_rss_mb_long": "< 400"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--short", type=int, default=20, help="seconds of the short clip")
    parser.add_argument("--long", type=int, default=90, help="seconds of the long clip")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(_measure(arguments.measure[0], Path(arguments.measure[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        figures = compare(Path(folder), arguments.short, arguments.long, arguments.repeats)
    for name, value in figures.items():
        print(f"{name:28s} {value:10.2f}   {TARGETS.get(name, '')}")
    if arguments.json:
        print(json.dumps(figures))


def compare(folder: Path, short_s: int, long_s: int, repeats: int) -> dict[str, float]:
    short, long = folder / "short.mp4", folder / "long.mp4"
    _draw(short, short_s)
    _repeat(short, long, long_s)
    runs = [{what: _in_child(what, short) for what in ("decode", "scan")} for _ in range(repeats)]
    decode_s = statistics.median(run["decode"]["cpu_s"] for run in runs)
    scan_s = statistics.median(run["scan"]["cpu_s"] for run in runs)
    passes, long_scan = _in_child("multipass", short), _in_child("scan", long)
    # Ratios inside one repeat: the load of the machine changes between them.
    return {
        "scan_over_decode": statistics.median(run["scan"]["cpu_s"] / run["decode"]["cpu_s"] for run in runs),
        "multipass_over_scan": passes["cpu_s"] / scan_s,
        "peak_rss_mb_short": runs[-1]["scan"]["peak_rss_mb"],
        "peak_rss_mb_long": long_scan["peak_rss_mb"],
        "decode_ms_per_frame": 1000 * decode_s / (short_s * FPS),
        "scan_ms_per_frame": 1000 * scan_s / (short_s * FPS),
        "multipass_ms_per_frame": 1000 * passes["cpu_s"] / (short_s * FPS),
        "multipass_peak_rss_mb": passes["peak_rss_mb"],
    }


def _in_child(what: str, path: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", what, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _measure(what: str, path: Path) -> dict[str, float]:
    started = time.process_time()
    WHAT[what](path)
    cpu_s = time.process_time() - started
    return {"cpu_s": cpu_s, "peak_rss_mb": peak_bytes() / (1 << 20)}


def _decode(path: Path) -> None:
    for _ in media.decode(path):
        pass


def _scan(path: Path) -> None:
    with tempfile.TemporaryDirectory() as cache:
        scan.scan(path, Path(cache))


def _multipass(path: Path) -> None:
    """Four passes in the published style; what they measure is thrown away."""
    small = [cv2.resize(frame, (48, 27)) for frame in _rgb(path)]
    bounds = _bounds(np.stack(small))
    for start, end in bounds:
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in _rgb(path, start, end)]
        _ = max(int(image.max()) for image in grey) - min(int(image.min()) for image in grey)
    for start, end in bounds:
        middle = (start + end) // 2
        _ = next(_rgb(path, middle, middle + 1))
    kept: list[NDArray[np.uint8]] = []
    for start, end in bounds:
        frames = list(_rgb(path, start, end))
        _ = [float(np.abs(cv2.Laplacian(frame, cv2.CV_64F)).mean()) for frame in frames]
        kept += frames


def _bounds(small: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Shots by the change of the thumbnails; in the paper a network finds them."""
    change = np.abs(np.diff(small.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    found = shots.cuts(np.append(0.0, change).astype(np.float32), np.arange(len(small)) / FPS)
    edges = [0, *found, len(small)]
    return list(pairwise(edges))


def _rgb(path: Path, start: int = 0, end: int | None = None) -> Iterator[NDArray[np.uint8]]:
    """Frames [start, end) at full size, the file opened anew."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        tick = float(1 / (stream.time_base * FPS))
        container.seek(round(start * tick), stream=stream)
        for frame in container.decode(stream):
            number = round(frame.pts / tick)
            if end is not None and number >= end:
                return
            if number >= start:
                yield frame.to_ndarray(format="rgb24")


WHAT: dict[str, Callable[[Path], None]] = {"decode": _decode, "scan": _scan, "multipass": _multipass}


def _draw(path: Path, seconds: int) -> None:
    """Shots of 3 s: a textured background that pans slowly, a moving disc, and grain on every frame."""
    rng = np.random.default_rng(0)
    grain = [rng.normal(0, 6, (HEIGHT, WIDTH, 1)).astype(np.int8).repeat(3, axis=2) for _ in range(6)]
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options={"preset": "veryfast"})
        stream.bit_rate = BIT_RATE
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(seconds * FPS):
            if number % (SHOT_S * FPS) == 0:
                coarse = rng.integers(30, 200, (9, 18, 3)).astype(np.uint8)
                ground = cv2.resize(coarse, (WIDTH + 256, HEIGHT), interpolation=cv2.INTER_CUBIC)
            image = ground[:, number % 90 * 2 :][:, :WIDTH].copy()
            cv2.circle(image, (200 + number * 9 % 900, 360), 80, (235, 225, 90), -1, cv2.LINE_AA)
            image = cv2.add(image, grain[number % 6], dtype=cv2.CV_8U)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())


def _repeat(short: Path, long: Path, seconds: int) -> None:
    """The long clip is the short one again and again, its packets copied."""
    with av.open(str(long), "w") as out:
        stream, shift = None, 0
        while shift < seconds * FPS:
            with av.open(str(short)) as source:
                video = source.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                ticks = int(1 / (video.time_base * FPS))
                for packet in source.demux(video):
                    if packet.dts is not None:
                        packet.pts, packet.dts = packet.pts + shift * ticks, packet.dts + shift * ticks
                        packet.stream = stream
                        out.mux(packet)
                shift += video.frames


if __name__ == "__main__":
    main()
