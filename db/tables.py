"""Every table, as typed rows. Rows never leave the `db` room: verbs return plain values.

Times are unix milliseconds (`_ms`). Kinds, acts, recipes and benchmarks are open strings, so a new one needs no
migration; our own closed states have a CHECK. Triggers, the search table and indexes over expressions are in
`dialect.ensure_extras`, because a batch migration drops them in silence.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def canonical(value: Any) -> str:
    """JSON with one spelling per value: what is stored and what is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


class Json(TypeDecorator[Any]):
    """JSON kept as text, since a STRICT table knows no JSON type."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else canonical(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class Flag(TypeDecorator[bool]):
    """A truth value kept as 0 or 1."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: bool | None, dialect: Dialect) -> int | None:
        return None if value is None else int(bool(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> bool | None:
        return None if value is None else bool(value)


Whole: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
Real: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: Whole,
        float: Real,
        str: Text(),
        bytes: LargeBinary(),
        bool: Flag(),
        dict[str, Any]: Json(),
        list[Any]: Json(),
    }
    __table_args__: Any = {"sqlite_strict": True}  # noqa: RUF012


def rules(*items: Any, rowid: bool = True) -> tuple[Any, ...]:
    options: dict[str, Any] = {"sqlite_strict": True}
    if not rowid:
        options["sqlite_with_rowid"] = False
    return (*items, options)


def key() -> Any:
    return mapped_column(primary_key=True)


def to(target: str, *, primary_key: bool = False) -> Any:
    return mapped_column(ForeignKey(f"{target}.id", ondelete="RESTRICT"), primary_key=primary_key)


def one_of(column: str, *values: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


def hash_of(column: str) -> CheckConstraint:
    return CheckConstraint(f"length({column}) = 64", name=f"{column}_length")


class MetaRow(Base):
    __tablename__ = "meta"
    __table_args__ = rules(rowid=False)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


# ---- people ---------------------------------------------------------------------------------------------------------
class UserRow(Base):
    __tablename__ = "app_user"
    __table_args__ = rules(one_of("role", "viewer", "reviewer", "admin"))
    id: Mapped[int] = key()
    subject: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str | None]
    name: Mapped[str]
    role: Mapped[str]
    active: Mapped[bool] = mapped_column(default=True)
    preferences: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_ms: Mapped[int]


# ---- videos ---------------------------------------------------------------------------------------------------------
class LibraryRow(Base):
    __tablename__ = "library"
    id: Mapped[int] = key()
    root: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    created_ms: Mapped[int]


class VideoRow(Base):
    """`sha256` is NULL only where a file could not even be read; then its first location names it."""

    __tablename__ = "video"
    __table_args__ = rules(
        one_of("status", "ok", "corrupt", "missing", "quarantine"),
        hash_of("sha256"),
        CheckConstraint("status <> 'ok' OR (sha256 IS NOT NULL AND n_frames > 0 AND fps_den > 0)", name="ok_is_whole"),
        Index(None, "status", "id"),
    )
    id: Mapped[int] = key()
    sha256: Mapped[str | None] = mapped_column(unique=True)
    name: Mapped[str]
    size_bytes: Mapped[int | None]
    duration_s: Mapped[float | None]
    n_frames: Mapped[int | None]
    fps_num: Mapped[int | None]
    fps_den: Mapped[int | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    times_sha256: Mapped[str | None]
    status: Mapped[str]
    reason: Mapped[str | None]
    message: Mapped[str | None]
    probe: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_ms: Mapped[int]


class LocationRow(Base):
    """Where a video lies. One file at two paths is one video with two locations."""

    __tablename__ = "location"
    __table_args__ = rules(rowid=False)
    library_id: Mapped[int] = to("library", primary_key=True)
    rel_path: Mapped[str] = mapped_column(primary_key=True)
    video_id: Mapped[int] = mapped_column(ForeignKey("video.id", ondelete="RESTRICT"), index=True)
    seen_ms: Mapped[int]


class SegmentationRow(Base):
    """What the detector found: shots as [start, end) frames; `likeness` is n x n float16."""

    __tablename__ = "segmentation"
    __table_args__ = rules(UniqueConstraint("video_id", "config_sha256"))
    id: Mapped[int] = key()
    video_id: Mapped[int] = to("video")
    config_sha256: Mapped[str]
    detector: Mapped[str]
    params: Mapped[dict[str, Any]]
    shots: Mapped[list[Any]]
    n_shots: Mapped[int]
    likeness: Mapped[bytes | None]
    created_ms: Mapped[int]


class TimelineRow(Base):
    """What thresholds make of a segmentation. `rules` holds every value, also of the rules that passed."""

    __tablename__ = "timeline"
    __table_args__ = rules(
        UniqueConstraint("segmentation_id", "config_sha256"),
        Index(
            "uq_timeline_current",
            "video_id",
            unique=True,
            sqlite_where=text("current = 1"),
            postgresql_where=text("current = 1"),
        ),
        Index(None, "video_id"),
    )
    id: Mapped[int] = key()
    segmentation_id: Mapped[int] = to("segmentation")
    video_id: Mapped[int] = to("video")
    config_sha256: Mapped[str]
    params: Mapped[dict[str, Any]]
    sha256: Mapped[str]
    shots: Mapped[list[Any]]
    clips: Mapped[list[Any]]
    n_shots: Mapped[int]
    n_clips: Mapped[int]
    n_groups: Mapped[int]
    rules: Mapped[list[Any]]
    left_out_by: Mapped[str | None]
    left_out_value: Mapped[float | None]
    left_out_limit: Mapped[float | None]
    likeness: Mapped[bytes | None]
    current: Mapped[bool]
    created_ms: Mapped[int]


class PlanRow(Base):
    __tablename__ = "plan"
    __table_args__ = rules(
        CheckConstraint("magnitude >= 2", name="magnitude"),
        Index(
            "uq_plan_order",
            "timeline_id",
            "clip_order",
            unique=True,
            sqlite_where=text("law = 'tempo'"),
            postgresql_where=text("law = 'tempo'"),
        ),
        Index(
            "uq_plan_draw",
            "timeline_id",
            "law",
            "kind",
            "magnitude",
            "seed",
            unique=True,
            sqlite_where=text("law <> 'tempo'"),
            postgresql_where=text("law <> 'tempo'"),
        ),
        Index(None, "video_id"),
    )
    id: Mapped[int] = key()
    sha256: Mapped[str] = mapped_column(unique=True)
    video_id: Mapped[int] = to("video")
    timeline_id: Mapped[int] = to("timeline")
    kind: Mapped[str]
    magnitude: Mapped[int]
    seed: Mapped[int]
    law: Mapped[str]
    attempt: Mapped[int]
    aliases: Mapped[list[Any]]
    clip_order: Mapped[list[Any]]
    difficulty: Mapped[float]
    measures: Mapped[dict[str, Any]]
    created_ms: Mapped[int]


class ArtifactRow(Base):
    """A file we made (proxy, sprite, clip, export, adapter, log), below TEMPO_HOME."""

    __tablename__ = "artifact"
    id: Mapped[int] = key()
    kind: Mapped[str]
    sha256: Mapped[str] = mapped_column(index=True)
    rel_path: Mapped[str] = mapped_column(unique=True)
    size_bytes: Mapped[int]
    video_id: Mapped[int | None] = to("video")
    plan_id: Mapped[int | None] = to("plan")
    run_id: Mapped[int | None] = to("run")
    dataset_version_id: Mapped[int | None] = to("dataset_version")
    job_id: Mapped[int | None] = to("job")
    created_ms: Mapped[int]


# ---- what models said -----------------------------------------------------------------------------------------------
class ModelRow(Base):
    __tablename__ = "model"
    __table_args__ = rules(hash_of("files_sha256"))
    id: Mapped[int] = key()
    name: Mapped[str]
    path: Mapped[str]
    family: Mapped[str]
    files_sha256: Mapped[str] = mapped_column(unique=True)
    created_ms: Mapped[int]


class PromptRow(Base):
    __tablename__ = "prompt"
    id: Mapped[int] = key()
    sha256: Mapped[str] = mapped_column(unique=True)
    template: Mapped[str]
    text: Mapped[str]


class SamplingRow(Base):
    __tablename__ = "sampling"
    id: Mapped[int] = key()
    sha256: Mapped[str] = mapped_column(unique=True)
    settings: Mapped[dict[str, Any]]


class CaptionRow(Base):
    __tablename__ = "caption"
    __table_args__ = rules(
        UniqueConstraint("timeline_id", "model_id", "prompt_id", "sampling_id", "seed", "clip_idx", name="recipe"),
        one_of("finish", "stop", "length", "error"),
    )
    id: Mapped[int] = key()
    timeline_id: Mapped[int] = to("timeline")
    clip_idx: Mapped[int]
    model_id: Mapped[int] = to("model")
    prompt_id: Mapped[int] = to("prompt")
    sampling_id: Mapped[int] = to("sampling")
    seed: Mapped[int]
    text: Mapped[str]
    n_tokens: Mapped[int]
    finish: Mapped[str]
    job_id: Mapped[int | None] = to("job")
    created_ms: Mapped[int]


class ResponseRow(Base):
    """One answer with its whole recipe; `plan_id` NULL is the clean order. Unique by recipe (an extra)."""

    __tablename__ = "response"
    __table_args__ = rules(one_of("finish", "stop", "length", "error"), Index(None, "plan_id"))
    id: Mapped[int] = key()
    video_id: Mapped[int] = to("video")
    timeline_id: Mapped[int | None] = to("timeline")
    plan_id: Mapped[int | None] = to("plan")
    model_id: Mapped[int] = to("model")
    prompt_id: Mapped[int] = to("prompt")
    sampling_id: Mapped[int] = to("sampling")
    seed: Mapped[int]
    text: Mapped[str]
    n_tokens: Mapped[int]
    finish: Mapped[str]
    log_prob: Mapped[float | None]
    job_id: Mapped[int | None] = to("job")
    created_ms: Mapped[int]


# ---- pairs and reviews ----------------------------------------------------------------------------------------------
class PairRow(Base):
    """`filtered` pairs were refused by a rule and are never queued. Texts are copies, for search.

    `model_id` (which model gave the chosen response), `input` (what it was asked on) and `length_ratio` (characters of
    the longer response over those of the shorter, 1 or more) are known from the responses; they are here to find by.
    Only the status, the version and the claim of a pair ever change, and the status only with a review.
    """

    __tablename__ = "pair"
    __table_args__ = rules(
        one_of("status", "pending", "accepted", "rejected", "flagged", "filtered"),
        CheckConstraint("chosen_id <> rejected_id", name="two_responses"),
        CheckConstraint("version >= 1", name="version"),
        # By itself, so that a page by id needs no sort: SQLite ends every index with the row id.
        Index("ix_pair_page", "status"),
        Index("ix_pair_counts", "status", "kind", "magnitude"),
        Index("ix_pair_claim", "status", "claim_until_ms", "id"),
        Index("ix_pair_hist", "kind", "difficulty", "magnitude", "n_clips", "status"),
        # All that pairs are found by, so that reading it (`pair_columns`) reads no texts.
        Index(
            "ix_pair_columns",
            "id",
            "status",
            "kind",
            "magnitude",
            "model_id",
            "input",
            "difficulty",
            "length_ratio",
            "video_id",
        ),
        Index(
            "ix_pair_mine",
            "claimed_by",
            "id",
            sqlite_where=text("claimed_by IS NOT NULL"),
            postgresql_where=text("claimed_by IS NOT NULL"),
        ),
        Index(None, "video_id"),
        Index(None, "plan_id"),
    )
    id: Mapped[int] = key()
    uid: Mapped[str] = mapped_column(unique=True)
    video_id: Mapped[int] = to("video")
    plan_id: Mapped[int | None] = to("plan")
    chosen_id: Mapped[int] = to("response")
    rejected_id: Mapped[int] = to("response")
    prompt_id: Mapped[int] = to("prompt")
    kind: Mapped[str]
    magnitude: Mapped[int | None]
    difficulty: Mapped[float | None]
    n_clips: Mapped[int | None]
    prompt: Mapped[str]
    chosen: Mapped[str]
    rejected: Mapped[str]
    status: Mapped[str]
    version: Mapped[int] = mapped_column(default=1)
    claimed_by: Mapped[int | None] = to("app_user")
    claim_until_ms: Mapped[int] = mapped_column(default=0)
    job_id: Mapped[int | None] = to("job")
    created_ms: Mapped[int]
    model_id: Mapped[int | None]
    input: Mapped[str | None]
    length_ratio: Mapped[float | None]


class FilterResultRow(Base):
    __tablename__ = "filter_result"
    __table_args__ = rules(Index(None, "name", "passed"), rowid=False)
    pair_id: Mapped[int] = to("pair", primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    passed: Mapped[bool]
    value: Mapped[float | None]
    rule: Mapped[str]


class ReviewRow(Base):
    """Append-only: triggers refuse UPDATE, DELETE and INSERT OR REPLACE. `verdict` is the status it leads to."""

    __tablename__ = "review"
    __table_args__ = rules(
        one_of("verdict", "accepted", "rejected", "flagged", "pending"),
        UniqueConstraint("pair_id", "pair_version"),
        Index(None, "reviewer_id", "created_ms"),
        Index(None, "bulk"),
    )
    id: Mapped[int] = key()
    pair_id: Mapped[int] = to("pair")
    pair_version: Mapped[int]
    reviewer_id: Mapped[int] = to("app_user")
    act: Mapped[str]
    verdict: Mapped[str]
    of_id: Mapped[int | None] = to("review")
    reason: Mapped[str | None]
    swapped: Mapped[bool] = mapped_column(default=False)
    edited_chosen: Mapped[str | None]
    edited_rejected: Mapped[str | None]
    note: Mapped[str | None]
    dwell_ms: Mapped[int | None]
    token: Mapped[str] = mapped_column(unique=True)
    bulk: Mapped[str | None]
    created_ms: Mapped[int]
    guideline_sha256: Mapped[str | None]


class CommentRow(Base):
    """Append-only, as reviews are."""

    __tablename__ = "comment"
    id: Mapped[int] = key()
    pair_id: Mapped[int] = mapped_column(ForeignKey("pair.id", ondelete="RESTRICT"), index=True)
    author_id: Mapped[int] = to("app_user")
    text: Mapped[str]
    token: Mapped[str] = mapped_column(unique=True)
    created_ms: Mapped[int]


class GuidelineRow(Base):
    """What reviewers are asked to do. A changed text is a new row; reviews name the one they followed by its hash."""

    __tablename__ = "guideline"
    id: Mapped[int] = key()
    sha256: Mapped[str] = mapped_column(unique=True)
    text: Mapped[str]
    created_by: Mapped[int] = to("app_user")
    created_ms: Mapped[int]


# ---- opinions: judgements of pairs that do not change them ----------------------------------------------------------
class CampaignRow(Base):
    """Who is asked about which pairs: a blind second review, or samples of strata."""

    __tablename__ = "campaign"
    __table_args__ = rules(one_of("kind", "second", "sample"))
    id: Mapped[int] = key()
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    settings: Mapped[dict[str, Any]]
    seed: Mapped[int]
    created_by: Mapped[int] = to("app_user")
    created_ms: Mapped[int]
    closed_ms: Mapped[int | None]


class StratumRow(Base):
    """Pairs that are judged by a sample: `n_sample` are read, and more than `max_bad` of those refuse them all.

    `bulk` is the token of the decision that followed, `bound` the share of bad pairs that it states.
    """

    __tablename__ = "stratum"
    __table_args__ = rules(Index(None, "campaign_id"))
    id: Mapped[int] = key()
    campaign_id: Mapped[int] = to("campaign")
    kind: Mapped[str]
    level: Mapped[int | None]
    model_id: Mapped[int] = to("model")
    n_pairs: Mapped[int]
    n_sample: Mapped[int]
    max_bad: Mapped[int]
    tolerated: Mapped[float]
    confidence: Mapped[float]
    bulk: Mapped[str | None]
    bound: Mapped[float | None]


class CampaignPairRow(Base):
    """A pair of a campaign, in drawn order. Of a stratum all pairs are listed; the `drawn` ones are the sample."""

    __tablename__ = "campaign_pair"
    __table_args__ = rules(
        Index(None, "campaign_id", "drawn", "ordinal"),
        Index(None, "stratum_id", "ordinal"),
        Index(None, "pair_id"),
        rowid=False,
    )
    campaign_id: Mapped[int] = to("campaign", primary_key=True)
    pair_id: Mapped[int] = to("pair", primary_key=True)
    stratum_id: Mapped[int | None] = to("stratum")
    ordinal: Mapped[int]
    drawn: Mapped[bool]
    claimed_by: Mapped[int | None] = to("app_user")
    claim_until_ms: Mapped[int] = mapped_column(default=0)


class OpinionRow(Base):
    """Append-only, as reviews are. The newest of a person about a pair in a campaign counts, unless it is undone."""

    __tablename__ = "opinion"
    __table_args__ = rules(
        one_of("verdict", "good", "bad", "unsure", "undone"),
        Index(None, "campaign_id", "pair_id"),
        Index(None, "pair_id"),
    )
    id: Mapped[int] = key()
    campaign_id: Mapped[int] = to("campaign")
    pair_id: Mapped[int] = to("pair")
    reviewer_id: Mapped[int] = to("app_user")
    act: Mapped[str]
    verdict: Mapped[str]
    left_is_chosen: Mapped[bool | None]
    of_id: Mapped[int | None] = to("opinion")
    reason: Mapped[str | None]
    note: Mapped[str | None]
    dwell_ms: Mapped[int | None]
    token: Mapped[str] = mapped_column(unique=True)
    guideline_sha256: Mapped[str | None]
    created_ms: Mapped[int]


# ---- what a group agrees on -----------------------------------------------------------------------------------------
class SettingRow(Base):
    """A setting of the whole studio, such as the reasons for a rejection; what is one person's is in `app_user`."""

    __tablename__ = "setting"
    __table_args__ = rules(rowid=False)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[list[Any]]
    changed_by: Mapped[int] = to("app_user")
    changed_ms: Mapped[int]


class SavedViewRow(Base):
    """A filter under a name: `query` is what the address of the page holds."""

    __tablename__ = "saved_view"
    __table_args__ = rules(UniqueConstraint("page", "name"))
    id: Mapped[int] = key()
    page: Mapped[str]
    name: Mapped[str]
    query: Mapped[dict[str, Any]]
    created_by: Mapped[int] = to("app_user")
    created_ms: Mapped[int]


# ---- pairs from elsewhere -------------------------------------------------------------------------------------------
class ImportRow(Base):
    """A file of pairs that came from another tool: `n_read` records are `n_imported` and the `skipped` with reasons."""

    __tablename__ = "import"
    __table_args__ = rules(hash_of("file_sha256"))
    id: Mapped[int] = key()
    format: Mapped[str]
    name: Mapped[str]
    file_sha256: Mapped[str]
    n_read: Mapped[int]
    n_imported: Mapped[int]
    skipped: Mapped[list[Any]]
    created_by: Mapped[int] = to("app_user")
    created_ms: Mapped[int]


class PairOriginRow(Base):
    """Where an imported pair stood. `origin` keeps what the file says besides, such as foreign scores; unused by us."""

    __tablename__ = "pair_origin"
    __table_args__ = rules(Index(None, "import_id"), rowid=False)
    pair_id: Mapped[int] = to("pair", primary_key=True)
    import_id: Mapped[int] = to("import")
    line: Mapped[int]
    origin: Mapped[dict[str, Any]]


# ---- data sets ------------------------------------------------------------------------------------------------------
class DatasetVersionRow(Base):
    """Immutable once `frozen_ms` is set (triggers), its items too."""

    __tablename__ = "dataset_version"
    __table_args__ = rules(UniqueConstraint("name", "number"))
    id: Mapped[int] = key()
    name: Mapped[str]
    number: Mapped[int]
    criteria: Mapped[dict[str, Any]]
    content_sha256: Mapped[str | None]
    n_pairs: Mapped[int]
    n_held_out: Mapped[int]
    seed: Mapped[int]
    created_by: Mapped[int] = to("app_user")
    frozen_ms: Mapped[int | None]


class DatasetItemRow(Base):
    __tablename__ = "dataset_item"
    __table_args__ = rules(
        UniqueConstraint("dataset_version_id", "pair_id"),
        one_of("split", "train", "held_out"),
        CheckConstraint("level BETWEEN 1 AND 4", name="level"),
        rowid=False,
    )
    dataset_version_id: Mapped[int] = to("dataset_version", primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    pair_id: Mapped[int] = to("pair")
    review_id: Mapped[int] = to("review")
    split: Mapped[str]
    magnitude: Mapped[int | None]
    difficulty: Mapped[float | None]
    level: Mapped[int | None]
    content_sha256: Mapped[str]


class SftSetRow(Base):
    __tablename__ = "sft_set"
    __table_args__ = rules(one_of("kind", "world", "jsonl"))
    id: Mapped[int] = key()
    name: Mapped[str]
    kind: Mapped[str]
    source: Mapped[str | None]
    content_sha256: Mapped[str] = mapped_column(unique=True)
    n_items: Mapped[int]
    created_by: Mapped[int] = to("app_user")
    created_ms: Mapped[int]


class SftItemRow(Base):
    __tablename__ = "sft_item"
    __table_args__ = rules(rowid=False)
    sft_set_id: Mapped[int] = to("sft_set", primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    example: Mapped[str]
    video_id: Mapped[int] = to("video")
    timeline_id: Mapped[int] = to("timeline")
    question: Mapped[str]
    answer: Mapped[str]


class CurriculumRow(Base):
    __tablename__ = "curriculum"
    __table_args__ = rules(one_of("axis", "measured", "paper"))
    id: Mapped[int] = key()
    sha256: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    axis: Mapped[str]
    thresholds: Mapped[list[Any]]
    pacing: Mapped[str]
    created_by: Mapped[int] = to("app_user")
    created_ms: Mapped[int]


# ---- runs -----------------------------------------------------------------------------------------------------------
class RunRow(Base):
    __tablename__ = "run"
    __table_args__ = rules(
        one_of("state", "queued", "running", "succeeded", "failed", "cancelled"),
        CheckConstraint("recipe = 'sft' OR dataset_version_id IS NOT NULL", name="has_data"),
    )
    id: Mapped[int] = key()
    name: Mapped[str]
    recipe: Mapped[str]
    preset: Mapped[str]
    dataset_version_id: Mapped[int | None] = to("dataset_version")
    curriculum_id: Mapped[int | None] = to("curriculum")
    sft_set_id: Mapped[int | None] = to("sft_set")
    base_model_id: Mapped[int] = to("model")
    parent_run_id: Mapped[int | None] = to("run")
    config: Mapped[dict[str, Any]]
    config_sha256: Mapped[str]
    training_plan_sha256: Mapped[str | None]
    seed: Mapped[int]
    code_version: Mapped[str]
    env: Mapped[dict[str, Any]]
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id", ondelete="RESTRICT"), unique=True)
    state: Mapped[str]
    error_class: Mapped[str | None]
    error: Mapped[str | None]
    created_by: Mapped[int] = to("app_user")
    created_ms: Mapped[int]
    started_ms: Mapped[int | None]
    ended_ms: Mapped[int | None]


class PlannedPairRow(Base):
    __tablename__ = "planned_pair"
    __table_args__ = rules(Index(None, "run_id", "step"), rowid=False)
    run_id: Mapped[int] = to("run", primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    step: Mapped[int]
    stage: Mapped[int]
    pair_id: Mapped[int] = to("pair")
    level: Mapped[int | None]
    difficulty: Mapped[float | None]


class RunStageRow(Base):
    """One link of the adapter chain; `adapter` is its folder below TEMPO_HOME once it is done."""

    __tablename__ = "run_stage"
    __table_args__ = rules(one_of("state", "queued", "running", "succeeded", "skipped", "failed"), rowid=False)
    run_id: Mapped[int] = to("run", primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    phase: Mapped[str]
    name: Mapped[str]
    levels: Mapped[list[Any]]
    n_items: Mapped[int]
    first_step: Mapped[int | None]
    last_step: Mapped[int | None]
    state: Mapped[str]
    reason: Mapped[str | None]
    adapter: Mapped[str | None]
    manifest_sha256: Mapped[str | None]


class MetricRow(Base):
    __tablename__ = "metric"
    __table_args__ = rules(rowid=False)
    run_id: Mapped[int] = to("run", primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    value: Mapped[float | None]
    ts_ms: Mapped[int]


class CheckpointRow(Base):
    __tablename__ = "checkpoint"
    __table_args__ = rules(UniqueConstraint("run_id", "step"))
    id: Mapped[int] = key()
    run_id: Mapped[int] = to("run")
    stage: Mapped[int]
    step: Mapped[int]
    attempt: Mapped[int]
    rel_path: Mapped[str]
    manifest_sha256: Mapped[str]
    complete: Mapped[bool]
    created_ms: Mapped[int]


class PairScoreRow(Base):
    """How a model ranks one pair: `moment` is "before", "final" or a stage's name."""

    __tablename__ = "pair_score"
    __table_args__ = rules(Index(None, "run_id", "moment", "margin"), rowid=False)
    run_id: Mapped[int] = to("run", primary_key=True)
    moment: Mapped[str] = mapped_column(primary_key=True)
    pair_id: Mapped[int] = to("pair", primary_key=True)
    margin: Mapped[float | None]
    chosen_log_prob: Mapped[float | None]
    rejected_log_prob: Mapped[float | None]


class RunNoteRow(Base):
    """What a person should know of a run. Each text once, so that a resumed attempt does not say it again."""

    __tablename__ = "run_note"
    __table_args__ = rules(UniqueConstraint("run_id", "kind", "text"))
    id: Mapped[int] = key()
    run_id: Mapped[int] = to("run")
    attempt: Mapped[int]
    kind: Mapped[str]
    text: Mapped[str]
    created_ms: Mapped[int]


class RunLeftOutRow(Base):
    """A pair of the data that a run does not train on, and how long it is."""

    __tablename__ = "run_left_out"
    __table_args__ = rules(rowid=False)
    run_id: Mapped[int] = to("run", primary_key=True)
    pair_id: Mapped[int] = to("pair", primary_key=True)
    reason: Mapped[str]
    n_tokens: Mapped[int]


class RunSeenRow(Base):
    """Up to which end of a run a person knows of it; a resumed run ends again, later."""

    __tablename__ = "run_seen"
    __table_args__ = rules(rowid=False)
    run_id: Mapped[int] = to("run", primary_key=True)
    user_id: Mapped[int] = to("app_user", primary_key=True)
    ended_ms: Mapped[int]


class ExperimentRow(Base):
    """Runs that are compared: one plan, queued by one click. `settings` says which arms and seeds."""

    __tablename__ = "experiment"
    id: Mapped[int] = key()
    name: Mapped[str] = mapped_column(unique=True)
    settings: Mapped[dict[str, Any]]
    created_by: Mapped[int] = to("app_user")
    created_ms: Mapped[int]


class ExperimentRunRow(Base):
    """One run of an experiment: its arm (a recipe in an order, or a control) and its seed."""

    __tablename__ = "experiment_run"
    __table_args__ = rules(UniqueConstraint("experiment_id", "arm", "seed"), Index(None, "run_id"), rowid=False)
    experiment_id: Mapped[int] = to("experiment", primary_key=True)
    run_id: Mapped[int] = to("run", primary_key=True)
    arm: Mapped[str]
    seed: Mapped[int]


class EvaluationRow(Base):
    """One benchmark figure; `run_id` NULL is the base model. Unique by what was measured (an extra)."""

    __tablename__ = "evaluation"
    id: Mapped[int] = key()
    run_id: Mapped[int | None] = to("run")
    model_id: Mapped[int] = to("model")
    moment: Mapped[str]
    benchmark: Mapped[str]
    split: Mapped[str]
    metric: Mapped[str]
    value: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    n: Mapped[int]
    n_groups: Mapped[int]
    n_unparsed: Mapped[int]
    chance: Mapped[float | None]
    settings: Mapped[dict[str, Any]]
    settings_sha256: Mapped[str]
    job_id: Mapped[int | None] = to("job")
    created_ms: Mapped[int]


class EvaluationItemRow(Base):
    __tablename__ = "evaluation_item"
    __table_args__ = rules(rowid=False)
    evaluation_id: Mapped[int] = to("evaluation", primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    group_key: Mapped[str]
    correct: Mapped[float | None]
    response: Mapped[str]


# ---- jobs -----------------------------------------------------------------------------------------------------------
class JobRow(Base):
    __tablename__ = "job"
    __table_args__ = rules(
        one_of("state", "queued", "running", "succeeded", "failed", "cancelled"),
        Index(
            "uq_job_one_per_resource",
            "resource",
            unique=True,
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
        Index(None, "state", "needs", "priority", "id"),
    )
    id: Mapped[int] = key()
    kind: Mapped[str]
    payload: Mapped[dict[str, Any]]
    needs: Mapped[str]
    resource: Mapped[str | None]
    priority: Mapped[int] = mapped_column(default=0)
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(default="queued")
    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int] = mapped_column(default=3)
    token: Mapped[str | None]
    lease_until_ms: Mapped[int] = mapped_column(default=0)
    progress: Mapped[float] = mapped_column(default=0.0)
    progress_ms: Mapped[int | None]
    progress_text: Mapped[str | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    pid: Mapped[int | None]
    pid_started: Mapped[int | None]
    host: Mapped[str | None]
    boot_id: Mapped[str | None]
    launcher: Mapped[str] = mapped_column(default="local")
    handle: Mapped[str | None]
    error_class: Mapped[str | None]
    error: Mapped[str | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(Json())
    created_by: Mapped[int] = to("app_user")
    created_ms: Mapped[int]
    started_ms: Mapped[int | None]
    ended_ms: Mapped[int | None]


class JobAttemptRow(Base):
    __tablename__ = "job_attempt"
    __table_args__ = rules(rowid=False)
    job_id: Mapped[int] = to("job", primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    started_ms: Mapped[int]
    ended_ms: Mapped[int | None]
    exit_code: Mapped[int | None]
    error_class: Mapped[str | None]
    resumed_from_step: Mapped[int | None]
    micro_batch: Mapped[int | None]
    log_path: Mapped[str | None]


class WorkerRow(Base):
    __tablename__ = "worker"
    id: Mapped[int] = key()
    host: Mapped[str]
    boot_id: Mapped[str]
    pid: Mapped[int]
    pid_started: Mapped[int]
    lease_until_ms: Mapped[int]
    version: Mapped[str]
