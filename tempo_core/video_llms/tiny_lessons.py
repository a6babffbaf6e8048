"""What the embedded model is taught with, and how its base is measured: batches of token ids, without a processor.

Only the making script uses this. An event is a number: object * 8 + action.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen

from tempo_core.video_llms.tiny_parts import (
    ASSISTANT,
    END,
    PAD,
    PATCH_PX,
    PICTURE_PX,
    PIXEL_MEAN,
    PIXEL_STD,
    USER,
    VIDEO,
    VISION_END,
    VISION_START,
)
from tempo_core.worlds import drawing, world
from tempo_core.worlds.vocabulary import ACTIONS, COLOURS, DESCRIBE, FROM_CAPTIONS, OBJECTS, WORDS, words

N_ACTIONS = len(ACTIONS)
N_EVENTS = len(OBJECTS) * N_ACTIONS
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


# --- pictures


def pictures_of(rng: random.Random, event: int, size_px: int = 144) -> NDArray[np.uint8]:
    """Two key frames of a freshly drawn shot as the model gets them: (2, H, W, 3), partly with JPEG artefacts.

    The moments are those that a timeline can choose for a clip of 8, 10 or 12 frames: within a sixth of its length
    around 1/3 and 2/3.
    """
    thing = OBJECTS[event // N_ACTIONS]
    clear = [b for b in world.BACKGROUNDS if np.linalg.norm(np.subtract(b, COLOURS[thing.split(" ")[0]])) > 110]
    n = rng.choice((8, 10, 12))
    scene = world.scene_of(rng, thing, ACTIONS[event % N_ACTIONS], rng.choice(clear), n)
    behind = drawing.backdrop(scene, size_px)
    shown = []
    for third in (1, 2):
        near = [i for i in range(n) if abs(i - third * n / 3) < n / 6]
        shown.append(shrink(drawing.picture(scene, (rng.choice(near) + 0.5) / n, size_px, behind), rng))
    return np.stack(shown)


def shrink(pixels: NDArray[np.uint8], rng: random.Random | None = None) -> NDArray[np.uint8]:
    if rng is not None and rng.random() < 0.6:
        coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, rng.randint(35, 95)])[1]
        pixels = np.asarray(cv2.imdecode(coded, cv2.IMREAD_UNCHANGED), np.uint8)
    return np.asarray(cv2.resize(pixels, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_AREA), np.uint8)


def patches(pair: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(2, 48, 48, 3) -> (16, 864), as the processor lays them out: patch by patch, each colour, time, row, column."""
    g, p = PICTURE_PX // PATCH_PX, PATCH_PX
    x = pair.transpose(0, 3, 1, 2).reshape(2, 3, g, p, g, p).transpose(2, 4, 1, 0, 3, 5)
    return x.reshape(g * g, 3 * 2 * p * p)


def bank(n_each: int, seed: int) -> Tensor:
    """Drawn shots of every event: (N_EVENTS, n_each, 16, 864) uint8."""
    rng = random.Random(f"tempo-bank-1|{seed}")
    out = np.zeros((N_EVENTS, n_each, 16, 864), np.uint8)
    for event in range(N_EVENTS):
        for k in range(n_each):
            out[event, k] = patches(pictures_of(rng, event))
    return torch.from_numpy(out)


def normalised(raw: Tensor) -> Tensor:
    return raw.float().div_(255).sub_(PIXEL_MEAN).div_(PIXEL_STD).view(-1, raw.shape[-1])


def see(model: Any, pixels: Tensor) -> Tensor:
    """Patches (S*16, 864) -> one embedding per clip (S, D)."""
    return model.model.visual(pixels, grid_thw=torch.tensor([[len(pixels) // 16, 4, 4]])).pooler_output  # type: ignore[no-any-return]


@torch.no_grad()
def features(model: Any, shots: Tensor) -> Tensor:
    flat = shots.view(-1, 16, shots.shape[-1])
    done = [see(model, normalised(flat[i : i + 2048])) for i in range(0, len(flat), 2048)]
    return torch.cat(done).view(*shots.shape[:2], -1)


def pick(shots: Tensor, events: Any, rng: np.random.Generator) -> Tensor:
    """One drawn shot (or its embedding) of each event, in order."""
    flat = np.asarray(events).reshape(-1)
    return shots[torch.as_tensor(flat), torch.as_tensor(rng.integers(0, shots.shape[1], len(flat)))]


def quick_vision_attention(
    self: Any, hidden_states: Tensor, cu_seqlens: Tensor, position_embeddings: Any = None, **_: Any
) -> Tensor:
    """Equal to the original for clips of equal size, without its loop over clips; for this script only."""
    n, length = len(hidden_states), int(cu_seqlens[1] - cu_seqlens[0])
    q, k, v = self.qkv(hidden_states).reshape(n, 3, self.num_heads, -1).permute(1, 0, 2, 3).unbind(0)
    q, k = qwen.apply_rotary_pos_emb_vision(q, k, *position_embeddings)
    q, k, v = (x.reshape(n // length, length, self.num_heads, -1).transpose(1, 2) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, -1)
    return self.proj(mixed)  # type: ignore[no-any-return]


# --- lessons


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


def lesson(question: Sequence[int], answer: Sequence[int], n_clips: int = 0) -> Lesson:
    video = [VISION_START, *[VIDEO] * n_clips, VISION_END] if n_clips else []
    return [USER, *video, *question, ASSISTANT], [*answer, END]


def what_lesson(event: int, n_clips: int) -> Lesson:
    return lesson(WHAT_IDS[event // N_ACTIONS], [ID[ACTIONS[event % N_ACTIONS]], _STOP], n_clips)


@dataclass(frozen=True, slots=True)
class Batch:
    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    labels: Tensor


def batch(lessons: Sequence[Lesson], pad_left: bool = False) -> Batch:
    length, n = max(len(a) + len(b) for a, b in lessons), len(lessons)
    tokens, labels = torch.full((n, length), PAD), torch.full((n, length), -100)
    mask, positions = torch.zeros(n, length, dtype=torch.long), torch.zeros(3, n, length, dtype=torch.long)
    for i, (prompt, answer) in enumerate(lessons):
        row = prompt + answer
        start = length - len(row) if pad_left else 0
        end = start + len(row)
        tokens[i, start:end], mask[i, start:end] = torch.tensor(row), 1
        labels[i, start + len(prompt) : end] = torch.tensor(answer, dtype=torch.long)
        positions[:, i, start:end] = _positions(row)
    return Batch(tokens, mask, positions, labels)


def _positions(row: list[int]) -> Tensor:
    """Video token t at (p + t, p, p); the text goes on after the largest (a test compares with `rope_index`)."""
    out = torch.arange(len(row)).expand(3, -1).clone()
    n = row.count(VIDEO)
    if n:
        at = row.index(VIDEO)
        out[1:, at : at + n] = at
    return out


def hidden(model: Any, of: Batch, seen: Tensor | None, cache: Any = None) -> Tensor:
    embedded = model.model.language_model.embed_tokens(of.input_ids)
    if seen is not None and len(seen):
        where = (of.input_ids == VIDEO).unsqueeze(-1).expand_as(embedded)
        embedded = embedded.masked_scatter(where, seen.to(embedded.dtype))
    out = model.model.language_model(
        inputs_embeds=embedded,
        attention_mask=of.attention_mask,
        position_ids=of.position_ids,
        past_key_values=cache,
        use_cache=cache is not None,
    )
    return out.last_hidden_state  # type: ignore[no-any-return]


def answer_logits(model: Any, of: Batch, seen: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Logits and targets at the places of the answers only, and which row each belongs to."""
    states, targets = hidden(model, of, seen), of.labels[:, 1:]
    where = targets != -100
    return model.lm_head(states[:, :-1][where]), targets[where], where.nonzero()[:, 0]


@torch.no_grad()
def log_probs(model: Any, lessons: Sequence[Lesson], seen: Tensor, size: int = 128) -> Tensor:
    """Summed over each answer."""
    out, at = [], 0
    for i in range(0, len(lessons), size):
        some = lessons[i : i + size]
        n = sum(prompt.count(VIDEO) for prompt, _ in some)
        logits, targets, row = answer_logits(model, batch(some), seen[at : at + n])
        losses = F.cross_entropy(logits.float(), targets, reduction="none")
        out.append(torch.zeros(len(some)).index_add(0, row, -losses))
        at += n
    return torch.cat(out)


@torch.no_grad()
def generate(model: Any, prompts: Sequence[list[int]], seen: Tensor, max_new: int, size: int = 256) -> list[list[int]]:
    """Greedy answers."""
    out, at = [], 0
    for i in range(0, len(prompts), size):
        some = prompts[i : i + size]
        n = sum(prompt.count(VIDEO) for prompt in some)
        out += _generate(model, batch([(prompt, []) for prompt in some], pad_left=True), seen[at : at + n], max_new)
        at += n
    return out


def _generate(model: Any, start: Batch, seen: Tensor, max_new: int) -> list[list[int]]:
    cache = DynamicCache(config=model.config.text_config)
    state, mask = hidden(model, start, seen, cache)[:, -1], start.attention_mask
    position = start.position_ids[:, :, -1:].amax(0, keepdim=True)
    done, steps = torch.zeros(len(mask), dtype=torch.bool), []
    for _ in range(max_new):
        token = torch.where(done, torch.tensor(PAD), model.lm_head(state).argmax(-1))
        steps.append(token)
        done |= token == END
        if done.all():
            break
        position, mask = position + 1, torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        one = Batch(token[:, None], mask, position.expand(3, -1, -1), token[:, None])
        state = hidden(model, one, None, cache)[:, -1]
    return [[t for t in row if t not in (PAD, END)] for row in torch.stack(steps, 1).tolist()]


def parse(tokens: Sequence[int]) -> list[int]:
    """The events that an answer names."""
    things = {int(t): i for i, t in enumerate(OBJECT_IDS)}
    doings = {int(t): i for i, t in enumerate(ACTION_IDS)}
    pairs = pairwise(tokens)
    return [things[a] * N_ACTIONS + doings[b] for a, b in pairs if a in things and b in doings]


# --- measures


def scores(model: nn.Module, shown: Tensor, n: int, n_clips: int, seed: int = 20251) -> dict[str, float]:
    """Recall and order of greedy captions, the swap and group tests, and content questions, on `n` fresh videos."""
    model.eval()
    rng = np.random.default_rng(seed)
    events = sample_events(rng, n, n_clips)
    seen = pick(shown, events, rng)
    out = _likelihoods(model, rng, events, seen)
    answers = generate(model, [lesson(DESCRIBE_IDS[4], [], n_clips)[0]] * n, seen, 4 * n_clips + 10)
    found = [parse(answer) for answer in answers]
    both = list(zip(events.tolist(), found, strict=True))
    out["recall"] = float(np.mean([len(set(told) & set(true)) / n_clips for true, told in both]))
    orders = [order_of(true, told) for true, told in both]
    out["order"] = float(np.mean([0.5 if x is None else x for x in orders]))
    asked = events[np.arange(n), rng.integers(0, n_clips, n)].tolist()
    said = generate(model, [what_lesson(e, n_clips)[0] for e in asked], seen, 4)
    right = [answer[:1] == [ID[ACTIONS[e % N_ACTIONS]]] for answer, e in zip(said, asked, strict=True)]
    out["content_questions"] = float(np.mean(right))
    model.train()
    return out


def _likelihoods(model: nn.Module, rng: np.random.Generator, events: Events, seen: Tensor) -> dict[str, float]:
    """Swap: the true caption against one with two events exchanged. Group: Vinoground's, both ways right."""
    n, n_clips = events.shape
    order = np.tile(np.arange(n_clips), (n, 1))
    for row in order:
        i, j = rng.choice(n_clips, 2, replace=False)
        row[[i, j]] = row[[j, i]]
    other = np.take_along_axis(events, order, 1)
    places = torch.as_tensor(order)[:, :, None].expand(-1, -1, seen.shape[-1])
    seen_other = seen.view(n, n_clips, -1).gather(1, places).reshape(-1, seen.shape[-1])

    def of(told: Events, video: Tensor) -> Tensor:
        return log_probs(model, [lesson(DESCRIBE_IDS[4], caption_ids(e), n_clips) for e in told.tolist()], video)

    true, swapped, crossed, both = of(events, seen), of(other, seen), of(events, seen_other), of(other, seen_other)
    text, video = (true > swapped) & (both > crossed), (true > crossed) & (both > swapped)
    return {"swap": float((true > swapped).float().mean()), "group": float((text & video).float().mean())}


def order_of(true: Sequence[int], told: Sequence[int]) -> float | None:
    """Share of event pairs told in their true order; None with fewer than two true events."""
    at = [told.index(e) for e in true if e in told]
    if len(at) < 2:
        return None
    return float(np.mean([at[i] < at[j] for i in range(len(at)) for j in range(i + 1, len(at))]))
