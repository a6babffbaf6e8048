"""How one shot looks: a sticker-like shape with a soft shadow on its own background, doing one thing.

The action happens between 0.2 and 0.8 of the shot, so that the two key frames near 1/3 and 2/3 tell it apart.
Everything is drawn from the numbers in `Scene`; nothing here is random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tempo_core.worlds.vocabulary import COLOURS

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

_STEPS = 16  # cv2 takes sixteenths of a pixel (shift=4)
_BORDER = 250


@dataclass(frozen=True, slots=True)
class Scene:
    """One shot. Lengths are halves of the picture's side; (0, 0) is its middle, y grows downwards."""

    thing: str
    action: str
    n_frames: int
    background: Colour
    pattern: int
    """0 plain, 1 stripes, 2 dots, 3 floor."""
    light: float
    """Direction of the background's gradient, in radians."""
    x: float
    y: float
    radius: float
    way: float
    """How far a movement goes in all."""


def backdrop(scene: Scene, size_px: int) -> NDArray[np.float32]:
    """The background with its gradient and faint pattern, (3, H, W): planes, because they blend five times faster."""
    axis = np.linspace(-1, 1, size_px, dtype=np.float32)
    x, y = axis[None, :], axis[:, None]
    shade = 16 * (x * math.cos(scene.light) + y * math.sin(scene.light))
    shade = shade - 10 * (x * x + y * y - 0.6)  # a soft vignette
    if scene.pattern == 1:
        shade = shade + 5 * np.clip(3 * np.sin(14 * (x + y)), -1, 1)
    elif scene.pattern == 2:
        shade = shade + 9 * np.clip(6 * (np.cos(13 * x) * np.cos(13 * y) - 0.72), 0, 1)
    elif scene.pattern == 3:
        shade = shade + 12 * np.clip((y - 0.55) * 0.25 * size_px, 0, 1)
    plain = np.array(scene.background, np.float32)[:, None, None]
    return np.asarray(np.clip(plain + shade.astype(np.float32), 0, 255), np.float32)


def picture(scene: Scene, u: float, size_px: int, behind: NDArray[np.float32] | None = None) -> Picture:
    """The shot at time u in [0, 1]: RGB, (H, W, 3). `behind` saves drawing the backdrop again."""
    behind = backdrop(scene, size_px) if behind is None else behind
    x, y, radius, alpha = pose(scene, u)
    colour, shape = scene.thing.split(" ")
    outline, inside, shadow = (mask * np.float32(1 / 255) for mask in _masks(shape, x, y, radius, size_px))
    cover = outline * np.float32(alpha)
    ground = (1 - shadow * np.float32(0.42 * alpha)) * (1 - cover)
    filled = cover * inside
    border = (cover - filled) * np.float32(_BORDER)
    planes = [behind[k] * ground + filled * np.float32(COLOURS[colour][k]) + border for k in range(3)]
    return np.asarray(cv2.convertScaleAbs(cv2.merge(planes)), np.uint8)


def pose(scene: Scene, u: float) -> tuple[float, float, float, float]:
    """Where the actor is at time u: x, y, radius, and how visible (0..1)."""
    at = min(1.0, max(0.0, (u - 0.2) / 0.6))
    done = at * at * (3 - 2 * at)
    step = scene.way * (done - 0.5)
    shift = {"rises": (0.0, -step), "falls": (0.0, step), "moves left": (-step, 0.0), "moves right": (step, 0.0)}
    dx, dy = shift.get(scene.action, (0.0, 0.0))
    size = {"grows": 0.55 + 0.7 * done, "shrinks": 1.25 - 0.7 * done}.get(scene.action, 1.0)
    alpha = {"appears": done, "vanishes": 1 - done}.get(scene.action, 1.0)
    return scene.x + dx, scene.y + dy, scene.radius * size, alpha


def _masks(shape: str, x: float, y: float, radius: float, size_px: int) -> tuple[Picture, Picture, Picture]:
    """Outline (with its white border), inside, and shadow, each (H, W) uint8, anti-aliased."""
    half = size_px / 2
    middle = np.array([x, y]) * half + half
    contours = [np.round((points * radius * half + middle) * _STEPS).astype(np.int32) for points in _SHAPES[shape]]
    inside = np.zeros((size_px, size_px), np.uint8)
    cv2.fillPoly(inside, contours, 255, cv2.LINE_AA, shift=4)
    outline = inside.copy()
    width = max(1, round(size_px * 0.018))
    cv2.polylines(outline, contours, True, 255, width, cv2.LINE_AA, shift=4)
    return outline, inside, _shadow(outline)


def _shadow(outline: Picture) -> Picture:
    """The outline moved down and blurred, at a quarter of the size: nobody sees the difference."""
    size_px = len(outline)
    small = cv2.resize(outline, (size_px // 4, size_px // 4), interpolation=cv2.INTER_AREA)
    small = np.roll(small, (max(1, size_px // 120), max(1, size_px // 240)), axis=(0, 1))
    small = cv2.GaussianBlur(small, (0, 0), size_px * 0.0055)
    return np.asarray(cv2.resize(small, (size_px, size_px), interpolation=cv2.INTER_LINEAR), np.uint8)


def _circle(radius: float) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _cross(arm: float) -> NDArray[np.float64]:
    a = arm
    right = [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a)]
    return np.array(right + [(-x, -y) for x, y in right], np.float64)


_SHAPES: dict[str, tuple[NDArray[np.float64], ...]] = {
    "circle": (_circle(0.95),),
    "square": (np.array([(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]),),
    "triangle": (np.array([(0.0, -1.0), (1.05, 0.85), (-1.05, 0.85)]),),
    "ring": (_circle(1.0), _circle(0.5)),
    "cross": (_cross(0.33),),
}
