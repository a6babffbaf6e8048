"""Answer questions about videos token by token, base beside trained; the models stay loaded between questions.

The job ends after a minute without a question, and at once when other work waits for its slot.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from db import jobs, models, runs, timelines, videos
from db.session import Database
from jobs.child import Report
from jobs.payloads import EMBEDDED_TOKENS, AskPayload
from jobs.tasks import JobRef, moments
from jobs.tasks.moments import Moment
from tempo_core import render, trying
from tempo_core.errors import Cancelled, LeaseLost, TempoError, Unknown
from tempo_core.pictures import Pictures
from tempo_core.trying import Said
from tempo_core.types import Frames, JsonDict, Progress, Question, Sampling

IDLE_S = 60.0
_LOOK_S = 0.1
_OTHERS_S = 1.0
MAX_NEW_TOKENS = 512


class _Stopped(Exception):
    """A person has heard enough of this answer."""


@dataclass
class _Loaded:
    """Checkpoints by their place in the payload, each loaded when it is first asked."""

    database: Database
    job: JobRef
    keys: tuple[str, ...]
    models: dict[int, Any] = field(default_factory=dict)

    def get(self, place: int) -> Any:
        if place not in self.models:
            base, moment = checkpoint(self.database, self.keys[place])
            print(f"loading {self.keys[place]}", flush=True)
            self.models[place] = moments.load(base, moment, self.job.home)
        return self.models[place]


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Answer what is asked until nothing more is."""
    payload = job.payload
    if not isinstance(payload, AskPayload):
        raise ValueError(f"ask was given {type(payload).__name__}")
    loaded = _Loaded(database, job, payload.checkpoints)
    n_answered, quiet_since = 0, time.monotonic()
    while True:
        asked = trying.waiting(job.folder, len(payload.checkpoints))
        if asked:
            _answer(loaded, asked[0], report)
            n_answered, quiet_since = n_answered + 1, time.monotonic()
            report.tell(Progress(1, 1, "waits for another question"))
        elif time.monotonic() - quiet_since > IDLE_S or _others_wait(database, quiet_since):
            return {"answered": n_answered}
        elif report.should_stop():
            raise Cancelled(f"Stopped after {n_answered} questions.")
        else:
            time.sleep(_LOOK_S)


def _others_wait(database: Database, quiet_since: float) -> bool:
    """Whether another job needs the slot; asked once the last answer is a second old."""
    if time.monotonic() - quiet_since < _OTHERS_S:
        return False
    with database.reading() as session:
        return jobs.waiting(session, "gpu")


def checkpoint(database: Database, key: str) -> tuple[Path, Moment]:
    """The base and the links that a checkpoint's key names: base-1, or 3-dpo.

    Raises:
        Unknown: There is no such model, run or moment.
    """
    head, _, tail = key.partition("-")
    with database.reading() as session:
        if head == "base":
            return models.get(session, int(tail)).path, moments.BASE
        card = runs.get(session, int(head))
        found = {moment.name: moment for moment in moments.of_run(session, card)}
        if tail not in found:
            raise Unknown(f"Run {card.id} has no model after {tail}; it has {', '.join(found)}.")
        return models.get(session, card.base_model_id).path, found[tail]


def _answer(loaded: _Loaded, trial_id: str, report: Report) -> None:
    """One question to every checkpoint, one after the other; a refusal is that checkpoint's answer."""
    for place in range(len(loaded.keys)):
        telling = _Telling(loaded, trial_id, place, report)
        try:
            telling.say(_stream(telling))
        except _Stopped:
            telling.say(replace(telling.said, finish="stopped"))
        except (Cancelled, LeaseLost):
            telling.say(replace(telling.said, finish="stopped"))
            raise
        except TempoError as error:
            telling.say(Said(str(error), 0, "error"))


@dataclass
class _Telling:
    """One checkpoint's answer to one question, as it grows."""

    loaded: _Loaded
    trial_id: str
    place: int
    report: Report
    said: Said = field(default_factory=Said)

    @property
    def folder(self) -> Path:
        return self.loaded.job.folder

    def say(self, said: Said) -> None:
        self.said = said
        trying.say(self.folder, self.trial_id, self.place, said)

    def told(self, text: str, n_tokens: int) -> None:
        self.say(Said(text, n_tokens))
        if trying.stopped(self.folder, self.trial_id):
            raise _Stopped
        self.where("answering")

    def where(self, doing: str) -> None:
        self.report(Progress(self.place, len(self.loaded.keys), f"{self.loaded.keys[self.place]}: {doing}"))


def _stream(telling: _Telling) -> Said:
    telling.where("loading")
    llm, trial = telling.loaded.get(telling.place), trying.read(telling.folder, telling.trial_id)
    frames = _frames(telling.loaded, llm, trial.video_id)
    if telling.place == 0:
        trying.show(telling.folder, telling.trial_id, frames.numbers, render.contact_strip(frames.pixels))
    most = EMBEDDED_TOKENS if llm.prompt_set == "embedded" else MAX_NEW_TOKENS
    sampling = Sampling(input="video", temperature=0.0, repetition_penalty=1.0, max_new_tokens=most)
    answer = llm.tell(Question(trial.question, frames), sampling, 0, telling.told)
    return Said(answer.text, answer.n_tokens, answer.finish)


def _frames(loaded: _Loaded, llm: Any, video_id: int) -> Frames:
    """Key frames of the clips, as training shows them; of a video that was left out, pictures spread over it."""
    with loaded.database.reading() as session:
        kept = timelines.kept(session, {video_id})
        path = videos.path_of(session, video_id)
    if kept:
        numbers = [number for clip in kept[0].timeline.timeline for number in clip.key_frames]
        pixels = Pictures(loaded.job.home.cache, llm.long_side).get(kept[0].video, kept[0].times_sha256, numbers)
        return llm.shown(pixels, numbers, kept[0].video.duration_s)  # type: ignore[no-any-return]
    spread = importlib.import_module("tempo_core.benchmarks.shown")
    seen = spread.shown(path, spread.N_PICTURES, None, llm.long_side or spread.LONG_SIDE)
    return llm.shown(seen.pixels, seen.numbers, seen.duration_s)  # type: ignore[no-any-return]
