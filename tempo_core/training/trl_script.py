"""Train a LoRA adapter by DPO with TRL on the pairs of this folder, videos included. Needs trl, peft, torch and av.

    python train_with_trl.py --model MODEL --videos FOLDER_OF_THE_VIDEOS --out OUT

TRL 1.16 reads no videos: its own collator would train on the text alone and say nothing. The collator below opens them,
tells the processor the time of each picture (without it neighbouring pictures share one position and no order can be
seen), and stops at a batch without video tokens or pixels.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.video_utils import VideoMetadata
from trl import DPOConfig, DPOTrainer, apply_chat_template

LANGUAGE_MODEL = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
"""Linear layers of the language model; the vision tower stays as it is."""


def pictures(path: Path, n: int) -> tuple[np.ndarray, float]:
    """`n` pictures spread evenly over a video, RGB, (n, H, W, 3), and how many of them there are a second."""
    with av.open(str(path)) as container:
        frames = [(frame.time, frame) for frame in container.decode(video=0)]
        chosen = np.linspace(0, len(frames) - 1, n).round().astype(int)
        shown = np.stack([frames[i][1].to_ndarray(format="rgb24") for i in chosen])
    duration_s = (frames[-1][0] - frames[0][0]) * len(frames) / max(1, len(frames) - 1)
    return shown, n / duration_s


class Collator:
    """Batches as TRL's DPO expects them: [all chosen, all rejected], the prompt's video once for each side."""

    def __init__(self, processor: Any, folder: Path, n_pictures: int) -> None:
        self.processor, self.folder, self.n_pictures = processor, folder, n_pictures

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        texts = [apply_chat_template(_plain(row), self.processor) for row in rows]
        videos, told = zip(*(self._video(row) for row in rows), strict=True)
        prompts = self.processor(
            text=[text["prompt"] for text in texts] * 2, videos=list(videos) * 2, video_metadata=list(told) * 2,
            do_sample_frames=False, padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt",
        )  # fmt: skip
        answers = self.processor.tokenizer(
            [text[side] for side in ("chosen", "rejected") for text in texts],
            padding=True, padding_side="right", add_special_tokens=False, return_tensors="pt",
        )  # fmt: skip
        return self._checked(_joined(dict(prompts), answers))

    def _video(self, row: dict[str, Any]) -> tuple[np.ndarray, VideoMetadata]:
        shown, fps = pictures(self.folder / row["videos"][0], self.n_pictures)
        n, height, width = shown.shape[:3]
        numbers = list(range(n))
        about = VideoMetadata(
            total_num_frames=n, fps=fps, frames_indices=numbers, duration=n / fps, height=height, width=width
        )
        return shown, about

    def _checked(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        mark = self.processor.tokenizer.convert_tokens_to_ids(self.processor.video_token)
        n_marks = (batch["input_ids"] == mark).sum(dim=1)
        if "pixel_values_videos" not in batch or bool((n_marks == 0).any()):
            raise SystemExit("This batch has no video tokens or no pixels: the model would learn from the text alone.")
        return batch


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Without the None that Arrow puts where a part lacks a key: templates ask which keys are there."""
    return {
        side: [
            {**message, "content": [{k: v for k, v in part.items() if v is not None} for part in message["content"]]}
            for message in row[side]
        ]
        for side in ("prompt", "chosen", "rejected")
    }


def _joined(batch: dict[str, torch.Tensor], answers: Any) -> dict[str, torch.Tensor]:
    """Prompts with their answers behind them; only the answers count in the loss."""
    nothing = torch.zeros_like(batch["input_ids"])
    if "mm_token_type_ids" in batch:
        kinds = torch.zeros_like(answers["input_ids"])
        batch["mm_token_type_ids"] = torch.cat([batch["mm_token_type_ids"], kinds], dim=1)
    batch["input_ids"] = torch.cat([batch["input_ids"], answers["input_ids"]], dim=1)
    batch["attention_mask"] = torch.cat([batch["attention_mask"], answers["attention_mask"]], dim=1)
    batch["completion_mask"] = torch.cat([nothing, answers["attention_mask"]], dim=1)
    return batch


def pairs(file: Path) -> Dataset:
    with file.open("rb") as lines:
        return Dataset.from_list([json.loads(line) for line in lines if line.strip()])


def trainer(model: str, data: Path, videos: Path, out: Path, *, n_pictures: int = 16, **settings: Any) -> DPOTrainer:
    """The paper's numbers: one epoch, beta 0.1, LoRA r 32 on the language model. `settings` go to `DPOConfig`."""
    processor = AutoProcessor.from_pretrained(model)
    # Cutting a row would cut video tokens, and unused columns hold the videos: neither may happen.
    fixed = {"remove_unused_columns": False, "max_length": None, "beta": 0.1, "learning_rate": 5e-6}
    return DPOTrainer(
        model=AutoModelForImageTextToText.from_pretrained(model, dtype="auto"),
        args=DPOConfig(output_dir=str(out), **{**fixed, "per_device_train_batch_size": 1, **settings}),
        train_dataset=pairs(data),
        processing_class=processor,
        data_collator=Collator(processor, videos, n_pictures),
        peft_config=LoraConfig(r=32, lora_alpha=64, target_modules=LANGUAGE_MODEL),
    )


def main() -> None:
    here = Path(__file__).parent
    asked = argparse.ArgumentParser(description="DPO with TRL on pairs about videos.")
    asked.add_argument("--model", required=True, help="a folder or a name of the hub")
    asked.add_argument("--videos", type=Path, default=here, help="where the pairs' paths begin")
    asked.add_argument("--data", type=Path, default=here / "train.jsonl")
    asked.add_argument("--out", type=Path, default=Path("adapter"))
    asked.add_argument("--pictures", type=int, default=16, help="of each video")
    args = asked.parse_args()
    training = trainer(
        args.model, args.data, args.videos, args.out, n_pictures=args.pictures, gradient_accumulation_steps=16,
        warmup_steps=0.05, num_train_epochs=1, logging_steps=1,
    )  # fmt: skip
    print(f"{len(training.train_dataset)} pairs")
    training.train()
    training.save_model()


if __name__ == "__main__":
    main()
