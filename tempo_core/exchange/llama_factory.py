"""A JSON list in ShareGPT form with its `dataset_info.json`, as LLaMA-Factory reads preference pairs about videos.

It drops a row whose chosen or rejected is no object, counts tags against videos, and cuts prompts at `cutoff_len`,
2048 by default: the question goes first, then video tokens. So the bundle says which values to set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tempo_core.exchange import fields
from tempo_core.exchange.base import SPLITS, ExportPair, ForeignPair, Unreadable, Version
from tempo_core.exchange.form import VIDEOS_ELSEWHERE, Form, heading, json_list, pretty
from tempo_core.types import JsonDict

COLUMNS = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "videos": "videos"}
NAMES = {"train": "tempo_pairs", "held_out": "tempo_pairs_held_out"}


def record(pair: ExportPair) -> JsonDict:
    return {
        "conversations": [{"from": "human", "value": f"<video>{pair.prompt}"}],
        "chosen": {"from": "gpt", "value": pair.chosen},
        "rejected": {"from": "gpt", "value": pair.rejected},
        "videos": [pair.video.as_posix()],
    }


def fits(record: Mapping[str, Any]) -> bool:
    return "conversations" in record and isinstance(record.get("chosen"), dict)


def read(record: Mapping[str, Any]) -> tuple[ForeignPair, ...]:
    """The pair of one record.

    Raises:
        Unreadable: It is not one question about one video, or an answer is no object.
    """
    said = fields.objects(record, "conversations")
    if len(said) != 1 or said[0].get("from") != "human":
        raise Unreadable(f"conversations has {len(said)} texts; a pair is one question of human")
    prompt = fields.untagged(fields.text(said[0], "value"), "<video>")
    chosen, rejected = (_answer(record, name) for name in ("chosen", "rejected"))
    extra = fields.rest(record, ("conversations", "chosen", "rejected", "videos"))
    return (ForeignPair(fields.one_video(record, "videos"), prompt, chosen, rejected, extra),)


def _answer(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, dict):
        raise Unreadable(f'{name} is {fields.shown(value)}, not {{"from": "gpt", "value": ...}}')
    return fields.checked(value.get("value"), name)


def _dataset_info(pairs: Sequence[ExportPair]) -> Mapping[str, bytes]:
    present = [split for split in SPLITS if any(pair.split == split for pair in pairs)]
    content = {
        NAMES[split]: {
            "file_name": json_list(split, ())[0], "formatting": "sharegpt", "ranking": True, "columns": COLUMNS,
        }
        for split in present
    }  # fmt: skip
    return {"dataset_info.json": pretty(content)}


def _readme(version: Version, pairs: Sequence[ExportPair]) -> str:
    n_train = sum(pair.split == "train" for pair in pairs)
    return f"""{heading(version, pairs, "LLaMA-Factory")}{VIDEOS_ELSEWHERE}
    llamafactory-cli train --stage dpo --do_train true --model_name_or_path MODEL --template TEMPLATE \\
        --finetuning_type lora --dataset_dir THIS_FOLDER --dataset {NAMES["train"]} --media_dir FOLDER_OF_THE_VIDEOS \\
        --cutoff_len 16384 --output_dir OUT

`cutoff_len` is 2048 unless you set it, and what is longer loses first its question and then parts of its video.
A missing video is warned about once only. Its log must show {n_train} rows.
"""


FORM = Form(
    name="llama_factory",
    title="LLaMA-Factory JSON",
    leaves_out="A record holds the texts and the video's path; level, difficulty and everything else go to "
    "provenance.jsonl.",
    record=record,
    readme=_readme,
    file=json_list,
    beside=_dataset_info,
)
