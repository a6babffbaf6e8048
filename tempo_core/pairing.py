"""Ask a Video LLM on the clean and on the perturbed timeline: what it says makes the two sides of a pair.

The one thing to know: the model is its own teacher. The response on the clean order is chosen, the response on a
plan's order is rejected; one clean response serves every plan of its video. Every draw has a seed made from the user's
seed, the video and the plan, so a stopped job that goes on asks only what is missing and gets what it would have got.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tempo_core.errors import (
    ClipsRefused,
    FrameTimesChanged,
    MediaError,
    OutsideVocabulary,
    PromptTooLong,
    QuestionRefused,
    TempoError,
)
from tempo_core.prompts import PROMPT_SETS, PromptSet
from tempo_core.types import Answer, Frames, PerturbationPlan, Progress, Question, Report, Sampling

Pictures = Callable[[int, tuple[int, ...]], NDArray[np.uint8]]
"""(video_id, frame numbers) -> RGB pictures (T, H, W, 3)."""

ONE_VIDEO_ONLY = (MediaError, FrameTimesChanged, OutsideVocabulary, PromptTooLong, ClipsRefused, QuestionRefused)
"""Errors that stop one video and not the job."""


class Asked(Protocol):
    """What pairing needs of a Video LLM (`video_llms.base.VideoLLM` is one)."""

    prompt_set: str
    batch_size: int

    def answer(self, questions: Sequence[Question], sampling: Sampling, seed: Sequence[int]) -> list[Answer]: ...

    def shown(self, pixels: NDArray[np.uint8], numbers: Sequence[int], duration_s: float) -> Frames: ...


@dataclass(frozen=True, slots=True)
class PairingJob:
    """One video to make pairs of. What is stored already is given, and not asked again."""

    video_id: int
    timeline_id: int
    video_key: str
    """What the seeds are made from: the file's sha256, so that another database draws the same."""
    clip_pictures: tuple[tuple[int, ...], ...]
    """Key frame numbers, clip by clip in clean order."""
    clip_durations_s: tuple[float, ...]
    plans: tuple[tuple[int, PerturbationPlan], ...]
    """(plan_id, plan) of the pairs that are still missing."""
    captions: Mapping[int, str] = field(default_factory=dict)
    """Stored captions by clip index."""
    clean: Answer | None = None
    """The stored response on the clean order."""
    answered: Mapping[int, Answer] = field(default_factory=dict)
    """Stored responses by plan_id."""


@dataclass(frozen=True, slots=True)
class CaptionDraft:
    """What the model said about one clip."""

    video_id: int
    timeline_id: int
    clip_idx: int
    answer: Answer
    prompt_text: str
    seed: int

    @property
    def text(self) -> str:
        return self.answer.text


@dataclass(frozen=True, slots=True)
class ResponseDraft:
    """What the model said about one order of the clips; `plan_id` None is the clean order."""

    video_id: int
    timeline_id: int
    plan_id: int | None
    answer: Answer
    prompt_text: str
    seed: int


@dataclass(frozen=True, slots=True)
class PairDraft:
    """A pair before the filters. `prompt` is asked in training, about the whole clean video."""

    video_id: int
    timeline_id: int
    plan_id: int
    plan: PerturbationPlan
    prompt: str
    chosen: Answer
    rejected: Answer


@dataclass(frozen=True, slots=True)
class Failure:
    """A video that could not be asked about, and why."""

    video_id: int
    timeline_id: int
    error: TempoError


@dataclass(frozen=True, slots=True)
class Drafts:
    """What one batch of videos brought: only new captions and responses, and a pair for every plan of the jobs."""

    captions: tuple[CaptionDraft, ...] = ()
    responses: tuple[ResponseDraft, ...] = ()
    pairs: tuple[PairDraft, ...] = ()
    failures: tuple[Failure, ...] = ()


def ask(
    llm: Asked,
    jobs: Sequence[PairingJob],
    sampling: Sampling,
    pictures: Pictures,
    *,
    user_seed: int,
    report: Report = lambda progress: None,
    videos_per_batch: int | None = None,
    phrasings: Sequence[str] = (),
) -> Iterator[Drafts]:
    """Ask about every job and yield after each batch of videos, so that the caller can store it.

    Args:
        videos_per_batch: None takes what fills the model's batches a few times.
        phrasings: Ways to ask for the whole video; those of the model's own set when empty.

    Raises:
        VideoLost: The model does not see its videos; nothing it says would be worth storing.
    """
    n = videos_per_batch or _videos_per_batch(llm, sampling)
    prompts = PROMPT_SETS[llm.prompt_set].asking(phrasings)
    report(Progress(0, len(jobs), "asking"))
    for start in range(0, len(jobs), n):
        drafts = _ask_batch(_Asking(llm, prompts, sampling, pictures, user_seed), jobs[start : start + n])
        yield drafts
        done = min(start + n, len(jobs))
        report(Progress(done, len(jobs), f"{done} of {len(jobs)} videos asked"))


def seed_of(user_seed: int, video_key: str, *what: object) -> int:
    """A seed of 63 bits (a database integer) for one draw; the same on every machine."""
    text = "\n".join(str(part) for part in (user_seed, video_key, *what))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True)
class _Asking:
    """What all questions of a call share."""

    llm: Asked
    prompts: PromptSet
    sampling: Sampling
    pictures: Pictures
    user_seed: int

    def answer(self, questions: Sequence[Question], seeds: Sequence[int]) -> list[Answer]:
        return self.llm.answer(questions, self.sampling, seeds) if questions else []


def _videos_per_batch(llm: Asked, sampling: Sampling) -> int:
    # A video gives about a dozen lists of captions, small; with the other inputs each holds all of its pictures.
    return max(8, llm.batch_size // 4) if sampling.input == "captions" else max(2, llm.batch_size // 8)


def _ask_batch(asking: _Asking, jobs: Sequence[PairingJob]) -> Drafts:
    try:
        return _from_captions(asking, jobs) if asking.sampling.input == "captions" else _from_pictures(asking, jobs)
    except ONE_VIDEO_ONLY as error:
        if len(jobs) == 1:
            return Drafts(failures=(Failure(jobs[0].video_id, jobs[0].timeline_id, error),))
        # Seeds belong to videos, not to batches: asking one by one gives the others what they would have got.
        return _joined([_ask_batch(asking, [job]) for job in jobs])


def _joined(parts: Sequence[Drafts]) -> Drafts:
    return Drafts(
        captions=tuple(draft for part in parts for draft in part.captions),
        responses=tuple(draft for part in parts for draft in part.responses),
        pairs=tuple(draft for part in parts for draft in part.pairs),
        failures=tuple(draft for part in parts for draft in part.failures),
    )


def _from_captions(asking: _Asking, jobs: Sequence[PairingJob]) -> Drafts:
    new = _caption(asking, jobs)
    captions = [dict(job.captions) for job in jobs]
    for i, draft in new:
        captions[i][draft.clip_idx] = draft.text

    def question(i: int, order: Sequence[int]) -> Question:
        return Question(asking.prompts.from_captions([captions[i][clip] for clip in order]))

    return replace(_respond(asking, jobs, question), captions=tuple(draft for _, draft in new))


def _from_pictures(asking: _Asking, jobs: Sequence[PairingJob]) -> Drafts:
    shown = [[asking.pictures(job.video_id, numbers) for numbers in job.clip_pictures] for job in jobs]

    def question(i: int, order: Sequence[int]) -> Question:
        # Both sides of a pair are asked with the same words.
        text = asking.prompts.phrasing(seed_of(asking.user_seed, jobs[i].video_key, "question"))
        if asking.sampling.input == "clips":
            clips = tuple(_frames(asking, jobs[i], shown[i], [clip]) for clip in order)
            return Question(asking.prompts.from_clips(text), clips=clips)
        return Question(text, _frames(asking, jobs[i], shown[i], order))

    return _respond(asking, jobs, question)


def _frames(asking: _Asking, job: PairingJob, shown: Sequence[NDArray[np.uint8]], order: Sequence[int]) -> Frames:
    numbers = [number for clip in order for number in job.clip_pictures[clip]]
    duration_s = sum(job.clip_durations_s[clip] for clip in order)
    return asking.llm.shown(np.concatenate([shown[clip] for clip in order]), numbers, duration_s)


def _caption(asking: _Asking, jobs: Sequence[PairingJob]) -> list[tuple[int, CaptionDraft]]:
    """Caption every clip once: (index of the job, draft). A differential prompt needs the caption before, so clips are
    then asked level by level, all videos together."""
    missing = [
        (i, clip) for i, job in enumerate(jobs) for clip in range(len(job.clip_pictures)) if clip not in job.captions
    ]
    if not asking.prompts.differential:
        return _caption_level(asking, jobs, missing, {})
    known = {(i, clip): text for i, job in enumerate(jobs) for clip, text in job.captions.items()}
    drafts = []
    for level in sorted({clip for _, clip in missing}):
        new = _caption_level(asking, jobs, [place for place in missing if place[1] == level], known)
        known.update({(i, draft.clip_idx): draft.text for i, draft in new})
        drafts += new
    return drafts


def _caption_level(
    asking: _Asking, jobs: Sequence[PairingJob], places: Sequence[tuple[int, int]], known: Mapping[tuple[int, int], str]
) -> list[tuple[int, CaptionDraft]]:
    questions = []
    for i, clip in places:
        job = jobs[i]
        pixels = asking.pictures(job.video_id, job.clip_pictures[clip])
        first = clip == 0 or not asking.prompts.differential
        text = asking.prompts.caption_first if first else asking.prompts.caption_next(known[i, clip - 1])
        questions.append(Question(text, asking.llm.shown(pixels, job.clip_pictures[clip], job.clip_durations_s[clip])))
    seeds = [seed_of(asking.user_seed, jobs[i].video_key, "caption", clip) for i, clip in places]
    answers = asking.answer(questions, seeds)
    return [
        (i, CaptionDraft(jobs[i].video_id, jobs[i].timeline_id, clip, answer, question.text, seed))
        for (i, clip), answer, question, seed in zip(places, answers, questions, seeds, strict=True)
    ]


def _respond(asking: _Asking, jobs: Sequence[PairingJob], question: Callable[[int, Sequence[int]], Question]) -> Drafts:
    """Ask for every response that is not stored, all orders of all videos in one call, then pair them."""
    places: list[tuple[int, int | None]] = []
    questions, seeds = [], []
    for i, job in enumerate(jobs):
        for plan_id, order, seed in _orders(asking.user_seed, job):
            places.append((i, plan_id))
            questions.append(question(i, order))
            seeds.append(seed)
    answers = dict(zip(places, asking.answer(questions, seeds), strict=True))
    responses = tuple(
        ResponseDraft(jobs[i].video_id, jobs[i].timeline_id, plan_id, answers[i, plan_id], asked.text, seed)
        for (i, plan_id), asked, seed in zip(places, questions, seeds, strict=True)
    )
    return Drafts(responses=responses, pairs=tuple(_pairs(asking, jobs, answers)))


def _orders(user_seed: int, job: PairingJob) -> Iterator[tuple[int | None, tuple[int, ...], int]]:
    if job.clean is None and job.plans:
        yield None, tuple(range(len(job.clip_pictures))), seed_of(user_seed, job.video_key, "clean")
    for plan_id, plan in job.plans:
        if plan_id not in job.answered:
            yield plan_id, plan.order, seed_of(user_seed, job.video_key, plan.kind, plan.magnitude, plan.order)


def _pairs(
    asking: _Asking, jobs: Sequence[PairingJob], answers: Mapping[tuple[int, int | None], Answer]
) -> Iterator[PairDraft]:
    for i, job in enumerate(jobs):
        for plan_id, plan in job.plans:
            chosen = job.clean or answers[i, None]
            rejected = job.answered[plan_id] if plan_id in job.answered else answers[i, plan_id]
            drawn = seed_of(asking.user_seed, job.video_key, "prompt", plan.kind, plan.magnitude, plan.order)
            prompt = asking.prompts.phrasing(drawn)
            yield PairDraft(job.video_id, job.timeline_id, plan_id, plan, prompt, chosen, rejected)
