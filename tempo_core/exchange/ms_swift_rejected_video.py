"""JSONL for ms-swift with a rejected *video*: the same answer about the clean and about the perturbed clips.

Another objective than the paper's: the model learns which video an answer belongs to. Both orders are rendered by the
same encoder, because a model would rather learn to tell a copy from an original than an order from another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tempo_core.exchange import fields
from tempo_core.exchange.base import ExportPair, ForeignPair, Unreadable, Version
from tempo_core.exchange.form import Form, heading
from tempo_core.exchange.ms_swift import question_and_answer
from tempo_core.types import JsonDict

SAME_ANSWER = "both sides have the same answer and differ in their video; a pair here is two answers about one video"


def record(pair: ExportPair) -> JsonDict:
    """One line. Without `rejected_videos` of its own the rejected side would have no video at all."""
    clean, perturbed = pair.clips or (pair.video, pair.video)
    messages = [
        {"role": "user", "content": f"<video>{pair.prompt}"},
        {"role": "assistant", "content": pair.chosen},
    ]
    return {
        "messages": messages,
        "videos": [f"clips/{clean.name}"],
        "rejected_messages": messages,
        "rejected_videos": [f"clips/{perturbed.name}"],
    }


def fits(record: Mapping[str, Any]) -> bool:
    return "messages" in record and "rejected_messages" in record


def read(record: Mapping[str, Any]) -> tuple[ForeignPair, ...]:
    """The pair of one record; the rejected video is kept as a remark, for here both answers are about the clean one."""
    prompt, chosen = question_and_answer(record, "messages")
    asked, rejected = question_and_answer(record, "rejected_messages")
    if asked != prompt:
        raise Unreadable("the two sides are asked different questions; a pair is two answers to one")
    extra = fields.rest(record, ("messages", "rejected_messages", "videos"))
    return (ForeignPair(fields.one_video(record, "videos"), prompt, chosen, rejected, extra),)


def _fault(pair: ExportPair) -> str:
    return "" if pair.clips else "no plan, so there is no perturbed video to render"


def _readme(version: Version, pairs: Sequence[ExportPair]) -> str:
    n_train = sum(pair.split == "train" for pair in pairs)
    return f"""{heading(version, pairs, "ms-swift, rejected video")}
Chosen and rejected are the **same answer**; the rejected side is about the perturbed video. That is another objective
than preferring one answer to another. Both orders lie in `clips/`, rendered alike from the same frames, without sound.
The answers that the perturbed video was given, and what each pair was made of, are in `provenance.jsonl`.

Start the trainer in this folder:

    swift rlhf --rlhf_type dpo --model MODEL --dataset train.jsonl --strict true --max_length 16384

Its log must show {n_train} rows. With `rejected_messages`, ms-swift does not take over `videos` for the rejected side;
each record therefore names both.
"""


FORM = Form(
    name="ms_swift_rejected_video",
    title="ms-swift JSONL, rejected video",
    leaves_out="The rejected answers: both sides hold the chosen one, and the perturbed clips are rendered. Pairs "
    "without a plan (imported ones) cannot be written. Another objective than the paper's.",
    record=record,
    readme=_readme,
    fault=_fault,
    texts=("rejected",),
    clips=True,
)
