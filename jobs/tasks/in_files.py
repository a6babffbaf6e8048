"""The part of an evaluation that asks about a folder of files: what is opened, and what must not be measured.

A video that the run was trained on says nothing about what it learned, so such a run is refused by the video's bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from db import datasets
from db.session import Database
from jobs.payloads import EvaluatePayload
from tempo_core import benchmarks, question_sheets, render
from tempo_core.errors import HeldOutLeak, TooFew
from tempo_core.types import JsonDict

if TYPE_CHECKING:
    from tempo_core.benchmarks.in_files import Opened
    from tempo_core.benchmarks.shown import Shown

_TOLD = 20


def opened(payload: EvaluatePayload) -> list[Opened]:
    """The benchmarks of the payload that are asked of its folder; all whose files are there when none is named.

    Raises:
        TooFew: A benchmark that was named needs a folder, or finds nothing in it.
    """
    for name in payload.benchmarks:
        benchmarks.check(name)
    named = [name for name in payload.benchmarks if name in benchmarks.IN_FILES]
    if payload.data is None:
        if named:
            raise TooFew(f"{named[0]} asks about videos in files. Name their folder: --data FOLDER")
        return []
    folder = Path(payload.data)
    if payload.benchmarks:
        return [_open(name, folder, payload) for name in named]
    found = [_open(name, folder, payload) for name in benchmarks.named_in(folder)]
    if not found:
        raise TooFew(
            f"{folder} is, and holds, no folder named after a benchmark. Say which ones to ask: --benchmarks, with one "
            f"or more of {', '.join(benchmarks.IN_FILES)}"
        )
    return found


def _open(name: str, folder: Path, payload: EvaluatePayload) -> Opened:
    return benchmarks.load_in_files(name).open(folder, limit=payload.limit, n_pictures=payload.pictures)


def tell(found: Opened, folder: Path) -> None:
    """What was found and what is missing into the log; every missing video into a file of the job."""
    print(found.told(), flush=True)
    if not found.missing:
        return
    path = folder / f"{found.name}_missing.txt"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in found.missing))
    more = f" and {len(found.missing) - _TOLD} more, all in {path}" if len(found.missing) > _TOLD else ""
    print(f"{found.name}: missing {', '.join(found.missing[:_TOLD])}{more}", flush=True)


def keeper(folder: Path) -> Callable[[Path, Shown], None]:
    """Keeps the pictures that are shown of each video, as the page of single answers shows them."""

    def keep(video: Path, pictures: Shown) -> None:
        path = folder / "asked" / question_sheets.strip_name(str(video), pictures.numbers)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(render.contact_strip(pictures.pixels))

    return keep


def settings(found: Opened, payload: EvaluatePayload, trained_on: Sequence[str]) -> JsonDict:
    """Those of the benchmark, the seed, and which of its videos were trained on."""
    contaminated = {"contaminated": list(trained_on)} if trained_on else {}
    return {**found.settings(), "seed": payload.seed, **contaminated}


def trained_on(database: Database, found: Opened, version_id: int | None, *, allowed: bool) -> tuple[str, ...]:
    """The benchmark's videos that the version trains on.

    Raises:
        HeldOutLeak: There are some, and that was not allowed.
    """
    if version_id is None:
        return ()
    with database.reading() as session:
        both = found.among({item.pair.video for item in datasets.items(session, version_id, "train")})
    if both and not allowed:
        raise HeldOutLeak(
            f"{found.name}: {len(both)} of its videos were trained on, such as {both[0]}. A score on them would not "
            "tell what the model learned. Use another benchmark, or score them all the same: --allow-contaminated"
        )
    return both
