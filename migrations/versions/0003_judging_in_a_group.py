"""Judging pairs in a group: guidelines, campaigns with their samples and opinions, settings, saved views."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "campaign",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("seed", WHOLE, nullable=False),
        sa.Column("created_by", WHOLE, nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.Column("closed_ms", WHOLE, nullable=True),
        sa.CheckConstraint("kind IN ('second', 'sample')", name=op.f("ck_campaign_kind")),
        sa.ForeignKeyConstraint(
            ["created_by"], ["app_user.id"], name=op.f("fk_campaign_created_by_app_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign")),
        sa.UniqueConstraint("name", name=op.f("uq_campaign_name")),
        sqlite_strict=True,
    )
    op.create_table(
        "guideline",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_by", WHOLE, nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by"], ["app_user.id"], name=op.f("fk_guideline_created_by_app_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guideline")),
        sa.UniqueConstraint("sha256", name=op.f("uq_guideline_sha256")),
        sqlite_strict=True,
    )
    op.create_table(
        "saved_view",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("page", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("created_by", WHOLE, nullable=False),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by"], ["app_user.id"], name=op.f("fk_saved_view_created_by_app_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_view")),
        sa.UniqueConstraint("page", "name", name=op.f("uq_saved_view_page_name")),
        sqlite_strict=True,
    )
    op.create_table(
        "setting",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("changed_by", WHOLE, nullable=False),
        sa.Column("changed_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(
            ["changed_by"], ["app_user.id"], name=op.f("fk_setting_changed_by_app_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_setting")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stratum",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("campaign_id", WHOLE, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("level", WHOLE, nullable=True),
        sa.Column("model_id", WHOLE, nullable=False),
        sa.Column("n_pairs", WHOLE, nullable=False),
        sa.Column("n_sample", WHOLE, nullable=False),
        sa.Column("max_bad", WHOLE, nullable=False),
        sa.Column("tolerated", REAL, nullable=False),
        sa.Column("confidence", REAL, nullable=False),
        sa.Column("bulk", sa.Text(), nullable=True),
        sa.Column("bound", REAL, nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_stratum_campaign_id_campaign"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model.id"], name=op.f("fk_stratum_model_id_model"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stratum")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_stratum_campaign_id"), "stratum", ["campaign_id"])
    op.create_table(
        "campaign_pair",
        sa.Column("campaign_id", WHOLE, nullable=False),
        sa.Column("pair_id", WHOLE, nullable=False),
        sa.Column("stratum_id", WHOLE, nullable=True),
        sa.Column("ordinal", WHOLE, nullable=False),
        sa.Column("drawn", sa.Integer(), nullable=False),
        sa.Column("claimed_by", WHOLE, nullable=True),
        sa.Column("claim_until_ms", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_campaign_pair_campaign_id_campaign"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["claimed_by"], ["app_user.id"], name=op.f("fk_campaign_pair_claimed_by_app_user"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["pair_id"], ["pair.id"], name=op.f("fk_campaign_pair_pair_id_pair"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["stratum_id"], ["stratum.id"], name=op.f("fk_campaign_pair_stratum_id_stratum"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("campaign_id", "pair_id", name=op.f("pk_campaign_pair")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_campaign_pair_campaign_id_drawn_ordinal"), "campaign_pair", ["campaign_id", "drawn", "ordinal"]
    )
    op.create_index(op.f("ix_campaign_pair_pair_id"), "campaign_pair", ["pair_id"])
    op.create_index(op.f("ix_campaign_pair_stratum_id_ordinal"), "campaign_pair", ["stratum_id", "ordinal"])
    op.create_table(
        "opinion",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("campaign_id", WHOLE, nullable=False),
        sa.Column("pair_id", WHOLE, nullable=False),
        sa.Column("reviewer_id", WHOLE, nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("left_is_chosen", sa.Integer(), nullable=True),
        sa.Column("of_id", WHOLE, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("dwell_ms", WHOLE, nullable=True),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("guideline_sha256", sa.Text(), nullable=True),
        sa.Column("created_ms", WHOLE, nullable=False),
        sa.CheckConstraint("verdict IN ('good', 'bad', 'unsure', 'undone')", name=op.f("ck_opinion_verdict")),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_opinion_campaign_id_campaign"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["of_id"], ["opinion.id"], name=op.f("fk_opinion_of_id_opinion"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["pair_id"], ["pair.id"], name=op.f("fk_opinion_pair_id_pair"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["reviewer_id"], ["app_user.id"], name=op.f("fk_opinion_reviewer_id_app_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_opinion")),
        sa.UniqueConstraint("token", name=op.f("uq_opinion_token")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_opinion_campaign_id_pair_id"), "opinion", ["campaign_id", "pair_id"])
    op.create_index(op.f("ix_opinion_pair_id"), "opinion", ["pair_id"])
    op.add_column("review", sa.Column("guideline_sha256", sa.Text(), nullable=True))
