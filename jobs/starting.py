"""Start a run: check that the data suffices, make its row, queue its job. Pages and the command line do it this way."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db import curricula, datasets, models, people, runs, sft_sets, timelines, withdrawals
from db.people import Person
from db.session import Database
from db.sft_sets import SftDraft
from jobs import launch
from jobs.conversations import held_out_videos
from jobs.payloads import EstimatePayload, TrainPayload
from tempo_core import worlds
from tempo_core.curriculum import TrainingPlan, training_plan
from tempo_core.errors import HeldOutLeak, OutsideVocabulary, TooFew
from tempo_core.recipes import RECIPES, RunConfig
from tempo_core.types import PairRef, PreferencePair
from tempo_core.video_llms import checkpoints
from tempo_core.video_llms.checkpoints import Checkpoint
from tempo_core.worlds import vocabulary

WORLD_EXAMPLES_PER_VIDEO = 12
_ROOT = Path(__file__).parent.parent


def pair_ref(pair: PreferencePair) -> PairRef:
    """What the planner reads of a pair."""
    return PairRef(
        pair_id=pair.pair_id,
        video_key=pair.video.sha256,
        kind=pair.kind,
        level=pair.level,
        difficulty=pair.difficulty,
        magnitude=pair.magnitude,
        n_chosen=len(pair.chosen),
        n_rejected=len(pair.rejected),
    )


def refs(session: Session, version_id: int) -> list[PairRef]:
    """The pairs that a frozen version trains on, as the planner reads them."""
    return [pair_ref(item.pair) for item in datasets.items(session, version_id, "train")]


def preview(
    session: Session, version_id: int, config: RunConfig, *, skip_small: bool = False, smaller_step: bool = False
) -> TrainingPlan:
    """The plan that a run would train, before over-long pairs are known.

    Raises:
        EmptyStage: A level holds fewer pairs than one step, and neither way out was chosen.
    """
    return training_plan(refs(session, version_id), config, skip_small=skip_small, smaller_step=smaller_step)


def start_run(
    database: Database,
    person: Person,
    config: RunConfig,
    base: Path,
    *,
    version_id: int | None,
    sft_set_id: int | None = None,
    name: str = "",
    skip_small: bool = False,
    smaller_step: bool = False,
    ranks: int = 1,
    elsewhere: bool = False,
) -> int:
    """Queue a run and return its id.

    Args:
        elsewhere: Make the run and do not queue it: `launch.bundle_run` takes it away. Resuming it trains it here.
        ranks: Processes that train together, one a GPU.
        sft_set_id: None takes the drawn world's own examples where the recipe has an SFT phase.
        skip_small, smaller_step: What the user allows where a level has too few pairs.

    Raises:
        TempoError: The model, the data or the settings do not fit; nothing was queued.
    """
    people.require(person, "admin")
    with database.session() as session:
        checkpoint, sft_set_id = _checked(
            session, person, config, base, version_id, sft_set_id, skip_small=skip_small, smaller_step=smaller_step
        )
        env = environment() | {"skip_small": skip_small, "smaller_step": smaller_step, "ranks": ranks}
        return queue_checked(
            session,
            person,
            config,
            checkpoint,
            version_id=version_id,
            sft_set_id=sft_set_id,
            name=name,
            env=env,
            code=code_version(),
            elsewhere=elsewhere,
        )


def queue_checked(
    session: Session,
    person: Person,
    config: RunConfig,
    checkpoint: Checkpoint,
    *,
    version_id: int | None,
    sft_set_id: int | None,
    name: str,
    env: Mapping[str, Any],
    code: str,
    elsewhere: bool = False,
) -> int:
    """The row and the job of a run whose data and settings were checked; its id."""
    people.require(person, "admin")
    run_id = runs.create(
        session,
        person,
        config,
        models.register(session, checkpoint.path, checkpoint.family, checkpoint.files_sha256, checkpoint.name),
        name=name,
        dataset_version_id=version_id,
        curriculum_id=_curriculum(session, config, version_id),
        sft_set_id=sft_set_id,
        code_version=code,
        env=env,
    )
    withdrawals.tell_run(session, run_id)
    if elsewhere:
        runs.set_state(session, run_id, "cancelled", error="Not queued here: it is to be trained elsewhere.")
    else:
        runs.attach_job(session, run_id, launch.enqueue_in(session, TrainPayload(run_id, int(env["ranks"])), person))
    return run_id


def estimate_run(
    database: Database,
    person: Person,
    config: RunConfig,
    base: Path,
    *,
    version_id: int | None,
    sft_set_id: int | None = None,
    skip_small: bool = False,
    smaller_step: bool = False,
    ranks: int = 1,
) -> int:
    """Queue the question what `start_run` with these arguments would take; the job's id. Its result is the answer.

    Raises:
        TempoError: What `start_run` would refuse.
    """
    people.require(person, "admin")
    with database.session() as session:
        checkpoint, sft_set_id = _checked(
            session, person, config, base, version_id, sft_set_id, skip_small=skip_small, smaller_step=smaller_step
        )
        payload = EstimatePayload(
            json.loads(json.dumps(asdict(config))),
            str(checkpoint.path),
            version_id,
            sft_set_id,
            skip_small,
            smaller_step,
            ranks,
        )
        return launch.enqueue_in(session, payload, person)


def _checked(
    session: Session,
    person: Person,
    config: RunConfig,
    base: Path,
    version_id: int | None,
    sft_set_id: int | None,
    *,
    skip_small: bool,
    smaller_step: bool,
) -> tuple[Checkpoint, int | None]:
    """The model and the SFT set of a run; all that is known to end it before its first step is refused."""
    checkpoint = checkpoints.inspect(base)
    phases = RECIPES[config.recipe]
    if set(phases) != {"sft"} and version_id is not None:
        preview(session, version_id, config, skip_small=skip_small, smaller_step=smaller_step)
    return checkpoint, checked_data(session, person, checkpoint, phases, version_id, sft_set_id)


def checked_data(
    session: Session,
    person: Person,
    checkpoint: Checkpoint,
    phases: Sequence[str],
    version_id: int | None,
    sft_set_id: int | None,
) -> int | None:
    """The SFT set that these phases train on, if any; pairs and examples that the model must not be given are refused.

    Raises:
        OutsideVocabulary: The embedded model cannot read a pair.
        HeldOutLeak: The SFT set holds videos that are to be measured on.
        TooFew: No SFT set was named and none can be made.
    """
    if set(phases) != {"sft"} and version_id is not None:
        _refuse_unknown_words(session, version_id, checkpoint)
    if "sft" in phases and sft_set_id is None:
        sft_set_id = world_sft_set(session, person, version_id)
    if "sft" in phases and sft_set_id is not None and version_id is not None:
        _refuse_leak(session, sft_set_id, version_id)
    return sft_set_id


def _curriculum(session: Session, config: RunConfig, version_id: int | None) -> int | None:
    """The saved curriculum that this run follows: the levels of its version in the order of its pacing."""
    if version_id is None or set(RECIPES[config.recipe]) == {"sft"}:
        return None
    found = curricula.of_version(session, datasets.get(session, version_id).criteria, config.difficulty, config.pacing)
    return None if found is None else found.id


def _refuse_unknown_words(session: Session, version_id: int, checkpoint: Checkpoint) -> None:
    """The embedded model cannot read free text, and a person may have edited some into a pair."""
    if not checkpoint.embedded:
        return
    unknown: dict[int, str] = {}
    for item in datasets.items(session, version_id):
        for text in (item.pair.chosen, item.pair.rejected):
            try:
                vocabulary.check(text)
            except OutsideVocabulary as error:
                unknown.setdefault(item.pair.pair_id, str(error).partition(". ")[0])
    if unknown:
        pair_id, said = next(iter(unknown.items()))
        others = f" ({len(unknown):,} pairs are like that)" if len(unknown) > 1 else ""
        raise OutsideVocabulary(
            f"{said}, which pair {pair_id} holds{others}. It reads only the {len(vocabulary.WORDS)} words of the drawn "
            f"world: open /review?pair={pair_id} and reject the pair or edit it in those words, freeze again and train "
            "on the new version, or train another model."
        )


def world_sft_set(session: Session, person: Person, version_id: int | None, seed: int = 0) -> int:
    """The drawn world's own SFT set: true captions and questions about every drawn video that is not held out."""
    people.require(person, "admin")
    held_out = held_out_videos(session, version_id) if version_id is not None else set()
    drafts = _world_examples(session, held_out, seed)
    if not drafts:
        raise TooFew(
            "There is no SFT set for these videos: only drawn ones come with true captions. Import a JSONL of "
            "conversations about your videos (`python -m jobs sft FILE`), or choose a recipe without SFT."
        )
    return sft_sets.create(session, person, "drawn world", "world", drafts, source=f"worlds.sft_examples, seed {seed}")


def _refuse_leak(session: Session, sft_set_id: int, version_id: int) -> None:
    """A model trained on the videos on which it is then measured would score well for nothing."""
    held_out = {item.pair.video.sha256 for item in datasets.items(session, version_id, "held_out")}
    examples = sft_sets.items(session, sft_set_id)
    leaking = [example for example in examples if example.video.sha256 in held_out]
    if leaking:
        card = sft_sets.get(session, sft_set_id)
        n_videos = len({example.video.sha256 for example in leaking})
        raise HeldOutLeak(
            f"In SFT set {sft_set_id} ({card.name}) {len(leaking)} of {len(examples)} examples are about {n_videos} "
            f"videos that dataset version {version_id} holds out: what was trained on cannot be measured on. "
            f"Import the file again without them (python -m jobs sft FILE --without-held-out {version_id}) "
            "and choose the new set."
        )


def _world_examples(session: Session, held_out: set[int], seed: int) -> Sequence[SftDraft]:
    drafts = []
    for kept in timelines.kept(session):
        video = worlds.read_spec(kept.video.path)
        if video is None or kept.video_id in held_out:
            continue
        for i, (question, answer) in enumerate(worlds.sft_examples(video, seed, WORLD_EXAMPLES_PER_VIDEO)):
            example = f"{kept.video.sha256[:16]}/{i}"
            drafts.append(SftDraft(example, kept.video_id, kept.timeline.id, question, answer))
    return drafts


def environment() -> dict[str, Any]:
    """The versions of what trains, kept with each run."""
    libraries = ("torch", "transformers", "trl", "peft", "accelerate")
    return {"python": platform.python_version(), **{library: version(library) for library in libraries}}


def code_version() -> str:
    """The commit that runs, where the code is a checkout."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=_ROOT, capture_output=True, text=True, timeout=10, check=False
    )
    return done.stdout.strip() or "unknown"
