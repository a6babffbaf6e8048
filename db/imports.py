"""Pairs from other tools: kept as proposals with where they stood, and the history of the files they came from.

A file is one row. While it comes in, that row says that nothing was read; whoever begins the same file again goes on
with it, so that an interrupted import is finished and never doubled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from db import models, pairs, people, plans, prompts, responses, samplings, timelines
from db.import_matches import Match
from db.pairs import PairDraft
from db.people import Person
from db.plans import PlanDraft
from db.responses import Recipe
from db.session import now_ms
from db.tables import ImportRow, ModelRow, PairOriginRow, UserRow, VideoRow, canonical
from tempo_core import filters, perturbation
from tempo_core.errors import Unknown
from tempo_core.exchange.sidecar import Returned
from tempo_core.types import IMPORTED, KINDS_OF_INPUT, Answer


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is being imported."""

    import_id: int
    format: str
    name: str
    file_sha256: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What a batch came to: pairs kept, those of them that came with their plan, and that a rule refused."""

    n: int = 0
    n_whole: int = 0
    n_filtered: int = 0

    def __add__(self, other: Kept) -> Kept:
        return Kept(self.n + other.n, self.n_whole + other.n_whole, self.n_filtered + other.n_filtered)


@dataclass(frozen=True, slots=True)
class ImportCard:
    """One file. `skipped` holds (line, reason); `done` is False where it was interrupted."""

    id: int
    format: str
    name: str
    file_sha256: str
    n_read: int
    n_imported: int
    skipped: tuple[tuple[int, str], ...]
    by: str
    created_ms: int

    @property
    def done(self) -> bool:
        return self.n_read > 0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a pair stood."""

    import_id: int
    format: str
    name: str
    line: int
    origin: dict[str, Any]


def begin(session: Session, person: Person, form: str, name: str, file_sha256: str) -> Source:
    """A new import of this file, or the one of it that was interrupted."""
    people.require(person, "admin")
    i = ImportRow
    halfway = select(i.id).where(i.file_sha256 == file_sha256, i.format == form, i.n_read == 0).limit(1)
    import_id = session.execute(halfway).scalar_one_or_none()
    if import_id is None:
        row = i(
            format=form, name=name, file_sha256=file_sha256, n_read=0, n_imported=0, skipped=[], created_by=person.id,
            created_ms=now_ms(),
        )  # fmt: skip
        session.add(row)
        session.flush()
        import_id = row.id
    return Source(import_id, form, name, file_sha256)


def lines_of(session: Session, source: Source) -> dict[int, int]:
    """The line of each pair that came in with this file, by pair: after an interruption these are done."""
    o = PairOriginRow
    rows = session.execute(select(o.pair_id, o.line).where(o.import_id == source.import_id))
    return {pair_id: line for pair_id, line in rows}


def keep(session: Session, source: Source, matches: Sequence[Match], job_id: int | None = None) -> Kept:
    """Keep pairs that have a place here as pending proposals, each with its origin; a rule may refuse one."""
    rows_of, made, sides = _Rows(session, source), [], dict[Recipe, Answer]()
    for match in matches:
        plan = _plan(session, rows_of, match)
        chosen = rows_of.recipe(match, None, match.pair.chosen)
        rejected = rows_of.recipe(match, plan.plan_id, match.pair.rejected)
        # How many tokens a foreign answer took, nobody says.
        sides |= {chosen: Answer(match.pair.chosen, 0, "stop"), rejected: Answer(match.pair.rejected, 0, "stop")}
        made.append((match, plan, chosen, rejected, rows_of.prompt(match.pair.prompt, "train")))
    ids = responses.record_many(session, sides, job_id)
    drafts = [_draft(match, plan, ids[a], ids[b], prompt_id) for match, plan, a, b, prompt_id in made]
    pair_ids = pairs.create_many(session, drafts, job_id)
    rows = [
        {"pair_id": pair_id, "import_id": source.import_id, "line": m.found.line, "origin": _origin(source, m)}
        for pair_id, m in dict(zip(pair_ids, matches, strict=True)).items()
    ]
    if rows:
        session.execute(insert(PairOriginRow), rows)
    refused = sum(not filters.passed(draft.verdicts) for draft in drafts)
    return Kept(len(rows), sum(match.plan is not None for match in matches), refused)


def finish(session: Session, source: Source, n_read: int, skipped: Sequence[tuple[int, str]]) -> ImportCard:
    """Write down what came of the file: what was read is what came in and what was skipped, each with its reason.

    Raises:
        ValueError: The numbers do not add up.
    """
    row = session.get_one(ImportRow, source.import_id)
    n_imported = len(lines_of(session, source))
    if n_read != n_imported + len(skipped):
        raise ValueError(f"{n_read} were read, {n_imported} imported and {len(skipped)} skipped")
    row.n_read, row.n_imported, row.skipped = n_read, n_imported, [list(one) for one in skipped]
    session.flush()
    return get(session, source.import_id)


def get(session: Session, import_id: int) -> ImportCard:
    found = _cards(session, ImportRow.id == import_id)
    if not found:
        raise Unknown(f"There is no import {import_id}.")
    return found[0]


def listing(session: Session, limit: int = 100) -> list[ImportCard]:
    """The newest first; of an interrupted one the pairs that came in are counted."""
    return _cards(session, ImportRow.id > 0, limit)


def _cards(session: Session, condition: Any, limit: int = 1) -> list[ImportCard]:
    i, o = ImportRow, PairOriginRow
    came = select(func.count()).where(o.import_id == i.id).scalar_subquery()
    columns: tuple[Any, ...] = (
        i.id, i.format, i.name, i.file_sha256, i.n_read, came, i.skipped, UserRow.name, i.created_ms,
    )  # fmt: skip
    query = select(*columns).join(UserRow, UserRow.id == i.created_by).where(condition)
    rows = session.execute(query.order_by(i.id.desc()).limit(limit))
    return [_card(row) for row in rows]


def _card(row: Any) -> ImportCard:
    about: tuple[Any, ...] = (*row[:6], tuple((int(line), str(reason)) for line, reason in row[6]), *row[7:])
    return ImportCard(*about)


def origin(session: Session, pair_id: int) -> Origin | None:
    """Where an imported pair stood; None for one that was made here."""
    i, o = ImportRow, PairOriginRow
    query = select(i.id, i.format, i.name, o.line, o.origin).join(o, o.import_id == i.id).where(o.pair_id == pair_id)
    row = session.execute(query).one_or_none()
    return None if row is None else Origin(*row)


class _Rows:
    """Rows that the pairs of a batch share, each found or made once."""

    def __init__(self, session: Session, source: Source) -> None:
        self._session, self._source = session, source
        self.prompt = cache(partial(prompts.id_of, session))
        self.timeline = cache(partial(timelines.get, session))
        self._models: dict[tuple[str, str], int] = {}
        self._samplings: dict[str, int] = {}

    def recipe(self, match: Match, plan_id: int | None, text: str) -> Recipe:
        about = self._model(match.found.returned), self.prompt(match.pair.prompt, IMPORTED), self._sampling(match)
        return Recipe(match.video_id, match.timeline_id, plan_id, *about, _seed(text))

    def _model(self, returned: Returned | None) -> int:
        """Who answered: the model with these files, the one an export names, or the file itself."""
        key = (returned.model, returned.model_sha256) if returned else ("", "")
        if key not in self._models:
            self._models[key] = _model(self._session, self._source, *key)
        return self._models[key]

    def _sampling(self, match: Match) -> int:
        returned = match.found.returned
        known = returned is not None and match.plan is not None and returned.input in KINDS_OF_INPUT
        settings = dict(returned.sampling) | {"input": returned.input} if returned and known else {"input": IMPORTED}
        key = canonical(settings)
        if key not in self._samplings:
            self._samplings[key] = samplings.id_of_settings(self._session, settings)
        return self._samplings[key]


def _model(session: Session, source: Source, name: str, files_sha256: str) -> int:
    if not name:
        return models.register(session, Path(source.name), IMPORTED, source.file_sha256, f"imported:{source.name}")
    known = select(ModelRow.id).where(ModelRow.files_sha256 == files_sha256)
    model_id = session.execute(known).scalar_one_or_none()
    if model_id is not None:
        return model_id
    # Not under the hash it claims: whoever brings the real files later must find no row that a file from outside named.
    claimed = hashlib.sha256(f"imported model|{name}|{files_sha256}".encode()).hexdigest()
    return models.register(session, Path(source.name), IMPORTED, claimed, name)


def _seed(text: str) -> int:
    """A number of its own for each text, far above any seed that was drawn: equal answers are one response."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a pair was made by: measured again here, from the timeline that the plan disturbs."""

    kind: str = IMPORTED
    magnitude: int | None = None
    difficulty: float | None = None
    plan_id: int | None = None
    n_clips: int | None = None


def _plan(session: Session, rows: _Rows, match: Match) -> _Plan:
    if match.plan is None:
        return _Plan()
    timeline = rows.timeline(match.timeline_id)
    sha256 = session.execute(select(VideoRow.sha256).where(VideoRow.id == match.video_id)).scalar_one() or ""
    alike = timeline.likeness if timeline.likeness.size else None
    draft = PlanDraft(
        match.plan,
        perturbation.plan_sha256(match.plan, sha256, timeline.sha256),
        perturbation.difficulty(match.plan, timeline.clip_frames, alike),
    )
    (plan_id,) = plans.record_many(session, match.video_id, match.timeline_id, [draft])
    # The same order may have been drawn here under another name.
    plan, hard = plans.get(session, plan_id)
    return _Plan(plan.kind, plan.magnitude, hard.value, plan_id, timeline.n_clips)


def _draft(match: Match, made: _Plan, chosen_id: int, rejected_id: int, prompt_id: int) -> PairDraft:
    return PairDraft(
        match.video_id, made.plan_id, chosen_id, rejected_id, prompt_id, made.kind, made.magnitude, made.difficulty,
        made.n_clips, match.verdicts, match.found.returned.uid if match.found.returned else None,
    )  # fmt: skip


def _origin(source: Source, match: Match) -> dict[str, Any]:
    """What the file says besides; nothing of it is used."""
    told: dict[str, Any] = {"format": source.format, "file_sha256": source.file_sha256, "video": match.pair.video}
    if match.pair.extra:
        told["extra"] = dict(match.pair.extra)
    if (r := match.found.returned) is not None:
        told["export"] = {
            "kind": r.kind, "magnitude": r.magnitude, "difficulty": r.difficulty, "split": r.split, "review": r.review,
            "reviewer": r.reviewer, "edited": r.edited, "bulk": r.bulk, "model": r.model, "input": r.input,
            "order": list(r.order) if r.order is not None else None, "timeline_sha256": r.timeline_sha256,
        }  # fmt: skip
    return told
