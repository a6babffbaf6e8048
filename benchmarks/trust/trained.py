"""A studio whose pairs are frozen, and runs on them that are small enough to be killed often."""

from __future__ import annotations

from dataclasses import replace

from db import bulk, datasets, metrics, people, runs
from db.pair_filters import PairFilter
from db.people import Person
from db.session import Database
from jobs import starting
from tempo_core.recipes import PRESETS, RunConfig
from tempo_core.settings import EMBEDDED_MODEL, Home
from tests import studio

Curves = dict[str, list[tuple[int, float | None]]]
"""(step, value) by key."""
CONFIG = replace(
    PRESETS["embedded"], recipe="dpo", pairs_per_step=2, micro_batch=2, dpo_epochs=1, checkpoint_every=2
)  # fmt: skip


def frozen(database: Database, home: Home, n_videos: int = 2) -> int:
    """Draw, scan, pair, accept and freeze; the version's id."""
    studio.fill(home, n_videos).close()
    with database.session() as session:
        person = people.local(session)
        bulk.decide(session, person, PairFilter(), "accepted", token="all")
        return datasets.freeze(session, person, "small", held_out_share=0.0)


def queued(database: Database, person: Person, version: int, seed: int, epochs: int = 1) -> tuple[int, int]:
    """A run that trains on the version: (run, job)."""
    config = replace(_config(seed), dpo_epochs=epochs)
    run_id = starting.start_run(database, person, config, EMBEDDED_MODEL, version_id=version, skip_small=True)
    with database.reading() as session:
        job_id = runs.get(session, run_id).job_id
    assert job_id is not None
    return run_id, job_id


def n_steps(database: Database, run_id: int) -> int:
    """How many steps the plan of a run has; 0 before it began."""
    with database.reading() as session:
        return max((stage.last_step or 0 for stage in runs.outline(session, run_id)), default=0)


def curves(database: Database, run_id: int) -> Curves:
    """What a run measured of itself; not how fast it was and how much memory it took."""
    with database.reading() as session:
        found = metrics.series(session, run_id)
    return {key: values for key, values in found.items() if key.partition("/")[0] not in ("speed", "memory", "cache")}


def weights(home: Home, run_id: int) -> dict[str, bytes]:
    """Every file of weights of the finished stages."""
    chain = home.runs / f"run-{run_id}" / "chain"
    return {str(path.relative_to(chain)): path.read_bytes() for path in sorted(chain.rglob("*.safetensors"))}


def curve(database: Database, person: Person, version: int, seed: int) -> int:
    """A run that trains nothing and only holds a curve."""
    config = _config(seed)
    return starting.start_run(
        database, person, config, EMBEDDED_MODEL, version_id=version, skip_small=True, elsewhere=True
    )


def _config(seed: int) -> RunConfig:
    return replace(CONFIG, seed=seed)
