"""Run items through child processes that may hang, crash or eat memory: the item is marked and the rest goes on.

A child gets one item at a time, so a death names its item. Children stay in this process group: whoever kills the
group kills them too, and a child whose parent is gone ends at the end of its input.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tempo_core.types import JsonDict

WATCH_S = 0.5
START_S = 120.0
"""Imports alone take half a second, and many times that on a loaded machine."""


@dataclass(frozen=True, slots=True)
class Death:
    """How the child of an item ended: `timeout`, `memory` or `crashed`."""

    code: str
    message: str
    pid: int


def run_bounded(
    module: str,
    setup: JsonDict,
    items: Sequence[str],
    *,
    processes: int,
    no_progress_s: float,
    memory_bytes: int,
) -> Iterator[tuple[int, JsonDict | Death]]:
    """Yield (index of the item, answer or death) as they complete.

    The module reads `setup` as its first line and says {"ready": true}; then it answers each line with one JSON line.
    In between it says {"tick": peak bytes} while there is progress.
    """
    waiting = list(range(len(items)))[::-1]
    with selectors.DefaultSelector() as selector:
        children: list[_Child] = []
        try:
            for _ in range(min(max(1, processes), len(items))):
                children.append(_Child(module, setup, selector))
            while waiting or any(child.item is not None for child in children):
                for child in children:
                    if child.item is None and child.ready and waiting:
                        child.give(waiting.pop(), items)
                spoke = [key.data for key, _ in selector.select(WATCH_S)]
                # Before any answer leaves: while the caller works on one, nobody reads, and silence means nothing.
                for child in children:
                    if child not in spoke:
                        child.watch(no_progress_s)
                for child in spoke:
                    for message in child.read():
                        if (answer := child.take(message, memory_bytes)) is not None:
                            yield answer
                    if child.ended:
                        children.remove(child)
                        yield from child.bury()
                        if waiting:
                            children.append(_Child(module, setup, selector))
        finally:
            for child in children:
                child.stop()


class _Child:
    def __init__(self, module: str, setup: JsonDict, selector: selectors.BaseSelector) -> None:
        self.stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed in stop)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            env=_environment(),
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        os.set_blocking(self.stdout.fileno(), False)
        self.selector = selector
        selector.register(self.stdout, selectors.EVENT_READ, self)
        self.item: int | None = None
        self.ready = self.ended = False
        self.killed: tuple[str, str] | None = None
        self.rest = b""
        self.seen = time.monotonic()
        self._say(setup)

    def _say(self, message: JsonDict | str) -> None:
        # A broken pipe: it died between two items, and reading its output tells the rest.
        with suppress(BrokenPipeError):
            self.stdin.write(json.dumps(message).encode() + b"\n")
            self.stdin.flush()

    def give(self, item: int, items: Sequence[str]) -> None:
        self.item, self.seen = item, time.monotonic()
        self._say(items[item])

    def read(self) -> list[JsonDict]:
        block = self.stdout.read()
        if block == b"":
            self.ended = True
        *lines, self.rest = (self.rest + (block or b"")).split(b"\n")
        return [json.loads(line) for line in lines]

    def take(self, message: JsonDict, memory_bytes: int) -> tuple[int, JsonDict | Death] | None:
        self.seen = time.monotonic()
        if "ready" in message:
            self.ready = True
        elif "tick" in message:
            # Where the system does not bind memory (macOS), the watch on the peak does.
            if message["tick"] > memory_bytes:
                self._kill("memory", f"reading it took more than {memory_bytes / (1 << 30):.1f} GiB.")
        elif self.item is not None:
            item, self.item = self.item, None
            return item, message
        return None

    def watch(self, no_progress_s: float) -> None:
        silent_s = time.monotonic() - self.seen
        if not self.ready and silent_s > START_S:
            self._kill("timeout", "")
        if self.item is not None and silent_s > no_progress_s:
            self._kill("timeout", f"there was no progress for {no_progress_s:.0f} s, reading was stopped.")

    def _kill(self, code: str, message: str) -> None:
        self.killed = self.killed or (code, message)
        self.process.kill()

    def bury(self) -> Iterator[tuple[int, JsonDict | Death]]:
        status = self.process.wait()
        self.stderr.seek(0)
        last_words = self.stderr.read().decode(errors="replace").strip().rsplit("\n", 1)[-1]
        self.stop()
        if not self.ready:
            raise RuntimeError(f"A child could not start (status {status}): {last_words}")
        if self.item is not None:
            code, message = self.killed or _why(status, last_words)
            yield self.item, Death(code, message, self.process.pid)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.selector.unregister(self.stdout)
        self.stdout.close()
        self.stderr.close()
        with suppress(BrokenPipeError):
            self.stdin.close()


def _why(status: int, last_words: str) -> tuple[str, str]:
    if -status == signal.SIGXCPU:
        return "timeout", "reading it took more CPU time than such a video may take."
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    return "crashed", f"the process that read it ended with {how}. {last_words}".strip()


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
