"""What was asked, kept beside a job's figures: questions as JSON lines, the pictures that were shown as strips.

For people who look at single answers. The scores do not need it, so a folder that was cleared costs no figure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from tempo_core.types import Asked, Score


def strip_name(video: str, numbers: Sequence[int]) -> str:
    """The file of the pictures shown of a video."""
    return hashlib.sha256(json.dumps([video, list(numbers)]).encode()).hexdigest()[:24] + ".jpg"


def write(folder: Path, benchmark: str, scores: Iterable[Score]) -> None:
    """Keep what the items of these scores were about. An item that counts in several figures is written once."""
    lines: dict[tuple[str, Asked], list[str]] = {}
    for score in scores:
        for item in score.items:
            if item.asked is not None:
                lines.setdefault((item.item, item.asked), []).append(score.metric)
    if not lines:
        return
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{benchmark}.part"
    with unfinished.open("w", encoding="utf-8") as file:
        for (name, asked), metrics in lines.items():
            file.write(json.dumps({"item": name, "metrics": metrics, **asdict(asked)}) + "\n")
    unfinished.replace(folder / f"{benchmark}.jsonl")


def read(folder: Path, benchmark: str) -> dict[tuple[str, str], Asked]:
    """By (metric, item); empty where nothing was kept."""
    path = folder / f"{benchmark}.jsonl"
    if not path.is_file():
        return {}
    found: dict[tuple[str, str], Asked] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            asked = Asked(row["question"], tuple(row["options"]), row["truth"], row["video"], tuple(row["numbers"]))
            found |= {(metric, row["item"]): asked for metric in row["metrics"]}
    return found
