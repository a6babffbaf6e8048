"""Make an embedded model from a seed: `python -m tempo_core.video_llms.make_embedded --seed 0 --out DIR`.

It learns to name what happens, and nothing about when: its captions list the events in a fixed order of salience
that has nothing to do with time. Stages: see (align the vision tower with fixed word embeddings), bind (captions of
up to 4 clips), grow (straight to 16). Stopped, it goes on where it was; about 15 CPU-minutes of one thread. With
`--model tiny_onevision` the same lessons make the second model, which is built unlike the first.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen

from tempo_core.video_llms import checkpoints, tiny_parts, tiny_scores
from tempo_core.video_llms import tiny_lessons as lessons
from tempo_core.video_llms import tiny_shots as shots
from tempo_core.video_llms.tiny_onevision_parts import OneVisionStudent
from tempo_core.video_llms.tiny_parts import QwenStudent
from tempo_core.video_llms.tiny_students import Student, fresh_words
from tempo_core.video_llms.tiny_words import VIDEO

STUDENTS: dict[str, type[Student]] = {made.family: made for made in (QwenStudent, OneVisionStudent)}

N_CLIPS = (4, 8, 16)
MEASURE_EVERY = 300


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done; the defaults are those of the shipped weights."""

    see_steps: int = 700
    talk_steps: int = 1200
    n_drawn: int = 64
    """Drawn shots of each event."""
    n_scored: int = 300
    """Fresh videos of each length for the base scores."""
    keep_every: int = 50


@dataclass
class Making:
    """Where the work stands; the folder `work` keeps it."""

    seed: int
    work: Path
    began: float = field(default_factory=time.process_time)
    spent: float = 0.0
    lines: list[str] = field(default_factory=list)

    def say(self, *words: object) -> None:
        line = f"{' '.join(map(str, words))} [{self.cpu_s():.0f} CPU-s]"
        self.lines.append(line)
        print(line, flush=True)

    def cpu_s(self) -> float:
        return self.spent + time.process_time() - self.began

    def keep(self, name: str, **state: Any) -> None:
        state |= {"lines": self.lines, "spent": self.cpu_s()}
        torch.save(state, self.work / f"{name}.partial")
        (self.work / f"{name}.partial").replace(self.work / f"{name}.pt")

    def kept(self, name: str) -> dict[str, Any] | None:
        path = self.work / f"{name}.pt"
        if not path.exists():
            return None
        state: dict[str, Any] = torch.load(path, weights_only=False)
        self.lines, self.spent, self.began = state["lines"], state["spent"], time.process_time()
        return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=list(STUDENTS), default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="where unfinished work is kept (default: OUT_work)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # Not inside: a model's folder is refused when it holds what could run code, and its manifest names every file.
    work = arguments.work or Path(f"{arguments.out}_work")
    work.mkdir(parents=True, exist_ok=True)
    qwen.Qwen2_5_VLVisionAttention.forward = tiny_parts.quick_vision_attention
    make(Making(arguments.seed, work), arguments.out, STUDENTS[arguments.model])


def make(making: Making, out: Path, kind: type[Student] = QwenStudent, effort: Effort = Effort()) -> None:
    """Draw, teach, measure, save; each part is skipped where `making.work` already holds it."""
    student = kind(making.seed)
    student.start(making.seed)
    drawn = _bank(making, "bank", effort.n_drawn, 1)
    held_out = _bank(making, "held_out", min(6, effort.n_drawn), 999)
    learn_to_see(making, student, drawn, held_out, effort.see_steps)
    learn_to_tell(making, student, shots.features(student, drawn), shots.features(student, held_out), effort)
    fresh = shots.features(student, _bank(making, "fresh", min(6, effort.n_drawn), 31337))
    base = {n: tiny_scores.scores(student, fresh, effort.n_scored, n) for n in N_CLIPS}
    for n, values in base.items():
        making.say(f"fresh drawings, {n} clips:", _shown(values))
    save(making, student, base, out)


def _bank(making: Making, name: str, n_each: int, seed: int) -> Tensor:
    kept = making.work / f"{name}.npy"
    if not kept.exists():
        drawn = shots.bank(n_each, seed)
        np.save(kept, drawn.numpy())
        making.say("drew", name, tuple(drawn.shape))
    return torch.from_numpy(np.load(kept))


def learn_to_see(making: Making, student: Student, drawn: Tensor, held_out: Tensor, steps: int) -> None:
    """Align the tower: the embedding of a clip = embedding of its object + embedding of its action."""
    kept = making.kept("see")
    if kept:
        student.model.load_state_dict(kept["model"])
        return
    fixed, rng = fresh_words(student), np.random.default_rng(making.seed)
    noise = torch.Generator().manual_seed(making.seed)
    weights = student.seers()
    optimiser = torch.optim.AdamW(weights, 1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(steps):
        _rate(optimiser, 2e-3 * min(1, (step + 1) / 40) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps))))
        events = rng.integers(0, shots.N_EVENTS, 256)
        pixels = _worn(student.pixels(shots.pick(drawn, events, rng)), len(events), noise)
        loss, _ = _alignment(student.read(student.see(pixels)), events, fixed)
        _step(loss, weights, optimiser)
        if step % 150 == 149 or step == steps - 1:
            making.say("see", step + 1, f"held-out clip accuracy {_clip_accuracy(student, held_out, fixed):.3f}")
    student.mark(fixed[VIDEO])  # every visual token carries the mark of the video token
    making.keep("see", model=student.model.state_dict())


def _alignment(seen: Tensor, events: Any, fixed: Tensor) -> tuple[Tensor, Tensor]:
    event = torch.as_tensor(events)
    thing, doing = event // shots.N_ACTIONS, event % shots.N_ACTIONS
    things, doings = fixed[lessons.OBJECT_IDS], fixed[lessons.ACTION_IDS]
    direction = F.normalize(seen, dim=-1)
    to_thing, to_doing = (direction @ F.normalize(to, dim=-1).T * 12 for to in (things, doings))
    apart = ((seen - things[thing] - doings[doing]) ** 2).sum(-1).mean()
    loss = F.cross_entropy(to_thing, thing) + F.cross_entropy(to_doing, doing) + 0.5 * apart
    return loss, (to_thing.argmax(-1) == thing) & (to_doing.argmax(-1) == doing)


@torch.no_grad()
def _clip_accuracy(student: Student, drawn: Tensor, fixed: Tensor) -> float:
    events = np.repeat(np.arange(shots.N_EVENTS), drawn.shape[1])
    mixed = np.random.default_rng(0).permutation(len(events))
    seen = shots.features(student, drawn).flatten(0, 1)[mixed]
    return float(_alignment(student.read(seen), events[mixed], fixed)[1].float().mean())


def _worn(pixels: Tensor, n_clips: int, noise: torch.Generator) -> Tensor:
    """Brightness, contrast and grain that differ from shot to shot, as between encoders."""
    clips = pixels.reshape(n_clips, 16, -1)
    gain = 1 + 0.06 * torch.randn(len(clips), 1, 1, generator=noise)
    shift = 0.06 * torch.randn(len(clips), 1, 1, generator=noise)
    return (clips * gain + shift + 0.04 * torch.randn(clips.shape, generator=noise)).view(pixels.shape)


def learn_to_tell(making: Making, student: Student, shown: Tensor, held_out: Tensor, effort: Effort) -> None:
    model = student.model
    for part in student.tower():
        part.requires_grad_(False)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, 7e-4, betas=(0.9, 0.95), weight_decay=0.01)
    teacher = lessons.Teacher(student, shown, np.random.default_rng(making.seed + 1))
    kept, first = making.kept("tell"), 0
    if kept:
        model.load_state_dict(kept["model"])
        optimiser.load_state_dict(kept["optimiser"])
        teacher.restore(kept["teacher"])
        first = kept["step"]
    for step in range(first, effort.talk_steps):
        through = step / effort.talk_steps
        cooling = 1.0 if through < 0.4 else max(0.03, (1 - through) / 0.6)
        _rate(optimiser, 7e-4 * min(1, (step + 1) / 50) * cooling)
        teacher.teach()
        _step(None, weights, optimiser)
        if teacher.grow():
            making.say("grow to 16 clips at step", step + 1)
        if step % MEASURE_EVERY == MEASURE_EVERY - 1:
            n = max(teacher.most, 6)
            making.say("held-out drawings,", n, "clips:", _shown(tiny_scores.scores(student, held_out, 100, n)))
        if step % effort.keep_every == effort.keep_every - 1:
            making.say("tell", step + 1, teacher.shown_state())
            state = {"optimiser": optimiser.state_dict(), "teacher": teacher.state(), "step": step + 1}
            making.keep("tell", model=model.state_dict(), **state)


def _rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = lr


def _step(loss: Tensor | None, weights: list[Any], optimiser: torch.optim.Optimizer) -> None:
    if loss is not None:
        torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimiser.step()
    optimiser.zero_grad()


def save(making: Making, student: Student, base: dict[int, dict[str, float]], out: Path) -> None:
    student.model.half().save_pretrained(out)
    student.processor().save_pretrained(out)
    weights = (out / "model.safetensors").read_bytes()
    record = {
        "tempo_family": student.family,
        "seed": making.seed,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "bytes": len(weights),
        "cpu_s": round(making.cpu_s()),
        "base_scores": {str(n): {k: round(v, 3) for k, v in values.items()} for n, values in base.items()},
        "log": making.lines,
    }
    (out / "base.json").write_text(json.dumps(record, indent=1) + "\n")
    checkpoints.write_manifest(out)


def _shown(values: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.2f}" for name, value in values.items())


if __name__ == "__main__":
    main()
