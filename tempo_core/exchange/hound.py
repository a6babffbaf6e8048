"""Records of LLaVA-Hound, TimeWarp and VistaDPO, and of the 2U1 trainers: a plain prompt, two answers, one `video`.

Read only. The first three name a folder of frames, which is called like the video; the last one names the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tempo_core.exchange.base import ForeignPair
from tempo_core.exchange.fields import checked, one_video, rest, text, untagged


def fits(record: Mapping[str, Any]) -> bool:
    return isinstance(record.get("prompt"), str) and "video" in record and "chosen" in record


def read(record: Mapping[str, Any]) -> tuple[ForeignPair, ...]:
    """The pair of one record; a second rejected answer (VistaDPO) makes a second pair."""
    prompt, chosen = untagged(text(record, "prompt"), "<video>"), text(record, "chosen")
    video, extra = one_video(record, "video"), rest(record, ("prompt", "chosen", "rejected", "rejected_2", "video"))
    answers = [text(record, "rejected")]
    if record.get("rejected_2") is not None:
        answers.append(checked(record["rejected_2"], "rejected_2"))
    return tuple(ForeignPair(video, prompt, chosen, rejected, extra) for rejected in answers)
