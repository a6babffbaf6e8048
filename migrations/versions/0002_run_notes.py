"""What a run's card tells: notes, pairs left out, who knows of its end; and indexes for its pairs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "run_note",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("run_id", WHOLE, nullable=False),
        sa.Column("attempt", WHOLE, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_note_run_id_run"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_note")),
        sa.UniqueConstraint("run_id", "kind", "text", name=op.f("uq_run_note_run_id_kind_text")),
        sqlite_strict=True,
    )
    op.create_table(
        "run_left_out",
        sa.Column("run_id", WHOLE, nullable=False),
        sa.Column("pair_id", WHOLE, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("n_tokens", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(
            ["pair_id"], ["pair.id"], name=op.f("fk_run_left_out_pair_id_pair"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_left_out_run_id_run"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("run_id", "pair_id", name=op.f("pk_run_left_out")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_seen",
        sa.Column("run_id", WHOLE, nullable=False),
        sa.Column("user_id", WHOLE, nullable=False),
        sa.Column("ended_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_seen_run_id_run"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["app_user.id"], name=op.f("fk_run_seen_user_id_app_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("run_id", "user_id", name=op.f("pk_run_seen")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_planned_pair_run_id_step"), "planned_pair", ["run_id", "step"])
    op.create_index(op.f("ix_pair_score_run_id_moment_margin"), "pair_score", ["run_id", "moment", "margin"])
    # Runs that ended before there were notices are old news to everybody.
    op.execute(
        "INSERT INTO run_seen (run_id, user_id, ended_ms) "
        "SELECT run.id, app_user.id, run.ended_ms FROM run CROSS JOIN app_user WHERE run.ended_ms IS NOT NULL"
    )
