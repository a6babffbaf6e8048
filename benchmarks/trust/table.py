"""Fills the table of docs/trust.md: faults, load and attacks on real processes, F1 to F17.

    python benchmarks/trust/table.py                 everything, as published
    python benchmarks/trust/table.py --only F1,F8    some rows; the others keep what they say
    python benchmarks/trust/table.py --quick         small counts into the terminal only: shows that it works

Each test is a file `f01_....py` in this folder with `measure(scratch, effort) -> list[Row]`. `effort` is 1.0 for what
is published and small for a try. What was measured is kept in results.json beside the table, with its day and machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

PAGE = ROOT / "docs" / "trust.md"
RESULTS = HERE / "results.json"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def tests() -> dict[str, str]:
    """{"F1": module name}, in the order of their numbers."""
    found = sorted(path.stem for path in HERE.glob("f[0-9][0-9]_*.py"))
    return {f"F{int(name[1:3])}": f"benchmarks.trust.{name}" for name in found}


def measure(name: str, module: str, effort: float) -> dict[str, Any]:
    """Run one test in a folder of its own: its rows, and under what they were taken."""
    load, start_s = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"trust-{name}-") as scratch:
        rows = import_module(module).measure(Path(scratch), effort)
    return {
        "title": (import_module(module).__doc__ or name).strip().splitlines()[0].rstrip("."),
        "rows": [
            {"what": row.what, "target": row.target, "measured": row.measured, "held": row.held} for row in rows
        ],
        "minutes": round((time.monotonic() - start_s) / 60, 1),
        "load": round(load, 1),
        "day": time.strftime("%Y-%m-%d"),
        "machine": machine(),
    }  # fmt: skip


def machine() -> str:
    """What ran it, in a line."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"


def as_markdown(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The table; a row that did not hold says so in bold."""
    lines = ["| | test | target | measured | held | day, load |", "|---|---|---|---|---|---|"]
    for name in sorted(results, key=lambda name: int(name[1:])):
        found = results[name]
        for i, row in enumerate(found["rows"]):
            first = f"**{name}** {found['title']}: " if i == 0 else ""
            held = "yes" if row["held"] else "**no**"
            when = f"{found['day']}, {found['load']}" if i == 0 else ""
            lines.append(f"| {name} | {first}{row['what']} | {row['target']} | {row['measured']} | {held} | {when} |")
    machines = sorted({found["machine"] for found in results.values()})
    return "\n".join([*lines, "", f"Machine: {'; '.join(machines)}."])


def publish(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the table between its two marks."""
    text = PAGE.read_text(encoding="utf-8")
    body = f"{BEGIN}\n{as_markdown(results)}\n{END}"
    PAGE.write_text(
        re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: body, text, flags=re.DOTALL), encoding="utf-8"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="some of them, with commas between: F1,F8")
    parser.add_argument("--quick", action="store_true", help="small counts; nothing is published")
    args = parser.parse_args()
    known = tests()
    wanted = [name.strip().upper() for name in args.only.split(",") if name.strip()] or list(known)
    if unknown := [name for name in wanted if name not in known]:
        parser.error(f"no test {', '.join(unknown)}; there are {', '.join(known)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    held = True
    for name in wanted:
        results[name] = measure(name, known[name], 0.05 if args.quick else 1.0)
        for row in results[name]["rows"]:
            held &= row["held"]
            print(f"{name:4} {'ok ' if row['held'] else 'NO '} {row['what']}: {row['measured']} ({row['target']})")
        sys.stdout.flush()
        if not args.quick:
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            publish(results)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
