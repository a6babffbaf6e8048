"""What a run says while it trains, kept in files: the same as the studio keeps in its database.

The one thing to know: of what was said twice, as by an attempt that goes on after a kill, the last counts, and metrics
beyond the step from which a run goes on are forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from tempo_core.exchange import run_result
from tempo_core.exchange.run_result import METRICS, NOTES, SCORES, STAGES
from tempo_core.recipes import Phase
from tempo_core.training.chain import Link
from tempo_core.training.report import PairScore
from tempo_core.types import JsonDict, Metric, Progress


class Kept:
    """Writes into one folder, and says on the terminal where the run is."""

    def __init__(self, folder: Path, should_stop: Callable[[], bool]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.should_stop = folder, should_stop
        self._stages: dict[int, JsonDict] = {}
        for name in (SCORES, NOTES):
            run_result.keep(folder / name)
        # Said anew for every stage that is finished when a run goes on.
        (folder / STAGES).unlink(missing_ok=True)

    def metrics(self, values: Sequence[Metric]) -> None:
        said = {m.key: float(m.value) if math.isfinite(m.value) else None for m in values}
        run_result.add(self.folder / METRICS, [{"step": int(values[0].step), "values": said}] if values else [])

    def stage_started(
        self, ordinal: int, name: str, phase: Phase, n_pairs: int, first_step: int, last_step: int
    ) -> None:
        print(f"stage {ordinal}: {phase} {name}, {n_pairs} rows, steps {first_step} to {last_step}", flush=True)
        about = {"name": name, "phase": phase, "n_items": n_pairs, "first_step": first_step, "last_step": last_step}
        self._stages[ordinal] = {"ordinal": ordinal, **about}

    def stage_ended(self, ordinal: int, link: Link) -> None:
        ended = {**self._stages[ordinal], "folder": link.path.name, "sha256": link.sha256}
        run_result.add(self.folder / STAGES, [ended])

    def checkpoint(self, step: int, stage: int, path: Path, manifest_sha256: str) -> None:
        print(f"checkpoint after step {step}", flush=True)

    def progress(self, progress: Progress) -> None:
        print(f"step {progress.done} of {progress.total}: {progress.text}", flush=True)

    def resumed(self, step: int) -> None:
        if step:
            print(f"going on after step {step}", flush=True)
        run_result.keep(self.folder / METRICS, lambda row: int(row["step"]) <= step)

    def note(self, text: str, kind: str = "note") -> None:
        print(text, flush=True)
        run_result.add(self.folder / NOTES, [{"kind": kind, "text": text}])

    def pair_scores(self, moment: Literal["before", "final"], scores: Sequence[PairScore]) -> None:
        run_result.add(
            self.folder / SCORES,
            [
                {"moment": moment, "pair_id": s.pair_id, "margin": s.margin, "chosen": s.chosen, "rejected": s.rejected}
                for s in scores
            ],
        )
