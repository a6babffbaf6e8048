"""The child of a scan: reads one path a line, answers one JSON line each. Limits hold inside, so that it dies alone.

Started as `python -m tempo_core.scan_child` by `children.run_bounded`; nothing heavy is imported.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from pathlib import Path
from typing import IO

import cv2

from tempo_core.errors import MediaError, NoSpace
from tempo_core.media import Index, MediaLimits
from tempo_core.scan import scan
from tempo_core.types import JsonDict

TICK_S = 1.0


def main() -> None:
    # Answers keep the real stdout; a library that prints must not tear them.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    setup = json.loads(sys.stdin.readline())
    limits = MediaLimits(**setup["limits"])
    _limit(resource.RLIMIT_AS, limits.memory_bytes)
    _limit(resource.RLIMIT_FSIZE, limits.written_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    root = None if setup["root"] is None else Path(setup["root"])
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        _answer(answers, _scan(Path(json.loads(line)), Path(setup["cache"]), limits, root, answers))


def _scan(path: Path, cache: Path, limits: MediaLimits, root: Path | None, answers: IO[str]) -> JsonDict:
    last, frame_bytes = 0.0, 0

    def tick() -> None:
        nonlocal last
        if time.monotonic() - last > TICK_S:
            last = time.monotonic()
            _answer(answers, {"tick": peak_bytes()})

    def before_decode(index: Index) -> None:
        nonlocal frame_bytes
        frame_bytes = 2 * index.width * index.height
        as_720p30_s = index.n_packets / 30 * index.width * index.height / 921_600
        _limit_cpu(limits.cpu_s + limits.cpu_s_per_720p30_s * as_720p30_s)

    _limit_cpu(limits.cpu_s)
    try:
        return scan(path, cache, limits=limits, root=root, before_decode=before_decode, tick=tick).as_json()
    except NoSpace as error:
        return {"no_space": str(error)}
    except MediaError as error:
        # Decoders report an allocation that failed as damage.
        if error.code == "damaged" and _status("VmPeak") + 4 * frame_bytes > limits.memory_bytes:
            return _no_memory(path, limits)
        return {"code": error.code, "message": str(error)}
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
            raise
        return _no_memory(path, limits)


def _no_memory(path: Path, limits: MediaLimits) -> JsonDict:
    most = limits.memory_bytes / (1 << 30)
    return {"code": "memory", "message": f"{path.name} needs more than {most:.1f} GiB to scan. Scale it down."}


def _limit_cpu(seconds: float) -> None:
    # The limit counts for the process, which scans many videos: from what it has used so far.
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + seconds + 1))


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (soft, hard))


def peak_bytes() -> int:
    """Most memory held so far. Not by `ru_maxrss` where /proc is: Linux starts it at the peak of the parent."""
    if peak := _status("VmHWM"):
        return peak
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def _status(name: str) -> int:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)


def _answer(answers: IO[str], message: JsonDict) -> None:
    answers.write(json.dumps(message) + "\n")


if __name__ == "__main__":
    main()
