"""The SFT arm of an experiment that is as long as another arm: its steps are counted when it starts, and kept.

They follow from the reference's own data and settings, so that arm need not have run, and its failure hides nothing:
what would have ended it ends this one, and says so.
"""

from __future__ import annotations

import importlib
from dataclasses import asdict, replace
from pathlib import Path

from db import experiments, run_notes, runs
from db.runs import RunCard
from db.session import Database
from jobs.starting import pair_ref
from jobs.tasks import JobRef
from jobs.tasks.material import NO_PAIRS, data, measured
from tempo_core.curriculum import training_plan
from tempo_core.errors import TempoError
from tempo_core.pictures import Pictures


def settled(database: Database, job: JobRef, card: RunCard, base: Path) -> RunCard:
    """The run as it is, or with its number of SFT steps where that follows from another arm.

    Raises:
        TempoError: The reference cannot be trained; it names the reference.
    """
    with database.reading() as session:
        found = experiments.of_run(session, card.id)
    if found is None or not found[1].match or "matched" in card.env:
        return card
    experiment, arm, seed = found
    reference = replace(experiment.reference.config, seed=seed)
    with database.reading() as session:
        pairs, _ = data(session, reference.recipe, experiment.version_id, experiment.sft_set_id)
        _, examples = data(session, card.recipe, experiment.version_id, experiment.sft_set_id)
    try:
        long_side, too_long = measured(base, pairs, reference.max_tokens)
        trainable = [pair_ref(pair) for pair_id, pair in pairs.items() if pair_id not in too_long]
        plan = training_plan(trainable, reference, skip_small=True) if pairs else NO_PAIRS
        equal = importlib.import_module("tempo_core.training.matching").sft_steps(
            arm.match,
            base=base,
            reference=reference,
            plan=plan,
            pairs=pairs,
            sft=card.config,
            examples=examples,
            pictures=Pictures(job.home.cache, long_side).get,
            cache=job.home.cache,
        )
    except TempoError as error:
        raise type(error)(f"{arm.name} is as long as {experiment.reference.name}, which cannot be: {error}") from error
    with database.session() as session:
        told = f"{equal.n_steps} SFT steps, as {experiment.reference.name} takes {equal.reference_steps} steps"
        if equal.flops is not None:
            told += f" and {equal.reference_flops:.3g} FLOP; these come to {equal.flops:.3g}"
        run_notes.add(session, card.id, "matched", f"{told}.", job.attempt)
        return runs.settle_sft_steps(session, card.id, equal.n_steps, asdict(equal))
