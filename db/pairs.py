"""Preference pairs: made from two stored answers, listed, counted and shown with everything that led to them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, case, func, insert, select
from sqlalchemy.orm import Session, aliased

from db import reviews, standings
from db.pair_filters import QUARTERS
from db.pair_lists import PairCounts as PairCounts
from db.pair_lists import PairLine as PairLine
from db.pair_lists import count as count
from db.pair_lists import counts as counts
from db.pair_lists import facets as facets
from db.pair_lists import key_of as key_of
from db.pair_lists import listed as listed
from db.pair_lists import page as page
from db.plans import as_plan
from db.session import now_ms
from db.standings import Standing
from db.tables import (
    CommentRow,
    FilterResultRow,
    ModelRow,
    PairRow,
    PlanRow,
    PromptRow,
    ResponseRow,
    SamplingRow,
    TimelineRow,
    VideoRow,
)
from db.timelines import as_timeline
from tempo_core.errors import Unknown
from tempo_core.types import FilterVerdict, JsonDict, PerturbationPlan, Timeline


@dataclass(frozen=True, slots=True)
class PairDraft:
    """What `create` needs. `prompt_id` is the training prompt; `plan_id` None for imported pairs."""

    video_id: int
    plan_id: int | None
    chosen_id: int
    rejected_id: int
    prompt_id: int
    kind: str
    magnitude: int | None
    difficulty: float | None
    n_clips: int | None
    verdicts: tuple[FilterVerdict, ...] = ()
    uid: str | None = None
    """Of a pair that comes back from an export; else its two recipes make it."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an answer comes from."""

    response_id: int
    model_id: int
    model: str
    family: str
    prompt: str
    sampling: JsonDict
    seed: int
    n_tokens: int
    finish: str
    job_id: int | None
    created_ms: int


@dataclass(frozen=True, slots=True)
class PairCard:
    """One pair with all that led to it. `chosen`, `rejected` are as made; `final_*` as the standing review left them.

    `percentile` is the difficulty's rank inside the kind; 0 = the easiest.
    """

    id: int
    uid: str
    video_id: int
    video_name: str
    kind: str
    magnitude: int | None
    difficulty: float | None
    percentile: float | None
    level: int | None
    prompt: str
    chosen: str
    rejected: str
    final_chosen: str
    final_rejected: str
    status: str
    version: int
    plan: PerturbationPlan | None
    measures: JsonDict
    timeline_id: int | None
    timeline: Timeline
    verdicts: tuple[FilterVerdict, ...]
    from_clean: Provenance
    from_perturbed: Provenance
    standing: Standing
    last: reviews.ReviewLine | None
    n_comments: int

    @property
    def input(self) -> str:
        """What the model was asked on: "captions" or "video"."""
        return str(self.from_clean.sampling.get("input", "imported"))


def create(session: Session, draft: PairDraft, job_id: int | None = None) -> int:
    """Keep a pair with its verdicts: `pending` if every rule passed, else `filtered`. Known recipes are kept once."""
    return create_many(session, [draft], job_id)[0]


def create_many(session: Session, drafts: Sequence[PairDraft], job_id: int | None = None) -> list[int]:
    """As `create`, for the pairs of a video, a statement per table; their ids in the order given.

    Raises:
        Unknown: A response that does not exist; no pair is kept then.
    """
    sides = _sides(session, {draft.chosen_id for draft in drafts} | {draft.rejected_id for draft in drafts})
    asked = select(PromptRow.id, PromptRow.text).where(PromptRow.id.in_({draft.prompt_id for draft in drafts}))
    texts = dict(session.execute(asked).all())
    rows: dict[str, dict[str, Any]] = {}
    verdicts: dict[str, tuple[FilterVerdict, ...]] = {}
    uids: list[str] = []
    for draft in drafts:
        row = _values(draft, sides[draft.chosen_id], sides[draft.rejected_id], texts[draft.prompt_id], job_id)
        uids.append(row["uid"])
        rows.setdefault(row["uid"], row)
        verdicts.setdefault(row["uid"], draft.verdicts)
    ids = dict(session.execute(select(PairRow.uid, PairRow.id).where(PairRow.uid.in_(rows))).all())
    new = [uid for uid in rows if uid not in ids]
    if new:
        ids |= zip(new, session.scalars(_INSERT, [rows[uid] for uid in new]), strict=True)
        results = [_result(ids[uid], verdict) for uid in new for verdict in verdicts[uid]]
        if results:
            session.execute(insert(FilterResultRow), results)
    return [ids[uid] for uid in uids]


def _values(draft: PairDraft, chosen: _Side, rejected: _Side, prompt: str, job_id: int | None) -> dict[str, Any]:
    return {
        "uid": draft.uid or hashlib.sha256(f"{chosen.recipe}|{rejected.recipe}".encode()).hexdigest(),
        "video_id": draft.video_id,
        "plan_id": draft.plan_id,
        "chosen_id": draft.chosen_id,
        "rejected_id": draft.rejected_id,
        "prompt_id": draft.prompt_id,
        "kind": draft.kind,
        "magnitude": draft.magnitude,
        "difficulty": draft.difficulty,
        "n_clips": draft.n_clips,
        "prompt": prompt,
        "chosen": chosen.text,
        "rejected": rejected.text,
        "status": "pending" if all(verdict.passed for verdict in draft.verdicts) else "filtered",
        "job_id": job_id,
        "created_ms": now_ms(),
        "model_id": chosen.model_id,
        "input": chosen.input,
        "length_ratio": _length_ratio(len(chosen.text), len(rejected.text)),
    }


def _length_ratio(chosen: int, rejected: int) -> float | None:
    """Of characters, as the rule of that name measures it; None where a side is empty."""
    return max(chosen, rejected) / min(chosen, rejected) if chosen and rejected else None


def _result(pair_id: int, v: FilterVerdict) -> dict[str, Any]:
    return {
        "pair_id": pair_id,
        "name": v.name,
        "version": v.version,
        "passed": bool(v.passed),
        "value": _real(v.value),
        "rule": v.rule,
    }


@dataclass(frozen=True, slots=True)
class _Side:
    text: str
    recipe: str
    model_id: int
    input: str


def _sides(session: Session, response_ids: set[int]) -> dict[int, _Side]:
    """Responses with their recipes in contents, not in ids, so that a pair has the same uid in every database."""
    found: dict[int, _Side] = {}
    rows = session.execute(_SIDES, {"response_ids": sorted(response_ids)})
    for response_id, text, seed, model_id, settings, *contents in rows:
        recipe = "|".join([*(part or "" for part in contents), str(seed)])
        found[response_id] = _Side(text, recipe, model_id, str(settings.get("input", "imported")))
    lost = response_ids - found.keys()
    if lost:
        raise Unknown(f"There is no response {min(lost)}.")
    return found


_INSERT = insert(PairRow).returning(PairRow.id, sort_by_parameter_order=True)
# Built once: thousands of pairs are made in one go.
_SIDES = (
    select(ResponseRow.id, ResponseRow.text, ResponseRow.seed, ModelRow.id, SamplingRow.settings, VideoRow.sha256,
           TimelineRow.sha256, PlanRow.sha256, ModelRow.files_sha256, PromptRow.sha256, SamplingRow.sha256)
    .join(VideoRow, VideoRow.id == ResponseRow.video_id)
    .join(ModelRow, ModelRow.id == ResponseRow.model_id)
    .join(PromptRow, PromptRow.id == ResponseRow.prompt_id)
    .join(SamplingRow, SamplingRow.id == ResponseRow.sampling_id)
    .outerjoin(TimelineRow, TimelineRow.id == ResponseRow.timeline_id)
    .outerjoin(PlanRow, PlanRow.id == ResponseRow.plan_id)
    .where(ResponseRow.id.in_(bindparam("response_ids", expanding=True)))
)  # fmt: skip


def get(session: Session, pair_id: int) -> PairCard:
    row = session.execute(
        select(PairRow, PlanRow, VideoRow.name)
        .join(VideoRow, VideoRow.id == PairRow.video_id)
        .outerjoin(PlanRow, PlanRow.id == PairRow.plan_id)
        .where(PairRow.id == pair_id)
    ).one_or_none()
    if row is None:
        raise Unknown(f"There is no pair {pair_id}.")
    pair, plan, video_name = row
    sources = _provenance(session, (pair.chosen_id, pair.rejected_id))
    timeline_id, clips = _timeline(session, pair, plan)
    standing = standings.standing(session, [pair_id]).get(pair_id, Standing())
    chosen, rejected = standing.texts(pair.chosen, pair.rejected)
    past = reviews.history(session, pair_id)
    percentile = _percentile(session, pair)
    n_comments = session.execute(select(func.count()).where(CommentRow.pair_id == pair_id)).scalar_one()
    return PairCard(
        id=pair.id, uid=pair.uid, video_id=pair.video_id, video_name=video_name, kind=pair.kind,
        magnitude=pair.magnitude, difficulty=pair.difficulty, percentile=percentile,
        level=None if percentile is None else 1 + sum(percentile >= cut for cut in QUARTERS),
        prompt=pair.prompt, chosen=pair.chosen, rejected=pair.rejected, final_chosen=chosen, final_rejected=rejected,
        status=pair.status, version=pair.version, plan=None if plan is None else as_plan(plan),
        measures={} if plan is None else plan.measures, timeline_id=timeline_id, timeline=clips,
        verdicts=verdicts(session, pair_id), from_clean=sources[pair.chosen_id],
        from_perturbed=sources[pair.rejected_id], standing=standing, last=past[-1] if past else None,
        n_comments=n_comments,
    )  # fmt: skip


def verdicts(session: Session, pair_id: int) -> tuple[FilterVerdict, ...]:
    f = FilterResultRow
    query = select(f.name, f.passed, f.value, f.rule, f.version).where(f.pair_id == pair_id).order_by(f.name)
    return tuple(FilterVerdict(*row) for row in session.execute(query))


def _provenance(session: Session, response_ids: Sequence[int]) -> dict[int, Provenance]:
    r = ResponseRow
    columns: tuple[Any, ...] = (
        r.id, r.model_id, ModelRow.name, ModelRow.family, PromptRow.text, SamplingRow.settings, r.seed, r.n_tokens,
        r.finish, r.job_id, r.created_ms,
    )  # fmt: skip
    query = (
        select(*columns)
        .join(ModelRow, ModelRow.id == r.model_id)
        .join(PromptRow, PromptRow.id == r.prompt_id)
        .join(SamplingRow, SamplingRow.id == r.sampling_id)
        .where(r.id.in_(response_ids))
    )
    return {row[0]: Provenance(*row) for row in session.execute(query)}


def _timeline(session: Session, pair: PairRow, plan: PlanRow | None) -> tuple[int | None, Timeline]:
    """The timeline that was disturbed; for imported pairs the one the answer was given on, if any."""
    timeline_id = plan.timeline_id if plan is not None else None
    if timeline_id is None:
        asked = select(ResponseRow.timeline_id).where(ResponseRow.id == pair.chosen_id)
        timeline_id = session.execute(asked).scalar_one()
    row = session.get(TimelineRow, timeline_id) if timeline_id is not None else None
    return timeline_id, () if row is None else as_timeline(row.clips)


def _percentile(session: Session, pair: PairRow) -> float | None:
    """As percent_rank() gives it, for one pair."""
    p = PairRow
    if pair.difficulty is None or pair.status == "filtered":
        return None
    kin = p.kind == pair.kind, p.status != "filtered", p.difficulty.is_not(None)
    below = func.sum(case((p.difficulty < pair.difficulty, 1), else_=0))
    n, easier = session.execute(select(func.count(), below).where(*kin)).one()
    return float(easier / (n - 1)) if n > 1 else 0.0


def _real(value: Any) -> float | None:
    return None if value is None else float(value)


def by_uid(session: Session, uid: str) -> int | None:
    return session.execute(select(PairRow.id).where(PairRow.uid == uid)).scalar_one_or_none()


def answered(session: Session, chosen_id: int, rejected_id: int) -> int | None:
    """The pair of these two responses, if it was made."""
    made = aliased(PairRow)
    query = select(made.id).where(made.chosen_id == chosen_id, made.rejected_id == rejected_id).limit(1)
    return session.execute(query).scalar_one_or_none()
