"""One look at a run: everything its page shows, read from the database at one moment as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from db import datasets, jobs, metrics, run_notes, runs
from db.jobs import Job
from db.run_notes import Note
from db.runs import RunCard, StageLine
from tempo_core.curves import Beat, Series
from ui import charts, state, words

OPEN = ("queued", "running")


@dataclass(frozen=True, slots=True)
class Look:
    """`names` says what the levels are called on the axis of the run's data."""

    run: RunCard
    job: Job | None
    stages: tuple[StageLine, ...]
    beats: tuple[Beat, ...]
    notes: tuple[Note, ...]
    series: dict[str, list[tuple[int, float | None]]]
    names: dict[int, str]

    @property
    def is_open(self) -> bool:
        return self.run.state in OPEN

    @property
    def step(self) -> int:
        """The last step that was trained; 0 before the first."""
        return self.beats[-1].step if self.beats else 0

    def by_level(self, name: str) -> dict[str, Series]:
        """The curves `l1/<name>` .. by their level's key."""
        found = {key.partition("/")[0]: series for key, series in self.series.items() if key.endswith(f"/{name}")}
        return {key: found[key] for key in sorted(found) if is_level(key)}

    def name_of(self, key: str) -> str:
        return self.names.get(int(key[1:]), key) if key != "imported" else key


def look(run_id: int) -> Look:
    with state.database().reading() as session:
        run = runs.get(session, run_id)
        data = datasets.get(session, run.dataset_version_id) if run.dataset_version_id else None
        measured = str(data.criteria["level_axis"]) if data else "measured"
        return Look(
            run,
            jobs.get(session, run.job_id) if run.job_id else None,
            runs.outline(session, run_id),
            metrics.beats(session, run_id),
            run_notes.listing(session, run_id),
            metrics.series(session, run_id),
            charts.level_names("paper" if run.config.difficulty == "paper" else measured),
        )


def is_level(key: str) -> bool:
    """Whether a metric's first part is a level: "l1" .. "l4" or "imported"."""
    return key == "imported" or (key[:1] == "l" and key[1:].isdigit())


def named(run: RunCard) -> str:
    order = run.config.pacing.replace("_", " ")
    return f"{run.id}: {words.recipe(run.recipe)}, {order}, {run.preset}, seed {run.config.seed}"
