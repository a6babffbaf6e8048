"""What the embedded models are taught to say: batches of token ids, without a processor, and the teacher.

Only the making script uses this. An event is a number: object * 8 + action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from tempo_core.video_llms.tiny_shots import N_ACTIONS, N_EVENTS, pick
from tempo_core.video_llms.tiny_students import Layout, Student
from tempo_core.video_llms.tiny_words import ASSISTANT, END, PAD, USER, VISION_END, VISION_START
from tempo_core.worlds.vocabulary import ACTIONS, DESCRIBE, FROM_CAPTIONS, OBJECTS, WORDS, words

ID = {word: i for i, word in enumerate(WORDS)}
OBJECT_IDS = torch.tensor([ID[thing] for thing in OBJECTS])
ACTION_IDS = torch.tensor([ID[action] for action in ACTIONS])
Events = NDArray[np.int64]
Lesson = tuple[list[int], list[int]]
"""Prompt and answer, both as token ids."""


def ids(text: str) -> list[int]:
    return [ID[word] for word in words(text)]


EVENT_IDS = [[ID[OBJECTS[e // N_ACTIONS]], ID[ACTIONS[e % N_ACTIONS]]] for e in range(N_EVENTS)]
DESCRIBE_IDS = [ids(text) for text in DESCRIBE]
WHAT_IDS = [ids(f"What does the {thing} do?") for thing in OBJECTS]
_THEN, _STOP = ID[", then"], ID["."]


def sample_events(rng: np.random.Generator, n_videos: int, n_clips: int) -> Events:
    things = np.argsort(rng.random((n_videos, len(OBJECTS))), 1)[:, :n_clips]
    return things * N_ACTIONS + rng.integers(0, N_ACTIONS, (n_videos, n_clips))


def caption_ids(events: Sequence[int]) -> list[int]:
    out: list[int] = []
    for i, event in enumerate(events):
        out += ([_THEN] if i else []) + EVENT_IDS[event]
    return [*out, _STOP]


def list_ids(events: Sequence[int]) -> list[int]:
    out = ids(FROM_CAPTIONS)
    for i, event in enumerate(events, start=1):
        out += [ID[f"{i}:"], *EVENT_IDS[event]]
    return out


def lesson(question: Sequence[int], answer: Sequence[int], n_clips: int, layout: Layout) -> Lesson:
    video = [VISION_START, *layout.video(n_clips), VISION_END] if n_clips else []
    return [USER, *video, *question, ASSISTANT], [*answer, END]


def what_lesson(event: int, n_clips: int, layout: Layout) -> Lesson:
    return lesson(WHAT_IDS[event // N_ACTIONS], [ID[ACTIONS[event % N_ACTIONS]], _STOP], n_clips, layout)


@dataclass(frozen=True, slots=True)
class Batch:
    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    """(R, B, L)"""
    labels: Tensor


def batch(lessons: Sequence[Lesson], layout: Layout, *, pad_left: bool = False) -> Batch:
    length, n = max(len(a) + len(b) for a, b in lessons), len(lessons)
    tokens, labels = torch.full((n, length), PAD), torch.full((n, length), -100)
    mask = torch.zeros(n, length, dtype=torch.long)
    positions = torch.zeros(layout.position_rows, n, length, dtype=torch.long)
    for i, (prompt, answer) in enumerate(lessons):
        row = prompt + answer
        start = length - len(row) if pad_left else 0
        end = start + len(row)
        tokens[i, start:end], mask[i, start:end] = torch.tensor(row), 1
        labels[i, start + len(prompt) : end] = torch.tensor(answer, dtype=torch.long)
        positions[:, i, start:end] = layout.positions(row)
    return Batch(tokens, mask, positions, labels)


def hidden(student: Student, of: Batch, seen: Tensor | None, cache: Any = None) -> Tensor:
    positions = of.position_ids
    out = student.text(
        inputs_embeds=student.embed(of.input_ids, seen),
        attention_mask=of.attention_mask,
        position_ids=positions if len(positions) > 1 else positions[0],
        past_key_values=cache,
        use_cache=cache is not None,
    )
    return out.last_hidden_state  # type: ignore[no-any-return]


def answer_logits(student: Student, of: Batch, seen: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Logits and targets at the places of the answers only, and which row each belongs to."""
    states, targets = hidden(student, of, seen), of.labels[:, 1:]
    where = targets != -100
    return student.model.lm_head(states[:, :-1][where]), targets[where], where.nonzero()[:, 0]


@torch.no_grad()
def log_probs(student: Student, lessons: Sequence[Lesson], seen: Tensor, size: int = 128) -> Tensor:
    """Summed over each answer."""
    out, at = [], 0
    for i in range(0, len(lessons), size):
        some = lessons[i : i + size]
        n = sum(student.layout.n_clips(prompt) for prompt, _ in some)
        logits, targets, row = answer_logits(student, batch(some, student.layout), seen[at : at + n])
        losses = F.cross_entropy(logits.float(), targets, reduction="none")
        out.append(torch.zeros(len(some)).index_add(0, row, -losses))
        at += n
    return torch.cat(out)


@torch.no_grad()
def generate(
    student: Student, prompts: Sequence[list[int]], seen: Tensor, max_new: int, size: int = 256
) -> list[list[int]]:
    """Greedy answers."""
    out, at = [], 0
    for i in range(0, len(prompts), size):
        some = prompts[i : i + size]
        n = sum(map(student.layout.n_clips, some))
        start = batch([(prompt, []) for prompt in some], student.layout, pad_left=True)
        out += _generate(student, start, seen[at : at + n], max_new)
        at += n
    return out


def _generate(student: Student, start: Batch, seen: Tensor, max_new: int) -> list[list[int]]:
    cache = DynamicCache(config=student.model.config.text_config)
    state, mask = hidden(student, start, seen, cache)[:, -1], start.attention_mask
    position = start.position_ids[:, :, -1:].amax(0, keepdim=True)
    done, steps = torch.zeros(len(mask), dtype=torch.bool), []
    for _ in range(max_new):
        token = torch.where(done, torch.tensor(PAD), student.model.lm_head(state).argmax(-1))
        steps.append(token)
        done |= token == END
        if done.all():
            break
        position, mask = position + 1, torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        one = Batch(token[:, None], mask, position.expand(student.layout.position_rows, -1, -1), token[:, None])
        state = hidden(student, one, None, cache)[:, -1]
    return [[t for t in row if t not in (PAD, END)] for row in torch.stack(steps, 1).tolist()]


class Teacher:
    """Gives captions in salience order, lists to copy and content questions, and lets the videos grow."""

    def __init__(self, student: Student, shown: Tensor, rng: np.random.Generator) -> None:
        self.student, self.shots, self.rng = student, shown, rng
        self.layout = student.layout
        self.most = 4
        self.actions_right = self.lists_right = 0.0
        self.salience = np.random.default_rng(7).permutation(len(OBJECT_IDS))

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
        return np.take_along_axis(events, np.argsort(self.salience[events // N_ACTIONS], 1), 1)

    def _captions(self, n: int, size: int) -> float:
        events = sample_events(self.rng, size, n)
        question = DESCRIBE_IDS[self.rng.integers(6)]
        told = [lesson(question, caption_ids(e), n, self.layout) for e in self.in_salience_order(events).tolist()]
        return self._learn(told, pick(self.shots, events, self.rng), 1.0, ACTION_IDS)

    def _lists(self, n: int, size: int) -> float:
        whole = sample_events(self.rng, size, n).tolist()
        some = [e[: self.rng.integers(1, n + 1)] if self.rng.random() < 0.4 else e for e in whole]
        told = [lesson(list_ids(e), caption_ids(e), 0, self.layout) for e in some]
        return self._learn(told, None, 0.5, OBJECT_IDS)

    def _questions(self, n: int, size: int) -> None:
        events = sample_events(self.rng, size, n)
        asked = events[np.arange(size), self.rng.integers(0, n, size)].tolist()
        single = self.rng.integers(0, N_EVENTS, 8)
        told = [what_lesson(e, n, self.layout) for e in asked]
        for event in single.tolist():
            question = DESCRIBE_IDS[0 if self.rng.random() < 0.5 else self.rng.integers(6)]
            told.append(lesson(question, caption_ids([event]), 1, self.layout))
        seen = torch.cat([pick(self.shots, x, self.rng) for x in (events, single)])
        self._learn(told, seen, 0.3, ACTION_IDS)

    def _learn(self, told: list[Lesson], seen: Tensor | None, weight: float, kind: Tensor) -> float:
        """Add the gradient; returns the accuracy on the words of one kind."""
        logits, targets, _ = answer_logits(self.student, batch(told, self.layout), seen)
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
