"""What comes back of a run that was trained elsewhere: its chain, curves, margins of pairs, and what it said.

The one thing to know: while a run trains, lines are only added to its files, each whole and written through; a kill
leaves at most half a line, which is not read. The result itself is sealed once, at the end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tempo_core.errors import BundleRefused
from tempo_core.exchange import seals
from tempo_core.exchange.base import MANIFEST, full_disk_is_told, json_line, write_file
from tempo_core.exchange.run_bundle import RESULT
from tempo_core.types import JsonDict, Metric

FORM = "result of a run"
CHAIN = "chain"
METRICS, SCORES, STAGES, NOTES = "metrics.jsonl", "scores.jsonl", "stages.jsonl", "notes.jsonl"
FILES = (METRICS, SCORES, STAGES, NOTES)
LINK_FILES = ("adapter_config.json", "adapter_model.safetensors", "manifest.json", "tower.safetensors", "README.md")
"""What a link of a chain may hold: nothing that runs when it is read."""


@dataclass(frozen=True, slots=True)
class ReturnedStage:
    """A finished stage. `folder` is its link's name in `chain/`, `sha256` that of the link's manifest."""

    ordinal: int
    name: str
    phase: str
    n_items: int
    first_step: int
    last_step: int
    folder: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ReturnedScore:
    """How the model ranks a pair: `margin` per token, log-probabilities as sums over tokens."""

    margin: float | None
    chosen_log_prob: float | None
    rejected_log_prob: float | None


@dataclass(frozen=True, slots=True)
class Trained:
    """Where a result comes from. `run_sha256` and `plan_sha256` are those of the bundle."""

    run_id: int
    run_sha256: str
    plan_sha256: str
    base_sha256: str
    n_processes: int
    device: str
    libraries: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunResult:
    """As read; `scores` by moment and pair_id, `notes` as (kind, text), each once."""

    trained: Trained
    chain: Path
    stages: tuple[ReturnedStage, ...]
    metrics: tuple[Metric, ...]
    scores: Mapping[str, Mapping[int, ReturnedScore]]
    notes: tuple[tuple[str, str], ...]


def read(folder: Path) -> RunResult:
    """The result in a folder, or in the bundle that this folder is, after its hashes were checked.

    Raises:
        BundleRefused: It is not finished, not whole, or was changed.
    """
    place = folder / RESULT if (folder / RESULT).is_dir() else folder
    if not (place / MANIFEST).is_file() or not (place / CHAIN).is_dir():
        raise BundleRefused(
            f"{folder} holds no finished result. Train the bundle to its end (the command in its README goes on where "
            "it stopped), then name its folder here."
        )
    about = seals.check(place, FORM)
    try:
        return RunResult(
            trained=_trained(about),
            chain=place / CHAIN,
            stages=tuple(ReturnedStage(**row) for row in rows(place / STAGES)),
            metrics=tuple(Metric(key, int(row["step"]), v) for row in rows(place / METRICS) for key, v in _values(row)),
            scores=_scores(rows(place / SCORES)),
            notes=tuple(dict.fromkeys((str(row["kind"]), str(row["text"])) for row in rows(place / NOTES))),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleRefused(f"{place} cannot be read as the {FORM} ({error}). Train the bundle again.") from None


def _trained(said: JsonDict) -> Trained:
    """Each value as what it is meant to be: it comes from another machine."""
    return Trained(
        run_id=int(said["run_id"]),
        run_sha256=str(said["run_sha256"]),
        plan_sha256=str(said["plan_sha256"]),
        base_sha256=str(said["base_sha256"]),
        n_processes=int(said["n_processes"]),
        device=str(said["device"]),
        libraries={str(name): str(version) for name, version in said["libraries"].items()},
    )


def seal(folder: Path, trained: Trained) -> str:
    return seals.seal(folder, FORM, asdict(trained))


# ---- files that grow ------------------------------------------------------------------------------------------------
def add(path: Path, added: Iterable[JsonDict]) -> None:
    """Write lines through to the disk, so that none is lost that a checkpoint counts on."""
    text = "".join(json_line(row) + "\n" for row in added)
    with full_disk_is_told(path.parent), path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def keep(path: Path, wanted: Callable[[JsonDict], bool] = lambda row: True) -> None:
    """Leave only these lines; half a line, as a kill may leave it, goes in any case."""
    kept = "".join(json_line(row) + "\n" for row in rows(path) if wanted(row))
    partial = path.with_name(f".{path.name}")
    write_file(partial, kept.encode())
    partial.replace(path)


def rows(path: Path) -> Iterator[JsonDict]:
    """The whole lines of a file; none where there is no file."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _values(row: JsonDict) -> Iterable[tuple[str, float]]:
    # None is a gap: a value that was no number.
    return ((str(key), float("nan") if value is None else float(value)) for key, value in row["values"].items())


def _scores(found: Iterable[JsonDict]) -> dict[str, dict[int, ReturnedScore]]:
    scores: dict[str, dict[int, ReturnedScore]] = {}
    for row in found:
        values: Any = (row["margin"], row["chosen"], row["rejected"])
        scores.setdefault(str(row["moment"]), {})[int(row["pair_id"])] = ReturnedScore(*values)
    return scores
