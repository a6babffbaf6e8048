"""JSONL for ms-swift, the paper's trainer: `train.jsonl`, `held_out.jsonl`, and all provenance beside them.

ms-swift drops unknown columns, deletes rows it does not like and goes on, so the record holds only what it reads
(as of 4.6) and the bundle's README says how many rows its log must show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from tempo_core.exchange.base import (
    SPLITS,
    Exported,
    ExportPair,
    Version,
    bundle,
    columns,
    json_line,
    usable,
    write_file,
    write_manifest,
)
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


def write(pairs: Iterable[ExportPair], version: Version, folder: Path, *, video_root: Path | None = None) -> Exported:
    """Write a bundle: data, `provenance.jsonl` (one line per record, by the record's sha256), README, manifest.

    Args:
        folder: Must not exist, be empty, or hold an earlier export, which is replaced.
        video_root: Video paths are written relative to it; None: the deepest folder that holds all videos.

    Raises:
        FolderTaken: The folder holds something else.
        NoSpace: The disk is full; the folder is as it was before.
    """
    kept, skipped = usable(pairs, video_root, tags_count=True)
    with bundle(folder) as partial:
        for split in SPLITS:
            members = [pair for pair in kept if pair.split == split]
            if members:
                write_file(partial / f"{split}.jsonl", _lines(record(pair) for pair in members))
        write_file(partial / "provenance.jsonl", _lines(_provenance(pair) for pair in kept))
        write_file(partial / "README.md", _readme(version, kept).encode())
        files = write_manifest(partial, "ms_swift", version, kept, skipped)
    return Exported(folder, len(kept), skipped, files)


def _lines(records: Iterable[JsonDict]) -> bytes:
    return "".join(json_line(one) + "\n" for one in records).encode()


def _provenance(pair: ExportPair) -> JsonDict:
    digest = hashlib.sha256(json_line(record(pair)).encode()).hexdigest()
    texts = ("question", "chosen", "rejected")
    return {"record_sha256": digest} | {name: value for name, value in columns(pair).items() if name not in texts}


def _readme(version: Version, pairs: Sequence[ExportPair]) -> str:
    n_train = sum(pair.split == "train" for pair in pairs)
    return f"""# {" ".join(version.name.split())} {version.number} for ms-swift

{n_train} training pairs, {len(pairs) - n_train} held out; content {version.content_sha256}.

The videos are not in this folder. Their paths are relative to the folder that held them when this was exported:
start the trainer there. `provenance.jsonl` tells for each record (by the sha256 of its line) what it was made of.

    swift rlhf --rlhf_type dpo --model MODEL --dataset train.jsonl --strict true --max_length 16384

Without `--strict true` ms-swift deletes rows it does not like and goes on: its log must show {n_train} rows.
"""
