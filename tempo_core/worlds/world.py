"""Short videos whose ordered events are known: for the demo, the tests, the benchmark and the tiny model.

A video is given by (seed, index) alone. One shot is one event; no object comes twice in a video. Captions can be
written in any order, so the caption of a perturbed video is exact as well.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tempo_core.worlds import drawing
from tempo_core.worlds.drawing import Colour, Scene
from tempo_core.worlds.vocabulary import ACTIONS, COLOURS, OBJECTS

BACKGROUNDS: tuple[Colour, ...] = (
    (36, 40, 52), (24, 52, 92), (18, 78, 84), (20, 74, 46), (66, 78, 22), (98, 70, 18), (104, 44, 26), (92, 24, 50),
    (74, 28, 88), (44, 36, 104), (84, 96, 108), (64, 104, 140), (52, 122, 116), (76, 118, 76), (126, 118, 60),
    (142, 98, 62), (132, 76, 84), (112, 82, 128), (78, 60, 52), (120, 116, 112), (12, 14, 20), (40, 92, 24),
    (108, 58, 118), (30, 62, 60),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """How long the videos are. A shot of 8, 10 or 12 frames lasts 0.8, 1.0 or 1.2 s."""

    min_shots: int = 4
    max_shots: int = 16
    fps: int = 10
    shot_frames: tuple[int, ...] = (8, 10, 12)


@dataclass(frozen=True, slots=True)
class Event:
    """What happens in one shot: "red circle" and "rises"."""

    thing: str
    action: str

    def __str__(self) -> str:
        return f"{self.thing} {self.action}"


@dataclass(frozen=True, slots=True)
class WorldVideo:
    """A video before it is drawn. `cuts` are the frame numbers at which a new shot begins (without 0)."""

    seed: int
    index: int
    config: WorldConfig
    scenes: tuple[Scene, ...]

    @property
    def events(self) -> tuple[Event, ...]:
        return tuple(Event(scene.thing, scene.action) for scene in self.scenes)

    @property
    def cuts(self) -> tuple[int, ...]:
        return tuple(int(n) for n in np.cumsum([scene.n_frames for scene in self.scenes])[:-1])


def spec(seed: int, index: int, config: WorldConfig = WorldConfig()) -> WorldVideo:
    """The video number `index` of the world `seed`: the same on every machine."""
    rng = random.Random(f"tempo-world-1|{seed}|{index}")
    n_shots = rng.randint(config.min_shots, config.max_shots)
    things = rng.sample(OBJECTS, n_shots)
    scenes: list[Scene] = []
    for thing in things:
        background = _background(rng, thing, [scene.background for scene in scenes])
        scenes.append(scene_of(rng, thing, rng.choice(ACTIONS), background, rng.choice(config.shot_frames)))
    return WorldVideo(seed, index, config, tuple(scenes))


def scene_of(rng: random.Random, thing: str, action: str, background: Colour, n_frames: int = 10) -> Scene:
    """One shot of an event, its looks drawn from `rng`."""
    jittered = tuple(min(150, max(6, c + rng.randint(-8, 8))) for c in background)
    return Scene(
        thing=thing,
        action=action,
        n_frames=n_frames,
        background=(jittered[0], jittered[1], jittered[2]),
        pattern=rng.randrange(4),
        light=rng.uniform(0, 6.283),
        x=rng.uniform(-0.1, 0.1),
        y=rng.uniform(-0.1, 0.1),
        radius=rng.uniform(0.42, 0.54),
        way=rng.uniform(0.8, 1.05),
    )


def draw(video: WorldVideo, size_px: int = 240) -> Iterator[NDArray[np.uint8]]:
    """The pictures in order: RGB, (H, W, 3)."""
    for scene in video.scenes:
        behind = drawing.backdrop(scene, size_px)
        for i in range(scene.n_frames):
            yield drawing.picture(scene, (i + 0.5) / scene.n_frames, size_px, behind)


def write(video: WorldVideo, path: Path, size_px: int = 240) -> None:
    """Write an H.264 file, and `<path>.json` beside it with the events that are true of it."""
    with av.open(str(path), "w", format="mp4") as container:
        options = {"preset": "veryfast", "crf": "20", "g": "10", "bf": "0", "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(video.config.fps), options=options)
        stream.width = stream.height = size_px
        stream.pix_fmt = "yuv420p"
        for pixels in draw(video, size_px):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    write_events(video, path)


def write_events(video: WorldVideo, path: Path) -> None:
    """Only the file beside the video at `path`."""
    side = {"seed": video.seed, "index": video.index, "config": asdict(video.config), "cuts": video.cuts}
    side["events"] = [asdict(event) for event in video.events]
    Path(f"{path}.json").write_text(json.dumps(side, indent=1) + "\n")


def read_events(path: Path) -> tuple[Event, ...] | None:
    """The events of a drawn video from the file beside it; None for any other video."""
    side = _side(path)
    return None if side is None else tuple(Event(e["thing"], e["action"]) for e in side["events"])


def read_spec(path: Path) -> WorldVideo | None:
    """The whole description of a drawn video, made again from the file beside it; None for any other video."""
    side = _side(path)
    if side is None:
        return None
    config = side["config"] | {"shot_frames": tuple(side["config"]["shot_frames"])}
    return spec(side["seed"], side["index"], WorldConfig(**config))


def caption(video: WorldVideo, order: Sequence[int] | None = None) -> str:
    """The exact caption when the clips are shown in `order` (None: as they are)."""
    events = video.events
    return caption_of([events[i] for i in (range(len(events)) if order is None else order)])


def caption_of(events: Sequence[Event]) -> str:
    return ", then ".join(str(event) for event in events) + "."


_EVENT = re.compile(f"({'|'.join(OBJECTS)}) ({'|'.join(ACTIONS)})")


def parse_events(text: str) -> list[Event]:
    """The events that a text names, in its order, with repetitions."""
    return [Event(*match) for match in _EVENT.findall(text)]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a text agrees with what happened. `order` is the share of event pairs told in their true order."""

    recall: float
    precision: float
    order: float | None
    """None with fewer than two true events told; chance is 0.5."""


def agreement(true: Sequence[Event], text: str) -> Agreement:
    told = parse_events(text)
    found = set(told) & set(true)
    at = [told.index(event) for event in true if event in found]
    pairs = [at[i] < at[j] for i in range(len(at)) for j in range(i + 1, len(at))]
    order = sum(pairs) / len(pairs) if pairs else None
    return Agreement(len(found) / len(true), len(found) / max(1, len(told)), order)


def _side(path: Path) -> dict[str, Any] | None:
    side = Path(f"{path}.json")
    if not side.is_file():
        return None
    read: dict[str, Any] = json.loads(side.read_text())
    return read


def _background(rng: random.Random, thing: str, before: Sequence[Colour]) -> Colour:
    """A background not yet used in this video, clear of the actor, and unlike the shot before."""
    actor = COLOURS[thing.split(" ")[0]]
    free = [b for b in BACKGROUNDS if not any(math.dist(b, used) < 24 for used in before)]
    clear = [b for b in free if math.dist(b, actor) > 110]
    if not before:
        return rng.choice(clear)
    unlike = [b for b in clear if math.dist(b, before[-1]) > 75]
    return rng.choice(unlike) if unlike else max(clear or free, key=lambda b: math.dist(b, before[-1]))
