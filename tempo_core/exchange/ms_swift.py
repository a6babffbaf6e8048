"""JSONL for ms-swift, the paper's trainer: `train.jsonl`, `held_out.jsonl`, and all provenance beside them.

ms-swift drops unknown columns, deletes rows it does not like and goes on, so the record holds only what it reads
(as of 4.6) and the bundle's README says how many rows its log must show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tempo_core.exchange import fields
from tempo_core.exchange.base import ExportPair, ForeignPair, Unreadable, Version
from tempo_core.exchange.form import VIDEOS_ELSEWHERE, Form, heading
from tempo_core.types import JsonDict, level_key


def record(pair: ExportPair) -> JsonDict:
    """One line of the data file. `channel` names the level, for losses by channel; ms-swift keeps that column."""
    return {
        "messages": [
            {"role": "user", "content": f"<video>{pair.prompt}"},
            {"role": "assistant", "content": pair.chosen},
        ],
        "rejected_response": pair.rejected,
        "videos": [pair.video.as_posix()],
        "channel": level_key(pair.level),
    }


def fits(record: Mapping[str, Any]) -> bool:
    return "messages" in record and "rejected_response" in record


def read(record: Mapping[str, Any]) -> tuple[ForeignPair, ...]:
    """The pair of one record.

    Raises:
        Unreadable: It is not one question with one answer about one video.
    """
    prompt, chosen = question_and_answer(record, "messages")
    rejected = fields.text(record, "rejected_response")
    extra = fields.rest(record, ("messages", "rejected_response", "videos"))
    return (ForeignPair(fields.one_video(record, "videos"), prompt, chosen, rejected, extra),)


def question_and_answer(record: Mapping[str, Any], name: str) -> tuple[str, str]:
    """The two texts of `messages` or `rejected_messages`, without the mark of the video."""
    said = [(fields.text(m, "role"), fields.text(m, "content")) for m in fields.objects(record, name)]
    if [role for role, _ in said] != ["user", "assistant"]:
        roles = ", ".join(role for role, _ in said)[:60]
        raise Unreadable(f"{name} are of {roles or 'nobody'}; a pair is one question of user, one answer of assistant")
    return fields.untagged(said[0][1], "<video>"), said[1][1]


def _readme(version: Version, pairs: Sequence[ExportPair]) -> str:
    n_train = sum(pair.split == "train" for pair in pairs)
    return f"""{heading(version, pairs, "ms-swift")}{VIDEOS_ELSEWHERE}
Start the trainer in the folder of the videos:

    swift rlhf --rlhf_type dpo --model MODEL --dataset train.jsonl --strict true --max_length 16384

Without `--strict true` ms-swift deletes rows it does not like and goes on, and rows longer than `--max_length` are
deleted: its log must show {n_train} rows.
"""


FORM = Form(
    name="ms_swift",
    title="ms-swift JSONL",
    leaves_out="A record holds the texts, the video's path and the level; everything else goes to provenance.jsonl.",
    record=record,
    readme=_readme,
)
write = FORM.write
