"""What the embedded models learn to see with: drawn shots as they get them, and their embeddings.

Only the making script uses this. An event is a number: object * 8 + action.
"""

from __future__ import annotations

import random
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tempo_core.video_llms.tiny_students import Student
from tempo_core.video_llms.tiny_words import PICTURE_PX
from tempo_core.worlds import drawing, world
from tempo_core.worlds.vocabulary import ACTIONS, COLOURS, OBJECTS

N_ACTIONS = len(ACTIONS)
N_EVENTS = len(OBJECTS) * N_ACTIONS


def pictures_of(rng: random.Random, event: int, size_px: int = 144) -> NDArray[np.uint8]:
    """Two key frames of a freshly drawn shot as a model gets them: (2, H, W, 3), partly with JPEG artefacts.

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


def bank(n_each: int, seed: int) -> Tensor:
    """Drawn shots of every event: (N_EVENTS, n_each, 2, 48, 48, 3) uint8."""
    rng = random.Random(f"tempo-bank-1|{seed}")
    out = np.zeros((N_EVENTS, n_each, 2, PICTURE_PX, PICTURE_PX, 3), np.uint8)
    for event in range(N_EVENTS):
        for k in range(n_each):
            out[event, k] = pictures_of(rng, event)
    return torch.from_numpy(out)


@torch.no_grad()
def features(student: Student, shots: Tensor) -> Tensor:
    """(N_EVENTS, n_each, K * D): of every shot the K visual tokens that the model makes of it."""
    flat = shots.flatten(0, 1)
    parts = (flat[i : i + 2048] for i in range(0, len(flat), 2048))
    return torch.cat([student.see(student.pixels(part)) for part in parts]).view(*shots.shape[:2], -1)


def pick(shots: Tensor, events: Any, rng: np.random.Generator) -> Tensor:
    """One drawn shot (or its embedding) of each event, in order."""
    flat = np.asarray(events).reshape(-1)
    return shots[torch.as_tensor(flat), torch.as_tensor(rng.integers(0, shots.shape[1], len(flat)))]
