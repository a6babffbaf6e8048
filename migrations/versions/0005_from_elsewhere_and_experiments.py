"""Pairs from other tools with their origin, and runs that belong to one experiment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "import",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("file_sha256", sa.Text(), nullable=False),
        sa.Column("n_read", WHOLE, nullable=False),
        sa.Column("n_imported", WHOLE, nullable=False),
        sa.Column("skipped", sa.Text(), nullable=False),
        sa.Column("created_by", WHOLE, nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.CheckConstraint("length(file_sha256) = 64", name=op.f("ck_import_file_sha256_length")),
        sa.ForeignKeyConstraint(
            ["created_by"], ["app_user.id"], name=op.f("fk_import_created_by_app_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import")),
        sqlite_strict=True,
    )
    op.create_table(
        "pair_origin",
        sa.Column("pair_id", WHOLE, nullable=False),
        sa.Column("import_id", WHOLE, nullable=False),
        sa.Column("line", WHOLE, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"], ["import.id"], name=op.f("fk_pair_origin_import_id_import"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["pair_id"], ["pair.id"], name=op.f("fk_pair_origin_pair_id_pair"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("pair_id", name=op.f("pk_pair_origin")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_pair_origin_import_id"), "pair_origin", ["import_id"], unique=False)
    op.create_table(
        "experiment",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("created_by", WHOLE, nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by"], ["app_user.id"], name=op.f("fk_experiment_created_by_app_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiment")),
        sa.UniqueConstraint("name", name=op.f("uq_experiment_name")),
        sqlite_strict=True,
    )
    op.create_table(
        "experiment_run",
        sa.Column("experiment_id", WHOLE, nullable=False),
        sa.Column("run_id", WHOLE, nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("seed", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiment.id"],
            name=op.f("fk_experiment_run_experiment_id_experiment"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_experiment_run_run_id_run"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("experiment_id", "run_id", name=op.f("pk_experiment_run")),
        sa.UniqueConstraint("experiment_id", "arm", "seed", name=op.f("uq_experiment_run_experiment_id_arm_seed")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_experiment_run_run_id"), "experiment_run", ["run_id"], unique=False)
