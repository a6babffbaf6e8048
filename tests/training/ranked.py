"""What `test_ranks.py` starts with torchrun: the tests' very small run, with what it said kept as JSON.

python -m torch.distributed.run --nproc-per-node=2 tests/training/ranked.py BASE FOLDER[:STOP_AT] ...

Several runs in one start, because a start of two processes takes longer than such a run; each writes FOLDER.json.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/training")]

from runs import CONFIG, Heard, make_examples, make_pairs, make_plan, pictures  # noqa: E402

from tempo_core.errors import Cancelled  # noqa: E402
from tempo_core.training import recipe  # noqa: E402


def train(base: Path, folder: Path, stop_at: int | None = None) -> dict[str, Any]:
    """What rank 0 heard."""
    torch.set_num_threads(1)
    pairs = make_pairs(24)
    config = replace(CONFIG, recipe="dpo_sft", micro_batch=2, sft_tower_trainable=False, reference="base")
    heard = Heard(stop_at=stop_at)
    stopped = ""
    try:
        recipe.train(
            base=base, pairs=pairs, plan=make_plan(pairs), examples=make_examples(7), config=config, folder=folder,
            pictures=pictures, events=heard,
        )  # fmt: skip
    except Cancelled as error:
        stopped = str(error)
    values = {f"{key} {step}": value for (key, step), value in heard.values.items()}
    scores = {moment: {str(i): s.margin for i, s in found.items()} for moment, found in heard.scores.items()}
    return {"values": values, "scores": scores, "resumed": heard.resumed_at, "stopped": stopped}


def main(base: str, *wanted: str) -> None:
    for one in wanted:
        folder, _, stop_at = one.partition(":")
        said = train(Path(base), Path(folder), int(stop_at) if stop_at else None)
        if os.environ["RANK"] == "0":
            Path(f"{folder}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
