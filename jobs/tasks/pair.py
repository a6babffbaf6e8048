"""Make pairs: plan the perturbations of every kept video, ask the model on both orders, filter, store.

Written video by video; a resumed or repeated job asks only for what is not stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db import caption_sets, pairs, plans, prompts, responses, settings, timelines
from db.plans import PlanDraft
from db.responses import CaptionRecipe, Recipe
from db.session import Database
from db.timelines import KeptVideo
from jobs.child import Report
from jobs.payloads import PairPayload
from jobs.tasks import JobRef
from jobs.tasks.answering import Answering, answering
from jobs.tasks.shown import ShownVideos
from tempo_core import filters, pairing, perturbation
from tempo_core.errors import OutsideVocabulary, TooFew
from tempo_core.pairing import Drafts, PairingJob
from tempo_core.prompts import PROMPT_SETS, VERSION
from tempo_core.types import Answer, Difficulty, JsonDict, PerturbationPlan
from tempo_core.worlds import vocabulary

CaptionsOfTimelines = Mapping[int, Mapping[int, str]]


@dataclass(frozen=True, slots=True)
class _Asking:
    """What all responses of this job share."""

    model_id: int
    sampling_id: int
    clean_prompt_id: int
    caption_prompt_id: int
    seed: int
    job_id: int

    def recipe(self, video_id: int, timeline_id: int, plan_id: int | None) -> Recipe:
        return Recipe(video_id, timeline_id, plan_id, self.model_id, self.clean_prompt_id, self.sampling_id, self.seed)

    def captions(self, timeline_id: int) -> CaptionRecipe:
        return CaptionRecipe(timeline_id, self.model_id, self.caption_prompt_id, self.sampling_id, self.seed)


def run(database: Database, job: JobRef, report: Report) -> JsonDict:
    """Make the pairs that are missing; the counts of what came of it."""
    payload = job.payload
    if not isinstance(payload, PairPayload):
        raise ValueError(f"pair was given {type(payload).__name__}")
    kept, given = _kept(database, payload)
    with database.reading() as session:
        phrasings = settings.checked_phrasings(payload.phrasings) or settings.phrasings(session)
    answers = answering(payload, job.folder)
    llm, sampling = answers.llm, answers.sampling
    if llm.prompt_set == "embedded":
        _refuse_unknown_words(phrasings)
    with database.session() as session:
        asking = _asking(session, answers, payload, job, phrasings)
    work: list[PairingJob] = []
    for video in kept.values():
        # One video a transaction: planning a large library would lock everybody else out for minutes.
        with database.session() as session:
            work.extend(_missing(session, video, asking, payload, given.get(video.timeline.id)))
    work = work[: payload.limit_videos]
    counts = {"videos": len(work), "pairs": 0, "pending": 0, "filtered": 0}
    failed: dict[str, str] = {}
    pictures = ShownVideos(job.home.cache, llm.long_side, kept)
    asked = pairing.ask(llm, work, sampling, pictures, user_seed=payload.seed, report=report, phrasings=phrasings)
    for drafts in asked:
        for of_one in _by_video(drafts):
            with database.session() as session:
                _store(session, of_one, asking, kept, counts)
        for failure in drafts.failures:
            failed[kept[failure.video_id].video.path.name] = str(failure.error)
            print(f"no pairs of {kept[failure.video_id].video.path.name}: {failure.error}", flush=True)
        print(f"{counts['pairs']} pairs, {counts['filtered']} of them refused by a filter", flush=True)
    answers.stored()
    return {**counts, "failed": failed}


def _kept(database: Database, payload: PairPayload) -> tuple[dict[int, KeptVideo], CaptionsOfTimelines]:
    """The videos to ask about, and their captions where those come from a data set."""
    with database.reading() as session:
        kept = {v.video_id: v for v in timelines.kept(session, payload.video_ids or None)}
        if kept and payload.captions_from is not None:
            return _captioned(session, kept, payload.captions_from)
    if not kept:
        raise TooFew(
            "No video is rich enough in events to make pairs of. Scan a folder first, or loosen the rule that left "
            "most videos out (the library page shows which)."
        )
    return kept, {}


def _captioned(
    session: Session, kept: dict[int, KeptVideo], set_id: int
) -> tuple[dict[int, KeptVideo], CaptionsOfTimelines]:
    """The videos of which the set captions every clip: a list with gaps would tell another video."""
    name = caption_sets.get(session, set_id).name
    given = caption_sets.of_timelines(session, set_id, [video.timeline.id for video in kept.values()])
    whole = {i: v for i, v in kept.items() if len(given.get(v.timeline.id, {})) == v.timeline.n_clips}
    n_partly = sum(v.timeline.id in given for v in kept.values()) - len(whole)
    told = f"{name} captions every clip of {len(whole)} of {len(kept)} kept videos, and some clips of {n_partly} more."
    print(told, flush=True)
    if not whole:
        raise TooFew(
            f"{told} Import captions whose segments cover the clips (python -m jobs captions FILE), or have the model "
            "caption them."
        )
    return whole, given


def _refuse_unknown_words(phrasings: Sequence[str]) -> None:
    """Before anything is asked: a pair whose prompt the embedded model cannot read could never be trained on."""
    for text in phrasings:
        try:
            vocabulary.check(text)
        except OutsideVocabulary as error:
            raise OutsideVocabulary(
                f"The prompt {text!r} is not for this model. {error} Own prompts stand on the settings page (Prompts)."
            ) from None


def _asking(
    session: Session, answers: Answering, payload: PairPayload, job: JobRef, phrasings: Sequence[str]
) -> _Asking:
    words, asked_on = PROMPT_SETS[answers.llm.prompt_set].asking(phrasings), answers.sampling.input
    # A list of captions is replayed from the stored captions and the plan; the prompt's row holds its wording only.
    listed = words.from_captions(["{captions in plan order}"])
    of_clips = [words.from_clips(phrasing) for phrasing in words.describe]
    asked = {"captions": listed, "clips": "\n".join(of_clips), "video": "\n".join(words.describe)}[asked_on]
    name = f"{words.name}-{VERSION}"
    of_whole = f"own/{asked_on}" if phrasings and asked_on != "captions" else f"{name}/{asked_on}"
    given = None if payload.captions_from is None else caption_sets.get(session, payload.captions_from).sha256
    return _Asking(
        model_id=answers.model_id(session),
        sampling_id=answers.sampling_id(session, given),
        clean_prompt_id=prompts.id_of(session, asked, of_whole),
        caption_prompt_id=prompts.id_of(session, words.caption_first, f"{name}/caption"),
        seed=payload.seed,
        job_id=job.id,
    )


def _missing(
    session: Session, video: KeptVideo, asking: _Asking, payload: PairPayload, given: Mapping[int, str] | None
) -> Iterator[PairingJob]:
    """What is to be asked about a video that lacks a pair, with what is already stored of it or `given` by clip."""
    timeline, drawn = video.timeline, _plans(video, payload)
    plan_ids = plans.record_many(session, video.video_id, timeline.id, [_plan_draft(video, plan) for plan in drawn])
    planned = list(zip(plan_ids, drawn, strict=True))
    recipes = {p: asking.recipe(video.video_id, timeline.id, p) for p in [None, *(p for p, _ in planned)]}
    known = responses.known(session, list(recipes.values()))
    answered = {p: known[recipe] for p, recipe in recipes.items() if recipe in known}
    clean = answered.pop(None, None)
    lacking = tuple(
        (p, plan)
        for p, plan in planned
        if not (clean and p in answered and pairs.answered(session, clean[0], answered[p][0]))
    )
    if not lacking:
        return
    captions = responses.captions_known(session, asking.captions(timeline.id))
    yield PairingJob(
        video_id=video.video_id,
        timeline_id=timeline.id,
        video_key=video.video.sha256,
        clip_pictures=tuple(clip.key_frames for clip in timeline.timeline),
        clip_durations_s=_durations(video),
        plans=lacking,
        captions=given or {clip: answer.text for clip, answer in captions.items()},
        clean=clean[1] if clean else None,
        answered={p: answer for p, (_, answer) in answered.items() if p is not None},
    )


def _durations(video: KeptVideo) -> tuple[float, ...]:
    """Seconds of each clip, scaled so that the clean order lasts as long as the video, as it does in training."""
    frames = video.timeline.clip_frames
    return tuple(n / sum(frames) * video.video.duration_s for n in frames)


def _plans(video: KeptVideo, payload: PairPayload) -> Sequence[PerturbationPlan]:
    def seed_of(kind: str, magnitude: int, replica: int) -> int:
        return perturbation.plan_seed(payload.seed, video.video.sha256, video.timeline.sha256, kind, magnitude, replica)

    return perturbation.plans(video.timeline.n_clips, payload.kinds, payload.magnitudes, seed_of, payload.law).plans


def _difficulty(video: KeptVideo, plan: PerturbationPlan) -> Difficulty:
    return perturbation.difficulty(plan, video.timeline.clip_frames, video.timeline.likeness)


def _plan_draft(video: KeptVideo, plan: PerturbationPlan) -> PlanDraft:
    sha256 = perturbation.plan_sha256(plan, video.video.sha256, video.timeline.sha256)
    return PlanDraft(plan, sha256, _difficulty(video, plan))


def _by_video(drafts: Drafts) -> Iterator[Drafts]:
    """A batch in pieces that are written in milliseconds: reviewers write to the same database meanwhile."""
    video_ids = [draft.video_id for draft in drafts.responses] + [draft.video_id for draft in drafts.pairs]
    for video_id in dict.fromkeys(video_ids):
        yield Drafts(
            captions=tuple(draft for draft in drafts.captions if draft.video_id == video_id),
            responses=tuple(draft for draft in drafts.responses if draft.video_id == video_id),
            pairs=tuple(draft for draft in drafts.pairs if draft.video_id == video_id),
        )


def _store(
    session: Session,
    drafts: Drafts,
    asking: _Asking,
    kept: dict[int, KeptVideo],
    counts: dict[str, int],
) -> None:
    """One transaction: captions, responses, pairs with their verdicts."""
    captions: dict[int, dict[int, Answer]] = {}
    for caption in drafts.captions:
        captions.setdefault(caption.timeline_id, {})[caption.clip_idx] = caption.answer
    for timeline_id, answers in captions.items():
        responses.record_captions(session, asking.captions(timeline_id), answers, asking.job_id)
    given = {asking.recipe(r.video_id, r.timeline_id, r.plan_id): r.answer for r in drafts.responses}
    ids = responses.record_many(session, given, asking.job_id)
    prompt_ids = {text: prompts.id_of(session, text, "train") for text in {draft.prompt for draft in drafts.pairs}}
    made = []
    for draft in drafts.pairs:
        chosen_id, rejected_id = (
            _id_of(session, ids, asking.recipe(draft.video_id, draft.timeline_id, plan_id))
            for plan_id in (None, draft.plan_id)
        )
        video = kept[draft.video_id]
        made.append(
            pairs.PairDraft(
                video_id=draft.video_id,
                plan_id=draft.plan_id,
                chosen_id=chosen_id,
                rejected_id=rejected_id,
                prompt_id=prompt_ids[draft.prompt],
                kind=draft.plan.kind,
                magnitude=draft.plan.magnitude,
                difficulty=_difficulty(video, draft.plan).value,
                n_clips=video.timeline.n_clips,
                verdicts=filters.run(draft.chosen, draft.rejected, draft.plan.kind),
            )
        )
    pairs.create_many(session, made, asking.job_id)
    counts["pairs"] += len(made)
    counts["pending"] += sum(filters.passed(pair.verdicts) for pair in made)
    counts["filtered"] += sum(not filters.passed(pair.verdicts) for pair in made)


def _id_of(session: Session, ids: dict[Recipe, int], recipe: Recipe) -> int:
    """The response's row: written now, or by an attempt before."""
    if recipe not in ids:
        ids[recipe] = responses.known(session, [recipe])[recipe][0]
    return ids[recipe]
