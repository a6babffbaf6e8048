"""A very small run for the tests: four drawn "videos", pairs in two levels, and what a run says while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempo_core.recipes import Phase, RunConfig
from tempo_core.training.chain import Link
from tempo_core.training.report import PairScore
from tempo_core.types import Example, Metric, PlannedPair, PreferencePair, Progress, Stage, Video

KEY_FRAMES = ((0, 5), (10, 15), (20, 25))
TIMES = "t" * 64
CONFIG = RunConfig(
    recipe="dpo",
    pairs_per_step=4,
    micro_batch=4,
    dpo_lr=5e-3,
    sft_lr=5e-3,
    sft_examples_per_step=4,
    sft_steps=2,
    lora_r=4,
    lora_alpha=8,
    checkpoint_every=2,
    gradient_checkpointing=False,
    dtype="float32",
    lr_scheduler="constant",
    warmup=0.0,
)
FIRST = ["a red square", "a blue circle", "the video", "a man opens the door", "the scene changes"]
THEN = ["moving left", "appears", "after", "before while next", "finally", "in detail", "first second third"]


@dataclass(frozen=True)
class Plan:
    planned: tuple[PlannedPair, ...]
    stages: tuple[Stage, ...]


def video(number: int) -> Video:
    return Video(f"{number:064d}", Path(f"video{number}.mp4"), Fraction(10), 30, 3.0, 56, 56)


def pictures(shown: Video, times_sha256: str, numbers: Sequence[int]) -> NDArray[np.uint8]:
    """Noise over a colour of its own for every frame: another video or another order is another answer."""
    assert times_sha256 == TIMES
    rows = []
    for number in numbers:
        rng = np.random.default_rng([int(shown.sha256), number])
        rows.append(rng.integers(0, 200, (1, 1, 3)) + rng.integers(0, 56, (56, 56, 3)))
    return np.stack(rows).astype(np.uint8)


def make_pairs(n: int, n_levels: int = 2) -> dict[int, PreferencePair]:
    pairs = {}
    for i in range(n):
        rng = np.random.default_rng(i)
        chosen, rejected = (" ".join([rng.choice(FIRST), *rng.choice(THEN, 2 + i % 2)]) for _ in range(2))
        pairs[100 + i] = PreferencePair(
            pair_id=100 + i,
            uid=f"pair-{i}",
            video=video(i % 4),
            times_sha256=TIMES,
            clip_key_frames=KEY_FRAMES if i % 4 else KEY_FRAMES[:2],
            prompt="describe the video in detail." if i % 3 else "the video starts",
            chosen=f"{chosen} {i}",
            rejected=f"{rejected} B",
            kind="shuffle",
            magnitude=4,
            difficulty=i / n,
            level=1 + i * n_levels // n,
        )
    return pairs


def make_plan(pairs: dict[int, PreferencePair], per_step: int = 4, *, mixed: bool = False) -> Plan:
    """One stage a level (or one in all), an order that is not the one of the ids."""
    levels = sorted({pair.level for pair in pairs.values()}, key=lambda level: level or 0)
    groups = [tuple(levels)] if mixed else [(level,) for level in levels]
    planned: list[PlannedPair] = []
    for stage, group in enumerate(groups):
        members = [pair for pair in pairs.values() if pair.level in group]
        for i in np.random.default_rng(7).permutation(len(members)):
            pair, ordinal = members[i], len(planned)
            planned.append(PlannedPair(ordinal, ordinal // per_step, stage, pair.pair_id, pair.level, pair.difficulty))
    stages = tuple(Stage("all" if mixed else f"l{group[0]}", group) for group in groups)
    return Plan(tuple(planned), stages)


def make_examples(n: int) -> list[Example]:
    return [
        Example(f"e{i}", video(i % 4), TIMES, KEY_FRAMES, "What happens first?", f"{FIRST[i % 5]} {THEN[i % 7]}")
        for i in range(n)
    ]


class Killed(BaseException):
    """Ends a run without warning, wherever it is raised."""


@dataclass
class Heard:
    """Keeps what a run says, as the database does: steps beyond a resumed one are forgotten."""

    stop_at: int | None = None
    kill_at: int | None = None
    kill_in: str = "metrics"
    values: dict[tuple[str, int], float] = field(default_factory=dict)
    stages: list[tuple[Any, ...]] = field(default_factory=list)
    links: dict[int, Link] = field(default_factory=dict)
    checkpoints: list[tuple[int, int, Path, str]] = field(default_factory=list)
    scores: dict[str, dict[int, PairScore]] = field(default_factory=dict)
    resumed_at: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    done: list[Progress] = field(default_factory=list)
    step: int = 0

    def metrics(self, values: Sequence[Metric]) -> None:
        self.step = values[0].step
        self._kill("metrics")
        self.values |= {(m.key, m.step): m.value for m in values if not m.key.startswith(("speed/", "cache/"))}

    def stage_started(
        self, ordinal: int, name: str, phase: Phase, n_pairs: int, first_step: int, last_step: int
    ) -> None:
        self.stages.append((ordinal, name, phase, n_pairs, first_step, last_step))

    def stage_ended(self, ordinal: int, link: Link) -> None:
        self._kill("stage_ended")
        self.links[ordinal] = link

    def checkpoint(self, step: int, stage: int, path: Path, manifest_sha256: str) -> None:
        self._kill("checkpoint")
        self.checkpoints.append((step, stage, path, manifest_sha256))

    def progress(self, progress: Progress) -> None:
        self.done.append(progress)

    def should_stop(self) -> bool:
        return self.stop_at is not None and self.step + 1 >= self.stop_at

    def resumed(self, step: int) -> None:
        self.resumed_at.append(step)
        self.step = step
        self.values = {key: value for key, value in self.values.items() if key[1] <= step}

    def note(self, text: str, kind: str = "note") -> None:
        self.notes.append(text)

    def pair_scores(self, moment: str, scores: Sequence[PairScore]) -> None:
        self.scores.setdefault(moment, {}).update({score.pair_id: score for score in scores})

    def of(self, key: str) -> list[float]:
        return [value for (name, _), value in sorted(self.values.items(), key=lambda x: x[0][1]) if name == key]

    def _kill(self, place: str) -> None:
        if self.kill_at == self.step and self.kill_in == place:
            raise Killed
