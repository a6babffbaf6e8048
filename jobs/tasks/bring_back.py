"""Take in what a bundle's training left: chain, curves and margins become those of the run that left, once.

The one thing to know: hashes show damage; that a result is of this very run is seen from its links, each of which
holds the hash of all data, order and settings that it was trained with.
"""

from __future__ import annotations

import importlib
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db import metrics, models, run_notes, runs
from db.runs import PairScore, RunCard, StageLine
from db.session import Database
from jobs import experimenting
from jobs.child import Report
from jobs.payloads import BringBackPayload
from jobs.tasks import JobRef
from jobs.tasks.material import data
from jobs.tasks.train import folder_of, plan_of
from tempo_core.errors import BundleRefused, TempoError, Unknown
from tempo_core.exchange import run_result
from tempo_core.exchange.base import full_disk_is_told
from tempo_core.exchange.run_result import CHAIN, LINK_FILES, RunResult
from tempo_core.types import JsonDict, Progress


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Check everything, copy the chain, then write all rows in one transaction."""
    payload = job.payload
    if not isinstance(payload, BringBackPayload):
        raise ValueError(f"bring_back was given {type(payload).__name__}")
    report(Progress(0, 3, "checking hashes"))
    found = run_result.read(Path(payload.folder))
    with database.reading() as session:
        card = _run_of(session, found)
        done = {"run_id": card.id, "stages": [stage.name for stage in found.stages]}
        if card.state == "succeeded":
            _check_same(session, card, found)
            return {**done, "new": False}
        if card.state == "running" or (card.state == "queued" and card.job_id is not None):
            raise TempoError(
                f"Run {card.id} is {card.state} here too. Stop it first, then bring the other result back."
            )
        expected = _expected(session, card)
        base = models.get(session, card.base_model_id).files_sha256
    report(Progress(1, 3, "checking the chain against the run"))
    _check_chain(found, expected, base)
    _check_values(found, expected)
    report(Progress(2, 3, "copying the adapters"))
    chain = folder_of(job.home, card.id) / CHAIN
    old = _copied(found.chain, chain)
    try:
        with database.session() as session:
            _take(session, card, found, str(chain.relative_to(job.home.root)))
    except BaseException:
        _back(old, chain)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return {**done, "new": True}


def _run_of(session: Session, found: RunResult) -> RunCard:
    """The run that left, if it is this one."""
    told = found.trained
    try:
        card = runs.get(session, told.run_id)
        known = runs.identity(session, told.run_id) == told.run_sha256
    except Unknown:
        known = False
    if not known:
        raise BundleRefused(
            f"This is the result of another run: its run {told.run_id} is none of this studio, or its data or settings "
            "have changed since it was bundled. Bring it back where the bundle was made."
        )
    return card


def _check_same(session: Session, card: RunCard, found: RunResult) -> None:
    """A result that was brought back before is no news; one beside another result is refused."""
    here = [stage.manifest_sha256 for stage in runs.stages(session, card.id)]
    if here != [stage.sha256 for stage in found.stages]:
        raise BundleRefused(
            f"Run {card.id} is done already, with other weights than this result has. Clone it to train it anew."
        )


def _expected(session: Session, card: RunCard) -> Sequence[Any]:
    """The parts that the run trains, each under the hash of all that decides its outcome."""
    pairs, examples = data(session, card.recipe, card.dataset_version_id, card.sft_set_id)
    plan = plan_of(card, pairs, run_notes.left_out(session, card.id, limit=len(pairs) + 1))
    if plan.sha256 != card.training_plan_sha256:
        raise BundleRefused(f"Run {card.id} would now train in another order than when it was bundled.")
    base = models.get(session, card.base_model_id).files_sha256
    parts: Sequence[Any] = importlib.import_module("tempo_core.training.parts").of_run(
        plan, pairs, examples, card.config, base
    )
    return parts


def _check_chain(found: RunResult, expected: Sequence[Any], base_sha256: str) -> None:
    """Every link is whole, of this run's stages, on its base, in their order."""
    rooms = importlib.import_module("tempo_core.training.chain")
    links = rooms.read(found.chain)
    told = [(stage.ordinal, stage.name, stage.phase, stage.folder, stage.sha256) for stage in found.stages]
    if [(link.ordinal, link.name, link.phase, link.path.name, link.sha256) for link, _ in links] != told:
        raise BundleRefused("The adapters are not those that the result lists. Copy its folder again.")
    hashes = [about.get("stage_sha256") for _, about in links]
    if hashes != [part.sha256 for part in expected]:
        raise BundleRefused(
            "The adapters were trained with other pairs, another order or other settings than the run has. Train its "
            "own bundle."
        )
    strange = [path for path in found.chain.rglob("*") if path.is_symlink() or not _may_lie(path, found.chain)]
    if strange:
        raise BundleRefused(f"{strange[0]} is no part of an adapter. Only what training wrote may come back.")
    rooms.verify([link for link, _ in links], base_sha256)


def _may_lie(path: Path, chain: Path) -> bool:
    return path.is_dir() if path.parent == chain else path.is_file() and path.name in LINK_FILES


def _check_values(found: RunResult, expected: Sequence[Any]) -> None:
    """Stages, steps and pairs are the run's own."""
    spans = [(part.name, part.phase, len(part.order), part.steps_before + 1, part.steps_before + part.n_steps)
             for part in expected]  # fmt: skip
    if [(s.name, s.phase, s.n_items, s.first_step, s.last_step) for s in found.stages] != spans:
        raise BundleRefused("The stages of the result are not those of the run. Train its own bundle.")
    n_steps = spans[-1][-1]
    losses = {metric.step for metric in found.metrics if metric.key in ("dpo/loss", "sft/loss", "chosen_only/loss")}
    if losses != set(range(1, n_steps + 1)) or any(not 1 <= metric.step <= n_steps for metric in found.metrics):
        raise BundleRefused(f"The curves of the result are not those of {n_steps} steps. Copy its folder again.")
    trained = {pair_id for part in expected if part.phase != "sft" for pair_id in part.order}
    if any(not set(of_moment) <= trained for of_moment in found.scores.values()):
        raise BundleRefused("The result has margins of pairs that the run does not train. Train its own bundle.")


def _copied(source: Path, chain: Path) -> Path:
    """Put the chain in its place; where what lay there before is now."""
    chain.parent.mkdir(parents=True, exist_ok=True)
    new, old = (chain.with_name(f".{name}-{uuid.uuid4().hex[:8]}") for name in ("new", "old"))
    with full_disk_is_told(chain):
        try:
            shutil.copytree(source, new)
            if chain.exists():
                chain.rename(old)
            new.rename(chain)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return old


def _back(old: Path, chain: Path) -> None:
    shutil.rmtree(chain, ignore_errors=True)
    if old.exists():
        old.rename(chain)


def _take(session: Session, card: RunCard, found: RunResult, chain: str) -> None:
    """What the run's own trainer would have written."""
    if runs.get(session, card.id).state != card.state:
        raise TempoError(f"Run {card.id} was started meanwhile. Stop it, then bring the result back.")
    runs.forget_outcome(session, card.id)
    for s in found.stages:
        runs.set_stages(
            session, card.id, [StageLine(s.ordinal, s.phase, s.name, (), s.n_items, s.first_step, s.last_step)]
        )
        adapter = f"{chain}/{s.folder}"
        runs.set_stage(session, card.id, s.ordinal, "succeeded", adapter=adapter, manifest_sha256=s.sha256)
    metrics.record(session, card.id, found.metrics)
    for moment, scores in found.scores.items():
        rows = {i: PairScore(s.margin, s.chosen_log_prob, s.rejected_log_prob) for i, s in scores.items()}
        runs.score_pairs(session, card.id, moment, rows)
    for kind, text in (*found.notes, ("bundle", _told(found))):
        run_notes.add(session, card.id, kind, text)
    told = found.trained
    runs.trained_with(session, card.id, {**told.libraries, "ranks": told.n_processes, "device": told.device})
    runs.set_state(session, card.id, "running")
    runs.set_state(session, card.id, "succeeded")
    experimenting.after_training(session, card.id)


def _told(found: RunResult) -> str:
    t = found.trained
    processes = "one process" if t.n_processes == 1 else f"{t.n_processes} processes"
    libraries = ", ".join(_versions(t.libraries))
    return f"Trained elsewhere by {processes} on {t.device}, with {libraries}; brought back and checked."


def _versions(libraries: Any) -> Iterator[str]:
    return (f"{name} {version}" for name, version in libraries.items())
