"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "app_user",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.Column("preferences", sa.Text(), nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.CheckConstraint("role IN ('viewer', 'reviewer', 'admin')", name=op.f("ck_app_user_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_user")),
        sa.UniqueConstraint("subject", name=op.f("uq_app_user_subject")),
        sqlite_strict=True,
    )
    op.create_table(
        "library",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_library")),
        sa.UniqueConstraint("root", name=op.f("uq_library_root")),
        sqlite_strict=True,
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "model",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("files_sha256", sa.Text(), nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.CheckConstraint("length(files_sha256) = 64", name=op.f("ck_model_files_sha256_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
        sa.UniqueConstraint("files_sha256", name=op.f("uq_model_files_sha256")),
        sqlite_strict=True,
    )
    op.create_table(
        "prompt",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompt")),
        sa.UniqueConstraint("sha256", name=op.f("uq_prompt_sha256")),
        sqlite_strict=True,
    )
    op.create_table(
        "sampling",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sampling")),
        sa.UniqueConstraint("sha256", name=op.f("uq_sampling_sha256")),
        sqlite_strict=True,
    )
    op.create_table(
        "video",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size_bytes", WHOLE, nullable=True),
        sa.Column("duration_s", REAL, nullable=True),
        sa.Column("n_frames", WHOLE, nullable=True),
        sa.Column("fps_num", WHOLE, nullable=True),
        sa.Column("fps_den", WHOLE, nullable=True),
        sa.Column("width", WHOLE, nullable=True),
        sa.Column("height", WHOLE, nullable=True),
        sa.Column("times_sha256", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("probe", sa.Text(), nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.CheckConstraint(
            "status <> 'ok' OR (sha256 IS NOT NULL AND n_frames > 0 AND fps_den > 0)", name=op.f("ck_video_ok_is_whole")
        ),
        sa.CheckConstraint("status IN ('ok', 'corrupt', 'missing', 'quarantine')", name=op.f("ck_video_status")),
        sa.CheckConstraint("length(sha256) = 64", name=op.f("ck_video_sha256_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_video")),
        sa.UniqueConstraint("sha256", name=op.f("uq_video_sha256")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("video", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_video_status_id"), ["status", "id"], unique=False)

    op.create_table(
        "worker",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("pid", WHOLE, nullable=False),
        sa.Column("pid_started", WHOLE, nullable=False),
        sa.Column("lease_until_ms", WHOLE, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
        sqlite_strict=True,
    )
    op.create_table(
        "curriculum",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("axis", sa.Text(), nullable=False),
        sa.Column("thresholds", sa.Text(), nullable=False),
        sa.Column("pacing", sa.Text(), nullable=False),
        sa.Column("created_by", WHOLE, nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.CheckConstraint("axis IN ('measured', 'paper')", name=op.f("ck_curriculum_axis")),
        sa.ForeignKeyConstraint(
            ["created_by"], ["app_user.id"], name=op.f("fk_curriculum_created_by_app_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_curriculum")),
        sa.UniqueConstraint("sha256", name=op.f("uq_curriculum_sha256")),
        sqlite_strict=True,
    )
    op.create_table(
        "dataset_version",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", WHOLE, nullable=False),
        sa.Column("criteria", sa.Text(), nullable=False),
        sa.Column("content_sha256", sa.Text(), nullable=True),
        sa.Column("n_pairs", WHOLE, nullable=False),
        sa.Column("n_held_out", WHOLE, nullable=False),
        sa.Column("seed", WHOLE, nullable=False),
        sa.Column("created_by", WHOLE, nullable=False),
        sa.Column("frozen_ms", WHOLE, nullable=True),
        sa.ForeignKeyConstraint(
            ["created_by"], ["app_user.id"], name=op.f("fk_dataset_version_created_by_app_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_version")),
        sa.UniqueConstraint("name", "number", name=op.f("uq_dataset_version_name_number")),
        sqlite_strict=True,
    )
    op.create_table(
        "job",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("needs", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=True),
        sa.Column("priority", WHOLE, nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", WHOLE, nullable=False),
        sa.Column("max_attempts", WHOLE, nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("lease_until_ms", WHOLE, nullable=False),
        sa.Column("progress", REAL, nullable=False),
        sa.Column("progress_ms", WHOLE, nullable=True),
        sa.Column("progress_text", sa.Text(), nullable=True),
        sa.Column("cancel_requested", sa.Integer(), nullable=False),
        sa.Column("pid", WHOLE, nullable=True),
        sa.Column("pid_started", WHOLE, nullable=True),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("boot_id", sa.Text(), nullable=True),
        sa.Column("launcher", sa.Text(), nullable=False),
        sa.Column("handle", sa.Text(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("created_by", WHOLE, nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.Column("started_ms", WHOLE, nullable=True),
        sa.Column("ended_ms", WHOLE, nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name=op.f("ck_job_state")
        ),
        sa.ForeignKeyConstraint(
            ["created_by"], ["app_user.id"], name=op.f("fk_job_created_by_app_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_job_idempotency_key")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_job_state_needs_priority_id"), ["state", "needs", "priority", "id"], unique=False
        )
        batch_op.create_index(
            "uq_job_one_per_resource",
            ["resource"],
            unique=True,
            sqlite_where=sa.text("state = 'running'"),
            postgresql_where=sa.text("state = 'running'"),
        )

    op.create_table(
        "location",
        sa.Column("library_id", WHOLE, nullable=False),
        sa.Column("rel_path", sa.Text(), nullable=False),
        sa.Column("video_id", WHOLE, nullable=False),
        sa.Column("seen_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(
            ["library_id"], ["library.id"], name=op.f("fk_location_library_id_library"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["video_id"], ["video.id"], name=op.f("fk_location_video_id_video"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("library_id", "rel_path", name=op.f("pk_location")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("location", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_location_video_id"), ["video_id"], unique=False)

    op.create_table(
        "segmentation",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("video_id", WHOLE, nullable=False),
        sa.Column("config_sha256", sa.Text(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("shots", sa.Text(), nullable=False),
        sa.Column("n_shots", WHOLE, nullable=False),
        sa.Column("likeness", sa.LargeBinary(), nullable=True),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(
            ["video_id"], ["video.id"], name=op.f("fk_segmentation_video_id_video"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segmentation")),
        sa.UniqueConstraint("video_id", "config_sha256", name=op.f("uq_segmentation_video_id_config_sha256")),
        sqlite_strict=True,
    )
    op.create_table(
        "sft_set",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("content_sha256", sa.Text(), nullable=False),
        sa.Column("n_items", WHOLE, nullable=False),
        sa.Column("created_by", WHOLE, nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.CheckConstraint("kind IN ('world', 'jsonl')", name=op.f("ck_sft_set_kind")),
        sa.ForeignKeyConstraint(
            ["created_by"], ["app_user.id"], name=op.f("fk_sft_set_created_by_app_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sft_set")),
        sa.UniqueConstraint("content_sha256", name=op.f("uq_sft_set_content_sha256")),
        sqlite_strict=True,
    )
    op.create_table(
        "job_attempt",
        sa.Column("job_id", WHOLE, nullable=False),
        sa.Column("attempt", WHOLE, nullable=False),
        sa.Column("started_ms", WHOLE, nullable=False),
        sa.Column("ended_ms", WHOLE, nullable=True),
        sa.Column("exit_code", WHOLE, nullable=True),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("resumed_from_step", WHOLE, nullable=True),
        sa.Column("micro_batch", WHOLE, nullable=True),
        sa.Column("log_path", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_attempt_job_id_job"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("job_id", "attempt", name=op.f("pk_job_attempt")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("preset", sa.Text(), nullable=False),
        sa.Column("dataset_version_id", WHOLE, nullable=True),
        sa.Column("curriculum_id", WHOLE, nullable=True),
        sa.Column("sft_set_id", WHOLE, nullable=True),
        sa.Column("base_model_id", WHOLE, nullable=False),
        sa.Column("parent_run_id", WHOLE, nullable=True),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("config_sha256", sa.Text(), nullable=False),
        sa.Column("training_plan_sha256", sa.Text(), nullable=True),
        sa.Column("seed", WHOLE, nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("env", sa.Text(), nullable=False),
        sa.Column("job_id", WHOLE, nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_by", WHOLE, nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.Column("started_ms", WHOLE, nullable=True),
        sa.Column("ended_ms", WHOLE, nullable=True),
        sa.CheckConstraint("recipe = 'sft' OR dataset_version_id IS NOT NULL", name=op.f("ck_run_has_data")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name=op.f("ck_run_state")
        ),
        sa.ForeignKeyConstraint(
            ["base_model_id"], ["model.id"], name=op.f("fk_run_base_model_id_model"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["created_by"], ["app_user.id"], name=op.f("fk_run_created_by_app_user"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["curriculum_id"], ["curriculum.id"], name=op.f("fk_run_curriculum_id_curriculum"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["dataset_version_id"],
            ["dataset_version.id"],
            name=op.f("fk_run_dataset_version_id_dataset_version"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_run_job_id_job"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["parent_run_id"], ["run.id"], name=op.f("fk_run_parent_run_id_run"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["sft_set_id"], ["sft_set.id"], name=op.f("fk_run_sft_set_id_sft_set"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("job_id", name=op.f("uq_run_job_id")),
        sqlite_strict=True,
    )
    op.create_table(
        "timeline",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("segmentation_id", WHOLE, nullable=False),
        sa.Column("video_id", WHOLE, nullable=False),
        sa.Column("config_sha256", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("shots", sa.Text(), nullable=False),
        sa.Column("clips", sa.Text(), nullable=False),
        sa.Column("n_shots", WHOLE, nullable=False),
        sa.Column("n_clips", WHOLE, nullable=False),
        sa.Column("n_groups", WHOLE, nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("left_out_by", sa.Text(), nullable=True),
        sa.Column("left_out_value", REAL, nullable=True),
        sa.Column("left_out_limit", REAL, nullable=True),
        sa.Column("likeness", sa.LargeBinary(), nullable=True),
        sa.Column("current", sa.Integer(), nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(
            ["segmentation_id"],
            ["segmentation.id"],
            name=op.f("fk_timeline_segmentation_id_segmentation"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["video_id"], ["video.id"], name=op.f("fk_timeline_video_id_video"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_timeline")),
        sa.UniqueConstraint("segmentation_id", "config_sha256", name=op.f("uq_timeline_segmentation_id_config_sha256")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("timeline", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_timeline_video_id"), ["video_id"], unique=False)
        batch_op.create_index(
            "uq_timeline_current",
            ["video_id"],
            unique=True,
            sqlite_where=sa.text("current = 1"),
            postgresql_where=sa.text("current = 1"),
        )

    op.create_table(
        "caption",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("timeline_id", WHOLE, nullable=False),
        sa.Column("clip_idx", WHOLE, nullable=False),
        sa.Column("model_id", WHOLE, nullable=False),
        sa.Column("prompt_id", WHOLE, nullable=False),
        sa.Column("sampling_id", WHOLE, nullable=False),
        sa.Column("seed", WHOLE, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("n_tokens", WHOLE, nullable=False),
        sa.Column("finish", sa.Text(), nullable=False),
        sa.Column("job_id", WHOLE, nullable=True),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.CheckConstraint("finish IN ('stop', 'length', 'error')", name=op.f("ck_caption_finish")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_caption_job_id_job"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model.id"], name=op.f("fk_caption_model_id_model"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompt.id"], name=op.f("fk_caption_prompt_id_prompt"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["sampling_id"], ["sampling.id"], name=op.f("fk_caption_sampling_id_sampling"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["timeline_id"], ["timeline.id"], name=op.f("fk_caption_timeline_id_timeline"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_caption")),
        sa.UniqueConstraint("timeline_id", "model_id", "prompt_id", "sampling_id", "seed", "clip_idx", name="recipe"),
        sqlite_strict=True,
    )
    op.create_table(
        "checkpoint",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("run_id", WHOLE, nullable=False),
        sa.Column("stage", WHOLE, nullable=False),
        sa.Column("step", WHOLE, nullable=False),
        sa.Column("attempt", WHOLE, nullable=False),
        sa.Column("rel_path", sa.Text(), nullable=False),
        sa.Column("manifest_sha256", sa.Text(), nullable=False),
        sa.Column("complete", sa.Integer(), nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_checkpoint_run_id_run"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoint")),
        sa.UniqueConstraint("run_id", "step", name=op.f("uq_checkpoint_run_id_step")),
        sqlite_strict=True,
    )
    op.create_table(
        "evaluation",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("run_id", WHOLE, nullable=True),
        sa.Column("model_id", WHOLE, nullable=False),
        sa.Column("moment", sa.Text(), nullable=False),
        sa.Column("benchmark", sa.Text(), nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("value", REAL, nullable=False),
        sa.Column("low", REAL, nullable=False),
        sa.Column("high", REAL, nullable=False),
        sa.Column("n", WHOLE, nullable=False),
        sa.Column("n_groups", WHOLE, nullable=False),
        sa.Column("n_unparsed", WHOLE, nullable=False),
        sa.Column("chance", REAL, nullable=True),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("settings_sha256", sa.Text(), nullable=False),
        sa.Column("job_id", WHOLE, nullable=True),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_evaluation_job_id_job"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model.id"], name=op.f("fk_evaluation_model_id_model"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_evaluation_run_id_run"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation")),
        sqlite_strict=True,
    )
    op.create_table(
        "metric",
        sa.Column("run_id", WHOLE, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("step", WHOLE, nullable=False),
        sa.Column("attempt", WHOLE, nullable=False),
        sa.Column("value", REAL, nullable=True),
        sa.Column("ts_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_metric_run_id_run"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("run_id", "key", "step", name=op.f("pk_metric")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "plan",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("video_id", WHOLE, nullable=False),
        sa.Column("timeline_id", WHOLE, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("magnitude", WHOLE, nullable=False),
        sa.Column("seed", WHOLE, nullable=False),
        sa.Column("law", sa.Text(), nullable=False),
        sa.Column("attempt", WHOLE, nullable=False),
        sa.Column("aliases", sa.Text(), nullable=False),
        sa.Column("clip_order", sa.Text(), nullable=False),
        sa.Column("difficulty", REAL, nullable=False),
        sa.Column("measures", sa.Text(), nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.CheckConstraint("magnitude >= 2", name=op.f("ck_plan_magnitude")),
        sa.ForeignKeyConstraint(
            ["timeline_id"], ["timeline.id"], name=op.f("fk_plan_timeline_id_timeline"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_plan_video_id_video"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan")),
        sa.UniqueConstraint("sha256", name=op.f("uq_plan_sha256")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("plan", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_plan_video_id"), ["video_id"], unique=False)
        batch_op.create_index(
            "uq_plan_draw",
            ["timeline_id", "law", "kind", "magnitude", "seed"],
            unique=True,
            sqlite_where=sa.text("law <> 'tempo'"),
            postgresql_where=sa.text("law <> 'tempo'"),
        )
        batch_op.create_index(
            "uq_plan_order",
            ["timeline_id", "clip_order"],
            unique=True,
            sqlite_where=sa.text("law = 'tempo'"),
            postgresql_where=sa.text("law = 'tempo'"),
        )

    op.create_table(
        "run_stage",
        sa.Column("run_id", WHOLE, nullable=False),
        sa.Column("ordinal", WHOLE, nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("levels", sa.Text(), nullable=False),
        sa.Column("n_items", WHOLE, nullable=False),
        sa.Column("first_step", WHOLE, nullable=True),
        sa.Column("last_step", WHOLE, nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("adapter", sa.Text(), nullable=True),
        sa.Column("manifest_sha256", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'skipped', 'failed')", name=op.f("ck_run_stage_state")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_stage_run_id_run"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("run_id", "ordinal", name=op.f("pk_run_stage")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sft_item",
        sa.Column("sft_set_id", WHOLE, nullable=False),
        sa.Column("ordinal", WHOLE, nullable=False),
        sa.Column("example", sa.Text(), nullable=False),
        sa.Column("video_id", WHOLE, nullable=False),
        sa.Column("timeline_id", WHOLE, nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sft_set_id"], ["sft_set.id"], name=op.f("fk_sft_item_sft_set_id_sft_set"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["timeline_id"], ["timeline.id"], name=op.f("fk_sft_item_timeline_id_timeline"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["video_id"], ["video.id"], name=op.f("fk_sft_item_video_id_video"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("sft_set_id", "ordinal", name=op.f("pk_sft_item")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "artifact",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("rel_path", sa.Text(), nullable=False),
        sa.Column("size_bytes", WHOLE, nullable=False),
        sa.Column("video_id", WHOLE, nullable=True),
        sa.Column("plan_id", WHOLE, nullable=True),
        sa.Column("run_id", WHOLE, nullable=True),
        sa.Column("dataset_version_id", WHOLE, nullable=True),
        sa.Column("job_id", WHOLE, nullable=True),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_version_id"],
            ["dataset_version.id"],
            name=op.f("fk_artifact_dataset_version_id_dataset_version"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_artifact_job_id_job"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["plan_id"], ["plan.id"], name=op.f("fk_artifact_plan_id_plan"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_artifact_run_id_run"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["video_id"], ["video.id"], name=op.f("fk_artifact_video_id_video"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifact")),
        sa.UniqueConstraint("rel_path", name=op.f("uq_artifact_rel_path")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("artifact", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_artifact_sha256"), ["sha256"], unique=False)

    op.create_table(
        "evaluation_item",
        sa.Column("evaluation_id", WHOLE, nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
        sa.Column("correct", REAL, nullable=True),
        sa.Column("response", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_evaluation_item_evaluation_id_evaluation"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "item", name=op.f("pk_evaluation_item")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "response",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("video_id", WHOLE, nullable=False),
        sa.Column("timeline_id", WHOLE, nullable=True),
        sa.Column("plan_id", WHOLE, nullable=True),
        sa.Column("model_id", WHOLE, nullable=False),
        sa.Column("prompt_id", WHOLE, nullable=False),
        sa.Column("sampling_id", WHOLE, nullable=False),
        sa.Column("seed", WHOLE, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("n_tokens", WHOLE, nullable=False),
        sa.Column("finish", sa.Text(), nullable=False),
        sa.Column("log_prob", REAL, nullable=True),
        sa.Column("job_id", WHOLE, nullable=True),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.CheckConstraint("finish IN ('stop', 'length', 'error')", name=op.f("ck_response_finish")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_response_job_id_job"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model.id"], name=op.f("fk_response_model_id_model"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["plan.id"], name=op.f("fk_response_plan_id_plan"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompt.id"], name=op.f("fk_response_prompt_id_prompt"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["sampling_id"], ["sampling.id"], name=op.f("fk_response_sampling_id_sampling"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["timeline_id"], ["timeline.id"], name=op.f("fk_response_timeline_id_timeline"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["video_id"], ["video.id"], name=op.f("fk_response_video_id_video"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_response")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("response", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_response_plan_id"), ["plan_id"], unique=False)

    op.create_table(
        "pair",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("video_id", WHOLE, nullable=False),
        sa.Column("plan_id", WHOLE, nullable=True),
        sa.Column("chosen_id", WHOLE, nullable=False),
        sa.Column("rejected_id", WHOLE, nullable=False),
        sa.Column("prompt_id", WHOLE, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("magnitude", WHOLE, nullable=True),
        sa.Column("difficulty", REAL, nullable=True),
        sa.Column("n_clips", WHOLE, nullable=True),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("chosen", sa.Text(), nullable=False),
        sa.Column("rejected", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", WHOLE, nullable=False),
        sa.Column("claimed_by", WHOLE, nullable=True),
        sa.Column("claim_until_ms", WHOLE, nullable=False),
        sa.Column("job_id", WHOLE, nullable=True),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'accepted', 'rejected', 'flagged', 'filtered')", name=op.f("ck_pair_status")
        ),
        sa.CheckConstraint("chosen_id <> rejected_id", name=op.f("ck_pair_two_responses")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_pair_version")),
        sa.ForeignKeyConstraint(
            ["chosen_id"], ["response.id"], name=op.f("fk_pair_chosen_id_response"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["claimed_by"], ["app_user.id"], name=op.f("fk_pair_claimed_by_app_user"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_pair_job_id_job"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["plan_id"], ["plan.id"], name=op.f("fk_pair_plan_id_plan"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompt.id"], name=op.f("fk_pair_prompt_id_prompt"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["rejected_id"], ["response.id"], name=op.f("fk_pair_rejected_id_response"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_pair_video_id_video"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pair")),
        sa.UniqueConstraint("uid", name=op.f("uq_pair_uid")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("pair", schema=None) as batch_op:
        batch_op.create_index("ix_pair_claim", ["status", "claim_until_ms", "id"], unique=False)
        batch_op.create_index("ix_pair_counts", ["status", "kind", "magnitude"], unique=False)
        batch_op.create_index("ix_pair_hist", ["kind", "difficulty", "magnitude", "n_clips", "status"], unique=False)
        batch_op.create_index(
            "ix_pair_mine",
            ["claimed_by", "id"],
            unique=False,
            sqlite_where=sa.text("claimed_by IS NOT NULL"),
            postgresql_where=sa.text("claimed_by IS NOT NULL"),
        )
        batch_op.create_index("ix_pair_page", ["status"], unique=False)
        batch_op.create_index(batch_op.f("ix_pair_plan_id"), ["plan_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_pair_video_id"), ["video_id"], unique=False)

    op.create_table(
        "comment",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("pair_id", WHOLE, nullable=False),
        sa.Column("author_id", WHOLE, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(
            ["author_id"], ["app_user.id"], name=op.f("fk_comment_author_id_app_user"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["pair_id"], ["pair.id"], name=op.f("fk_comment_pair_id_pair"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comment")),
        sa.UniqueConstraint("token", name=op.f("uq_comment_token")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("comment", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_comment_pair_id"), ["pair_id"], unique=False)

    op.create_table(
        "filter_result",
        sa.Column("pair_id", WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", WHOLE, nullable=False),
        sa.Column("passed", sa.Integer(), nullable=False),
        sa.Column("value", REAL, nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["pair_id"], ["pair.id"], name=op.f("fk_filter_result_pair_id_pair"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("pair_id", "name", "version", name=op.f("pk_filter_result")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("filter_result", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_filter_result_name_passed"), ["name", "passed"], unique=False)

    op.create_table(
        "pair_score",
        sa.Column("run_id", WHOLE, nullable=False),
        sa.Column("moment", sa.Text(), nullable=False),
        sa.Column("pair_id", WHOLE, nullable=False),
        sa.Column("margin", REAL, nullable=True),
        sa.Column("chosen_log_prob", REAL, nullable=True),
        sa.Column("rejected_log_prob", REAL, nullable=True),
        sa.ForeignKeyConstraint(["pair_id"], ["pair.id"], name=op.f("fk_pair_score_pair_id_pair"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_pair_score_run_id_run"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("run_id", "moment", "pair_id", name=op.f("pk_pair_score")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "planned_pair",
        sa.Column("run_id", WHOLE, nullable=False),
        sa.Column("ordinal", WHOLE, nullable=False),
        sa.Column("step", WHOLE, nullable=False),
        sa.Column("stage", WHOLE, nullable=False),
        sa.Column("pair_id", WHOLE, nullable=False),
        sa.Column("level", WHOLE, nullable=True),
        sa.Column("difficulty", REAL, nullable=True),
        sa.ForeignKeyConstraint(
            ["pair_id"], ["pair.id"], name=op.f("fk_planned_pair_pair_id_pair"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_planned_pair_run_id_run"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("run_id", "ordinal", name=op.f("pk_planned_pair")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "review",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("pair_id", WHOLE, nullable=False),
        sa.Column("pair_version", WHOLE, nullable=False),
        sa.Column("reviewer_id", WHOLE, nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("of_id", WHOLE, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("swapped", sa.Integer(), nullable=False),
        sa.Column("edited_chosen", sa.Text(), nullable=True),
        sa.Column("edited_rejected", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("dwell_ms", WHOLE, nullable=True),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("bulk", sa.Text(), nullable=True),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.CheckConstraint("verdict IN ('accepted', 'rejected', 'flagged', 'pending')", name=op.f("ck_review_verdict")),
        sa.ForeignKeyConstraint(["of_id"], ["review.id"], name=op.f("fk_review_of_id_review"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["pair_id"], ["pair.id"], name=op.f("fk_review_pair_id_pair"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["reviewer_id"], ["app_user.id"], name=op.f("fk_review_reviewer_id_app_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review")),
        sa.UniqueConstraint("pair_id", "pair_version", name=op.f("uq_review_pair_id_pair_version")),
        sa.UniqueConstraint("token", name=op.f("uq_review_token")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("review", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_review_bulk"), ["bulk"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_review_reviewer_id_created_ms"), ["reviewer_id", "created_ms"], unique=False
        )

    op.create_table(
        "dataset_item",
        sa.Column("dataset_version_id", WHOLE, nullable=False),
        sa.Column("ordinal", WHOLE, nullable=False),
        sa.Column("pair_id", WHOLE, nullable=False),
        sa.Column("review_id", WHOLE, nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.Column("magnitude", WHOLE, nullable=True),
        sa.Column("difficulty", REAL, nullable=True),
        sa.Column("level", WHOLE, nullable=True),
        sa.Column("content_sha256", sa.Text(), nullable=False),
        sa.CheckConstraint("split IN ('train', 'held_out')", name=op.f("ck_dataset_item_split")),
        sa.CheckConstraint("level BETWEEN 1 AND 4", name=op.f("ck_dataset_item_level")),
        sa.ForeignKeyConstraint(
            ["dataset_version_id"],
            ["dataset_version.id"],
            name=op.f("fk_dataset_item_dataset_version_id_dataset_version"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["pair_id"], ["pair.id"], name=op.f("fk_dataset_item_pair_id_pair"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["review_id"], ["review.id"], name=op.f("fk_dataset_item_review_id_review"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("dataset_version_id", "ordinal", name=op.f("pk_dataset_item")),
        sa.UniqueConstraint("dataset_version_id", "pair_id", name=op.f("uq_dataset_item_dataset_version_id_pair_id")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
