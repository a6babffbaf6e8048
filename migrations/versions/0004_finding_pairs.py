"""Finding pairs among many: what the facets ask about stands in the pair, and in an index without texts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    op.add_column("pair", sa.Column("model_id", WHOLE, nullable=True))
    op.add_column("pair", sa.Column("input", sa.Text(), nullable=True))
    op.add_column("pair", sa.Column("length_ratio", REAL, nullable=True))
    op.execute(
        "UPDATE pair SET model_id = (SELECT model_id FROM response WHERE id = pair.chosen_id), input = (SELECT CASE "
        "WHEN settings LIKE '%\"input\":\"captions\"%' THEN 'captions' "
        "WHEN settings LIKE '%\"input\":\"video\"%' THEN 'video' ELSE 'imported' END "
        "FROM sampling JOIN response ON response.sampling_id = sampling.id WHERE response.id = pair.chosen_id), "
        "length_ratio = CASE WHEN length(chosen) = 0 OR length(rejected) = 0 THEN NULL "
        "WHEN length(chosen) > length(rejected) THEN length(chosen) * 1.0 / length(rejected) "
        "ELSE length(rejected) * 1.0 / length(chosen) END"
    )
    asked = ["kind", "magnitude", "model_id", "input", "difficulty", "length_ratio", "video_id"]
    op.create_index("ix_pair_columns", "pair", ["id", "status", *asked])
