"""JSONL for TRL's DPO trainer with a collator of ours, which the bundle brings along as a script that trains.

TRL 1.16 has no way for videos: with plain-text prompts it trains on the text alone and says nothing. Paths stand only
in `videos`, never inside a part: Arrow would fill the other parts with None, and the question would vanish.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tempo_core.exchange import fields
from tempo_core.exchange.base import ExportPair, ForeignPair, Unreadable, Version
from tempo_core.exchange.form import VIDEOS_ELSEWHERE, Form, heading
from tempo_core.types import JsonDict

SCRIPT = Path(__file__).parent.parent / "training" / "trl_script.py"
"""Read as text: it imports torch, and stands where torch may."""
ROLES = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}


def record(pair: ExportPair) -> JsonDict:
    """One line. `images` is there, empty, because TRL takes a data set for one with media by that name."""
    return {
        "images": [],
        "videos": [pair.video.as_posix()],
        "prompt": [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": pair.prompt}]}],
        "chosen": [{"role": "assistant", "content": [{"type": "text", "text": pair.chosen}]}],
        "rejected": [{"role": "assistant", "content": [{"type": "text", "text": pair.rejected}]}],
    }


def fits(record: Mapping[str, Any]) -> bool:
    """Messages as lists, and a video named or marked somewhere."""
    return isinstance(record.get("prompt"), list) and (bool(record.get("videos")) or "video" in types(record))


def types(record: Mapping[str, Any]) -> set[str]:
    """The types of the parts of the prompt."""
    messages = [m for m in record.get("prompt", ()) if isinstance(m, dict)]
    parts = [part for m in messages if isinstance(m.get("content"), list) for part in m["content"]]
    return {str(part.get("type")) for part in parts if isinstance(part, dict)}


def read(record: Mapping[str, Any]) -> tuple[ForeignPair, ...]:
    """The pair of one record.

    Raises:
        Unreadable: It is not one question of user about one video, or an answer is not one of assistant.
    """
    if record.get("images"):
        raise Unreadable(f"images is {fields.shown(record['images'])}; a pair is about one video and no picture")
    prompt, chosen, rejected = (_said(record, name, role) for name, role in ROLES.items())
    extra = fields.rest(record, ("prompt", "chosen", "rejected", "videos", "images"))
    return (ForeignPair(_video(record), prompt, chosen, rejected, extra),)


def _said(record: Mapping[str, Any], name: str, role: str) -> str:
    """The text of the one message, whose content is a text or a list of parts."""
    messages = fields.objects(record, name)
    if len(messages) != 1 or messages[0].get("role") != role:
        raise Unreadable(f"{name} has {len(messages)} messages; it is one of {role}")
    content = messages[0].get("content")
    if isinstance(content, str):
        return fields.checked(content, name)
    parts = [part for part in fields.objects(messages[0], "content") if part.get("type") == "text"]
    if len(parts) != 1:
        raise Unreadable(f"{name} has {len(parts)} texts; it is one")
    return fields.checked(parts[0].get("text"), name)


def _video(record: Mapping[str, Any]) -> str:
    """From `videos`; other tools write the path into the part."""
    if record.get("videos"):
        return fields.one_video(record, "videos")
    content = fields.objects(record, "prompt")[0].get("content")
    parts = [part for part in content or () if isinstance(part, dict) and part.get("type") == "video"]
    return fields.one_video({"video": [part.get("video") for part in parts]}, "video")


def _script(pairs: Sequence[ExportPair]) -> Mapping[str, bytes]:
    return {"train_with_trl.py": SCRIPT.read_bytes()}


def _readme(version: Version, pairs: Sequence[ExportPair]) -> str:
    n_train = sum(pair.split == "train" for pair in pairs)
    return f"""{heading(version, pairs, "TRL")}{VIDEOS_ELSEWHERE}
TRL's own collator does not read videos; `train_with_trl.py` brings one that does and trains a LoRA adapter:

    python train_with_trl.py --model MODEL --videos FOLDER_OF_THE_VIDEOS --out OUT

It was written for TRL 1.16 and stops at any batch without video tokens or pixels. It must say {n_train} pairs.
For a trainer of your own keep `remove_unused_columns=False` and `max_length=None`: cutting a row cuts video tokens, so
bound the number of frames instead. TRL refuses `precompute_ref_log_probs` for data with media.
"""


FORM = Form(
    name="trl",
    title="TRL JSONL with a collator",
    leaves_out="A record holds the texts and the video's path; level, difficulty and everything else go to "
    "provenance.jsonl. TRL needs the collator that comes with it.",
    record=record,
    readme=_readme,
    beside=_script,
)
