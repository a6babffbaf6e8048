"""A studio in which every step has happened once: decided pairs, a frozen version, a trained run, figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from db import bulk, datasets, evaluations, jobs, metrics, people, runs, timelines, videos
from db.pair_filters import PairFilter
from db.pairs import page
from db.reviews import ReviewItem, decide
from db.runs import StageLine
from db.session import Database
from jobs import starting
from tempo_core.measures import load_measures
from tempo_core.recipes import PRESETS
from tempo_core.scan import scan
from tempo_core.settings import EMBEDDED_MODEL, Home
from tempo_core.timeline import Richness, judge, timeline_sha256
from tempo_core.types import ItemScore, Metric, Score
from tests import studio

N_VIDEOS, N_STEPS, SMALL = 5, 40, 2
CONFIG = replace(PRESETS["embedded"], recipe="dpo", pairs_per_step=SMALL, micro_batch=SMALL)


def fill(home: Home) -> None:
    """Five kept videos, one left out, one refused; pairs of every status; version 1; run 1 done, with figures."""
    database = studio.fill(home, n_videos=N_VIDEOS)
    _more_videos(database, home)
    _decide(database)
    do = _doer(database)
    person = do(people.local)
    version = do(datasets.freeze, person, "demo")
    run_id = starting.start_run(database, person, CONFIG, EMBEDDED_MODEL, version_id=version)
    _train(database, run_id)
    _measure(do, run_id)
    database.close()


def _doer(database: Database) -> Callable[..., Any]:
    def do(verb: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with database.session() as session:
            return verb(session, *arguments, **named)

    return do


def _more_videos(database: Database, home: Home) -> None:
    """Two scenes are too few shots; a text file is no video."""
    path = home.media / "drawn" / "two-scenes.mp4"
    studio.draw(path, [30, 30], seed=7)
    found = scan(path, home.cache)
    judgement = judge(load_measures(found.measures_path), Richness())
    with database.session() as session:
        library = videos.library(session, path.parent)
        video = videos.record(session, library, path.name, found.video, found.times_sha256, found.probe)
        sha = timeline_sha256(found.video.sha256, found.times_sha256, judgement.timeline)
        timelines.record(session, video, Richness(), judgement, sha)
        said = "It ends with no readable frame. Encode it again."
        videos.record_failure(session, library, "broken.mp4", "b" * 64, "damaged", said)


def _decide(database: Database) -> None:
    """The first pair is rejected, the second flagged, reverse stays pending, the others are accepted in bulk."""
    with database.session() as session:
        person = people.local(session)
        first, second = (line.id for line in page(session, limit=2))
        decide(session, person, ReviewItem("t1", first, 1, "reject"))
        decide(session, person, ReviewItem("t2", second, 1, "flag"))
        bulk.decide(session, person, PairFilter(kinds=("drop", "shuffle")), "accepted", token="bulk1")


def _train(database: Database, run_id: int) -> None:
    """What a run of 40 steps leaves behind, in four levels that learn at their own pace."""
    with database.session() as session:
        job = jobs.claim(session, "gpu:0", lease_ms=60_000)
        assert job is not None and job.token
        runs.set_state(session, run_id, "running")
        runs.set_stages(session, run_id, [StageLine(0, "dpo", "all", (1, 2, 3, 4), SMALL * N_STEPS)])
        reached = {"first_step": 1, "last_step": N_STEPS, "adapter": f"runs/{run_id}/all", "manifest_sha256": "m"}
        runs.set_stage(session, run_id, 0, "succeeded", **reached)
        metrics.record(session, run_id, [metric for step in range(1, N_STEPS + 1) for metric in _step(step)])
        jobs.succeed(session, job.id, job.token, {})
        runs.set_state(session, run_id, "succeeded")


def _step(step: int) -> list[Metric]:
    said = []
    for level in (1, 2, 3, 4):
        learned = 1 - math.exp(-step / (6 * level))
        wave = 0.05 * math.sin(step * level)
        values = {"loss": 0.69 - 0.5 * learned + wave, "margin": 2 * learned + wave, "accuracy": 0.5 + 0.45 * learned}
        values |= {"reward_chosen": learned, "accuracy_per_token": 0.5 + 0.4 * learned}
        said += [Metric(f"l{level}/{name}", step, value) for name, value in values.items()]
    return [*said, Metric("dpo/sft_loss", step, 2.0 - 0.02 * step)]


def _measure(do: Callable[..., Any], run_id: int) -> None:
    """Order is learned (.5 to .9 and more), content is lost a little."""
    model = do(runs.get, run_id).base_model_id
    settings = {"dataset": do(datasets.listing)[0].content_sha256, "limit": None, "seed": 0}
    for moment, who in (("base", None), ("dpo", run_id)):
        gain = 0 if who is None else 1
        scores = [
            _score("swap", 0.5 + 0.4 * gain, 0.5), _score("group", 0.1 + 0.6 * gain, 1 / 6),
            _score("order", 0.5 + 0.45 * gain, 0.5), _score("recall", 0.98 - 0.1 * gain, None),
            _score("content_questions", 1 - 0.05 * gain, 1 / 8),
        ]  # fmt: skip
        preference = [replace(_score("accuracy", 0.6 + 0.3 * gain, 0.5), benchmark="held_out_preference")]
        do(evaluations.record, scores + preference, model, settings, run_id=who, moment=moment)


def _score(metric: str, value: float, chance: float | None) -> Score:
    """40 questions about 10 videos, the first ones right."""
    items = tuple(
        ItemScore(f"{i % 10}/{i // 10}", f"video {i % 10}", float(i < round(40 * value)), "then") for i in range(40)
    )
    low, high = max(0.0, value - 0.08), min(1.0, value + 0.08)
    return Score("drawn_world", metric, value, low, high, 40, 10, 0, chance, items)
