"""Make the embedded model from a seed: `python -m tempo_core.video_llms.make_embedded --seed 0 --out DIR`.

It learns to name what happens, and nothing about when: its captions list the events in a fixed order of salience
that has nothing to do with time. Stages: see (align the vision tower with fixed word embeddings), bind (captions of
up to 4 clips), grow (straight to 16). Stopped, it goes on where it was; about 15 CPU-minutes of one thread.
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

from tempo_core.video_llms import tiny_lessons as lessons
from tempo_core.video_llms import tiny_parts as parts

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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="where unfinished work is kept (default: OUT/work)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    work = arguments.work or arguments.out / "work"
    work.mkdir(parents=True, exist_ok=True)
    qwen.Qwen2_5_VLVisionAttention.forward = lessons.quick_vision_attention
    make(Making(arguments.seed, work), arguments.out)


def make(making: Making, out: Path, effort: Effort = Effort()) -> None:
    """Draw, teach, measure, save; each part is skipped where `making.work` already holds it."""
    model = parts.build(making.seed)
    drawn = _bank(making, "bank", effort.n_drawn, 1)
    held_out = _bank(making, "held_out", min(6, effort.n_drawn), 999)
    learn_to_see(making, model, drawn, held_out, effort.see_steps)
    learn_to_tell(making, model, lessons.features(model, drawn), lessons.features(model, held_out), effort)
    fresh = lessons.features(model, _bank(making, "fresh", min(6, effort.n_drawn), 31337))
    base = {n: lessons.scores(model, fresh, effort.n_scored, n) for n in N_CLIPS}
    for n, values in base.items():
        making.say(f"fresh drawings, {n} clips:", _shown(values))
    save(making, model, base, out)


def _bank(making: Making, name: str, n_each: int, seed: int) -> Tensor:
    kept = making.work / f"{name}.npy"
    if not kept.exists():
        shots = lessons.bank(n_each, seed)
        np.save(kept, shots.numpy())
        making.say("drew", name, tuple(shots.shape))
    return torch.from_numpy(np.load(kept))


def learn_to_see(making: Making, model: Any, drawn: Tensor, held_out: Tensor, steps: int) -> None:
    """Align the tower: the embedding of a clip = embedding of its object + embedding of its action."""
    kept = making.kept("see")
    if kept:
        model.load_state_dict(kept["model"])
        return
    words = model.model.language_model.embed_tokens.weight
    with torch.no_grad():
        words.normal_(0, 1 / math.sqrt(parts.HIDDEN))
        words[parts.PAD] = 0
    fixed, rng = words.detach().clone(), np.random.default_rng(making.seed)
    noise = torch.Generator().manual_seed(making.seed)
    weights = list(model.model.visual.parameters())
    optimiser = torch.optim.AdamW(weights, 1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(steps):
        _rate(optimiser, 2e-3 * min(1, (step + 1) / 40) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps))))
        events = rng.integers(0, lessons.N_EVENTS, 256)
        pixels = _worn(lessons.normalised(lessons.pick(drawn, events, rng)), noise)
        loss, _ = _alignment(lessons.see(model, pixels), events, fixed)
        _step(loss, weights, optimiser)
        if step % 150 == 149 or step == steps - 1:
            making.say("see", step + 1, f"held-out clip accuracy {_clip_accuracy(model, held_out, fixed):.3f}")
    with torch.no_grad():  # every visual token carries the mark of the video token
        model.model.visual.merger.mlp[-1].bias += fixed[parts.VIDEO]
    making.keep("see", model=model.state_dict())


def _alignment(seen: Tensor, events: Any, fixed: Tensor) -> tuple[Tensor, Tensor]:
    event = torch.as_tensor(events)
    thing, doing = event // lessons.N_ACTIONS, event % lessons.N_ACTIONS
    things, doings = fixed[lessons.OBJECT_IDS], fixed[lessons.ACTION_IDS]
    direction = F.normalize(seen, dim=-1)
    to_thing, to_doing = (direction @ F.normalize(to, dim=-1).T * 12 for to in (things, doings))
    apart = ((seen - things[thing] - doings[doing]) ** 2).sum(-1).mean()
    loss = F.cross_entropy(to_thing, thing) + F.cross_entropy(to_doing, doing) + 0.5 * apart
    return loss, (to_thing.argmax(-1) == thing) & (to_doing.argmax(-1) == doing)


@torch.no_grad()
def _clip_accuracy(model: Any, shots: Tensor, fixed: Tensor) -> float:
    events = np.repeat(np.arange(lessons.N_EVENTS), shots.shape[1])
    seen = lessons.features(model, shots).view(len(events), -1)
    return float(_alignment(seen, events, fixed)[1].float().mean())


def _worn(pixels: Tensor, noise: torch.Generator) -> Tensor:
    """Brightness, contrast and grain that differ from shot to shot, as between encoders."""
    clips = pixels.view(-1, 16, pixels.shape[-1])
    gain = 1 + 0.06 * torch.randn(len(clips), 1, 1, generator=noise)
    shift = 0.06 * torch.randn(len(clips), 1, 1, generator=noise)
    return (clips * gain + shift + 0.04 * torch.randn(clips.shape, generator=noise)).view(pixels.shape)


def learn_to_tell(making: Making, model: Any, shown: Tensor, held_out: Tensor, effort: Effort) -> None:
    model.model.visual.requires_grad_(False)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, 7e-4, betas=(0.9, 0.95), weight_decay=0.01)
    teacher = Teacher(model, shown, np.random.default_rng(making.seed + 1))
    kept, first = making.kept("tell"), 0
    if kept:
        model.load_state_dict(kept["model"])
        optimiser.load_state_dict(kept["optimiser"])
        teacher.restore(kept["teacher"])
        first = kept["step"]
    else:
        _start_by_likeness(model, making.seed)
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
            making.say("held-out drawings,", n, "clips:", _shown(lessons.scores(model, held_out, 100, n)))
        if step % effort.keep_every == effort.keep_every - 1:
            making.say("tell", step + 1, teacher.shown_state())
            state = {"optimiser": optimiser.state_dict(), "teacher": teacher.state(), "step": step + 1}
            making.keep("tell", model=model.state_dict(), **state)


def _start_by_likeness(model: Any, seed: int) -> None:
    """A mimetic start (Trockman and Kolter 2023): attend to what is alike (q = k) and copy it (o = v^T)."""
    noise = torch.Generator().manual_seed(seed)
    head = parts.HIDDEN // parts.HEADS
    for layer in model.model.language_model.layers:
        attention = layer.self_attn
        with torch.no_grad():
            drawn = [torch.randn(parts.HIDDEN, head, generator=noise) for _ in range(parts.HEADS)]
            alike = torch.cat([torch.linalg.qr(x)[0].T for x in drawn])
            for projection in (attention.q_proj, attention.k_proj):
                projection.weight.copy_(alike + 0.02 * torch.randn(alike.shape, generator=noise))
            turn = torch.linalg.qr(torch.randn(parts.HIDDEN, parts.HIDDEN, generator=noise))[0] * 0.4
            attention.v_proj.weight.copy_(turn)
            attention.o_proj.weight.copy_(turn.T)


class Teacher:
    """Gives captions in salience order, lists to copy and content questions, and lets the videos grow."""

    def __init__(self, model: Any, shown: Tensor, rng: np.random.Generator) -> None:
        self.model, self.shots, self.rng = model, shown, rng
        self.most = 4
        self.actions_right = self.lists_right = 0.0
        self.salience = np.random.default_rng(7).permutation(len(lessons.OBJECT_IDS))

    def teach(self) -> None:
        """One step's gradients."""
        n = self.most if self.rng.random() < 0.5 else int(self.rng.integers(2, self.most + 1))
        size = max(12, 256 // n)
        actions = self._captions(n, size)
        lists = self._lists(n, size // 3)
        self._questions(n, size // 3)
        self.actions_right = 0.9 * self.actions_right + 0.1 * actions
        self.lists_right = 0.9 * self.lists_right + 0.1 * lists

    def grow(self) -> bool:
        if self.most > 4 or self.actions_right <= 0.97 or self.lists_right <= 0.9:
            return False
        self.most = 16
        return True

    def in_salience_order(self, events: Any) -> Any:
        return np.take_along_axis(events, np.argsort(self.salience[events // lessons.N_ACTIONS], 1), 1)

    def _captions(self, n: int, size: int) -> float:
        events = lessons.sample_events(self.rng, size, n)
        question = lessons.DESCRIBE_IDS[self.rng.integers(6)]
        told = [lessons.lesson(question, lessons.caption_ids(e), n) for e in self.in_salience_order(events).tolist()]
        return self._learn(told, lessons.pick(self.shots, events, self.rng), 1.0, lessons.ACTION_IDS)

    def _lists(self, n: int, size: int) -> float:
        whole = lessons.sample_events(self.rng, size, n).tolist()
        some = [e[: self.rng.integers(1, n + 1)] if self.rng.random() < 0.4 else e for e in whole]
        told = [lessons.lesson(lessons.list_ids(e), lessons.caption_ids(e)) for e in some]
        return self._learn(told, None, 0.5, lessons.OBJECT_IDS)

    def _questions(self, n: int, size: int) -> None:
        events = lessons.sample_events(self.rng, size, n)
        asked = events[np.arange(size), self.rng.integers(0, n, size)].tolist()
        single = self.rng.integers(0, lessons.N_EVENTS, 8)
        told = [lessons.what_lesson(e, n) for e in asked]
        for event in single.tolist():
            question = lessons.DESCRIBE_IDS[0 if self.rng.random() < 0.5 else self.rng.integers(6)]
            told.append(lessons.lesson(question, lessons.caption_ids([event]), 1))
        seen = torch.cat([lessons.pick(self.shots, x, self.rng) for x in (events, single)])
        self._learn(told, seen, 0.3, lessons.ACTION_IDS)

    def _learn(self, told: list[lessons.Lesson], seen: Tensor | None, weight: float, kind: Tensor) -> float:
        """Add the gradient; returns the accuracy on the words of one kind."""
        logits, targets, _ = lessons.answer_logits(self.model, lessons.batch(told), seen)
        torch.autograd.backward(F.cross_entropy(logits, targets) * weight)
        of_kind = torch.isin(targets, kind)
        return float((logits.argmax(-1) == targets)[of_kind].float().mean())

    def shown_state(self) -> str:
        return f"actions {self.actions_right:.2f} lists {self.lists_right:.2f}"

    def state(self) -> dict[str, Any]:
        return {"rng": self.rng.bit_generator.state, "at": (self.most, self.actions_right, self.lists_right)}

    def restore(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.most, self.actions_right, self.lists_right = state["at"]


def _rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = lr


def _step(loss: Tensor | None, weights: list[Any], optimiser: torch.optim.Optimizer) -> None:
    if loss is not None:
        torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimiser.step()
    optimiser.zero_grad()


def save(making: Making, model: Any, base: dict[int, dict[str, float]], out: Path) -> None:
    model.half().save_pretrained(out)
    parts.processor().save_pretrained(out)
    weights = (out / "model.safetensors").read_bytes()
    record = {
        "tempo_family": "tiny",
        "seed": making.seed,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "bytes": len(weights),
        "cpu_s": round(making.cpu_s()),
        "base_scores": {str(n): {k: round(v, 3) for k, v in values.items()} for n, values in base.items()},
        "log": making.lines,
    }
    (out / "base.json").write_text(json.dumps(record, indent=1) + "\n")


def _shown(values: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.2f}" for name, value in values.items())


if __name__ == "__main__":
    main()
