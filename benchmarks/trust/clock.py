"""A time of day that jumps, for real processes: each asks a file by how much its clock is wrong.

Python imports a module `sitecustomize` at its start where one is on its path, so the studio itself knows nothing of
this. Clocks that count from the start of the machine stay as they are, as when somebody sets a clock.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_CUSTOMIZE = """
import os, time
path, time_ns = os.environ["TRUST_CLOCK"], time.time_ns
def shifted():
    what, _, value = open(path).read().partition(" ")
    return int(value) if what == "frozen" else time_ns() + int(value)
time.time_ns, time.time = shifted, lambda: shifted() / 1e9
"""


@dataclass(frozen=True)
class Clock:
    """The clock of every Python process that is started with `environment`."""

    folder: Path

    @classmethod
    def made_in(cls, folder: Path) -> Clock:
        folder.mkdir(parents=True)
        (folder / "sitecustomize.py").write_text(_CUSTOMIZE)
        clock = cls(folder)
        clock.turn(0)
        return clock

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, (str(self.folder), os.environ.get("PYTHONPATH"))))
        return {"PYTHONPATH": path, "TRUST_CLOCK": str(self.folder / "clock")}

    def turn(self, by_s: float) -> None:
        """All clocks are wrong by so much from now on."""
        self._say(f"by {round(by_s * 1e9)}")

    def freeze(self, at_ns: int) -> None:
        """All clocks show this moment, again and again."""
        self._say(f"frozen {at_ns}")

    def _say(self, what: str) -> None:
        half = self.folder / "clock.tmp"
        half.write_text(what)
        os.replace(half, self.folder / "clock")
