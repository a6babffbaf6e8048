"""What the embedded model learns to see with: drawn shots as the model gets them, and their embeddings.

Only the making script uses this. An event is a number: object * 8 + action.
"""

from __future__ import annotations

import random
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen

from tempo_core.video_llms.tiny_parts import PATCH_PX, PICTURE_PX, PIXEL_MEAN, PIXEL_STD
from tempo_core.worlds import drawing, world
from tempo_core.worlds.vocabulary import ACTIONS, COLOURS, OBJECTS

N_ACTIONS = len(ACTIONS)
N_EVENTS = len(OBJECTS) * N_ACTIONS


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
