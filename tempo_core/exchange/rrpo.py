"""Records of RRPO: an answer, a wrong one (`pred`), and both again with the differing phrases masked.

Read only. The masks are left out: our own diff finds the phrases, and a mask whose text differs from the plain one
switches that loss off in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tempo_core.exchange import fields
from tempo_core.exchange.base import ForeignPair

OURS = ("question", "answer", "pred", "answer_masked", "pred_masked", "video")


def fits(record: Mapping[str, Any]) -> bool:
    return "pred" in record and "answer" in record


def read(record: Mapping[str, Any]) -> tuple[ForeignPair, ...]:
    """The pair of one record. Its tag is `<image>`, for videos too."""
    prompt = fields.untagged(fields.untagged(fields.text(record, "question"), "<image>"), "<video>")
    chosen, rejected = (fields.text(record, name) for name in ("answer", "pred"))
    return (ForeignPair(fields.one_video(record, "video"), prompt, chosen, rejected, fields.rest(record, OURS)),)
