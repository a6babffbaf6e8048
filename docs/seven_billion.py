"""What a 7B model would take on one GPU: `python docs/seven_billion.py --videos 1000 --clips 12`.

The run is planned as the studio plans it (perturbations, levels, order, preset `paper`) and counted by the studio's own
estimate; only lengths and sizes are given here, because neither a GPU nor the weights are at hand. With both,
`python -m jobs train --estimate` reads the real lengths and times a real forward.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tempo_core import perturbation
from tempo_core.curriculum import training_plan
from tempo_core.levels import with_levels
from tempo_core.recipes import PRESETS, RunConfig
from tempo_core.training import estimate
from tempo_core.training.flops import ModelSize, RowTokens, Stage, model_size, stage
from tempo_core.types import PairRef

CONFIG = {
    "text_config": {
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
    "vision_config": {"hidden_size": 1280, "depth": 32, "intermediate_size": 3420, "spatial_merge_size": 2},
}
"""The sizes in config.json of Qwen2.5-VL-7B-Instruct."""
QWEN_7B: ModelSize = model_size(CONFIG, n_parameters=8_292_166_656, n_tower=676_550_144)

KEY_FRAMES = 2
"""Of each clip: one step of time of this family."""
TOKENS_A_STEP = 16 * 9
"""A 16:9 picture of 448 pixels on its long side, as the studio shows this family: patches of 14, four to a token."""
BEFORE, INSTRUCTION = 20, 25
"""Text tokens before a video and after it, roughly; they hardly count."""
ASSUMED_TFLOPS = (200, 400)
"""What one GPU may sustain in bfloat16. Assumed, not measured."""


def planned(n_videos: int, n_clips: int, n_tokens: int, config: RunConfig) -> tuple[list[Stage], int]:
    """The DPO stages of a run in which every pair is accepted, and how many pairs there are."""
    rows, pairs = {}, []
    for ref, row in _pairs(n_videos, n_clips, n_tokens):
        pairs.append(ref)
        rows[ref.pair_id] = row
    plan = training_plan(with_levels(pairs), config)
    stages = []
    for number, one in enumerate(plan.stages):
        in_order = [rows[place.pair_id] for place in plan.planned if place.stage == number]
        stages.append(stage(one.name, in_order, config.micro_batch))
    return stages, len(pairs)


def _pairs(n_videos: int, n_clips: int, n_tokens: int) -> Iterator[tuple[PairRef, RowTokens]]:
    n_video = n_clips * TOKENS_A_STEP
    for video in range(n_videos):
        made = perturbation.plans(n_clips, seed_of=lambda kind, magnitude, replica, of=video: of)
        for i, plan in enumerate(made.plans):
            hardness = perturbation.difficulty(plan, [1] * n_clips).value
            ref = PairRef(video * len(made.plans) + i, str(video), plan.kind, None, hardness, plan.magnitude)
            answers = (("chosen", n_tokens), (f"rejected {i}", n_tokens))
            prompt = f"phrasing {i % 6}"
            yield ref, RowTokens(ref.pair_id, str(video), BEFORE + n_video, n_video, prompt, INSTRUCTION, answers)


def report(n_videos: int, n_clips: int, n_tokens: int) -> str:
    """The estimate as a table in Markdown, with gradient checkpointing (as the preset has it) and without."""
    config = replace(PRESETS["paper"], recipe="dpo")
    stages, n_pairs = planned(n_videos, n_clips, n_tokens, config)
    speeds = " | ".join(f"at {t} TFLOP/s" for t in ASSUMED_TFLOPS)
    lines = [
        f"{n_videos:,} videos of {n_clips} clips: {n_pairs:,} pairs, {n_clips * TOKENS_A_STEP:,} video tokens each, "
        f"answers of {n_tokens} tokens.",
        "",
        f"| gradient checkpointing | GPU memory | disk | PFLOP | {speeds} |",
        "|---|---|---|---|" + "---|" * len(ASSUMED_TFLOPS),
    ]
    room = {"lora_r": config.lora_r, "feature_bytes": config.feature_bytes}
    disk = estimate.disk(stages, QWEN_7B, **room)
    for again in (True, False):
        memory = estimate.memory(stages, QWEN_7B, lora_r=config.lora_r, again=again)
        work = estimate.work(stages, QWEN_7B, again=again, feature_bytes=config.feature_bytes)
        times = [estimate.estimate(work, memory, disk, flops_per_s=t * 1e12).seconds or 0.0 for t in ASSUMED_TFLOPS]
        shown = [
            "on (preset)" if again else "off",
            estimate.gigabytes(memory.total),
            estimate.gigabytes(disk.total),
            f"{work.flops / 1e15:,.0f}",
            *map(estimate.duration, times),
        ]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--clips", type=int, default=12, help="of each video")
    parser.add_argument("--answer", type=int, default=300, metavar="TOKENS", help="of each answer")
    args = parser.parse_args()
    print(report(args.videos, args.clips, args.answer))


if __name__ == "__main__":
    main()
