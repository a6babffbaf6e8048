"""What a run will take, said before it starts: time, memory and disk, from its order and one measured forward.

The one thing to know: work is counted in multiplications of the very trees that will be trained, and turned into time
by timing one of them here. So a longer video, a shared answer or a second stage is counted and not guessed; what
stays unknown is how evenly the machine works. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tempo_core.training.flops import ModelSize, RowTokens, Stage, TreeSize, forward_flops, step_flops, tree_size

CHECKPOINTS_KEPT = 3
"""Two stay, and the third is written before the oldest is removed."""

ANSWER_BYTES = 40
"""An answer's key and length in the reference store, beside four bytes a token."""

OTHER_MEMORY_BYTES = 1_500_000_000
"""Our choice, for the driver, one tile of the head and what the allocator leaves unused."""

USABLE = 0.9
"""Share of a device's memory that a run may plan with."""


@dataclass(frozen=True, slots=True)
class Work:
    """Multiplications and additions of a whole run, by what they are for."""

    training: float
    reference: float
    tower: float
    scoring: float
    n_encoded: int
    """Times that a video is decoded, preprocessed and encoded."""

    @property
    def flops(self) -> float:
        return self.training + self.reference + self.tower + self.scoring


def work(
    stages: Sequence[Stage], size: ModelSize, *, again: bool = False, feature_bytes: int = 0, value_bytes: int = 2
) -> Work:
    """Count a run that finds nothing stored: the upper bound, for each rerun finds references and features.

    Every pair is counted once more, forward only, for its final score.
    """
    counts = _Counts(kept=_share_kept(stages, size, feature_bytes, value_bytes))
    for one in stages:
        counts.of_stage = set()
        counts.referenced = set()
        for rows in one.forwards:
            _count(counts, one, rows, tree_size(rows), size, again)
    return Work(counts.training, counts.reference, counts.tower, counts.scoring, round(counts.n_encoded))


@dataclass(slots=True)
class _Counts:
    kept: float
    """Share of the videos that the feature cache has room for."""
    training: float = 0.0
    reference: float = 0.0
    tower: float = 0.0
    scoring: float = 0.0
    n_encoded: float = 0.0
    seen: set[str] = field(default_factory=set)
    of_stage: set[str] = field(default_factory=set)
    referenced: set[int] = field(default_factory=set)
    scored: set[int] = field(default_factory=set)


def _count(
    counts: _Counts, one: Stage, rows: Sequence[RowTokens], tree: TreeSize, size: ModelSize, again: bool
) -> None:
    counts.training += step_flops(tree, size, again=again)
    ids = {row.row_id for row in rows}
    if one.compared:
        counts.reference += forward_flops(tree, size) * (not ids <= counts.referenced)
        counts.scoring += forward_flops(tree, size) * (not ids <= counts.scored)
        counts.referenced |= ids
        counts.scored |= ids
    for video, n_video in {row.video: row.n_video for row in rows}.items():
        if one.trains_tower:
            times, passes = 1.0, _tower_passes(again)
        else:
            # Inside a stage a video's pairs stand together; in a later one it is encoded again if it was not kept.
            times, passes = (0.0 if video in counts.of_stage else 1 - counts.kept if video in counts.seen else 1.0), 1
        counts.n_encoded += times
        counts.tower += times * passes * size.tower_flops * n_video
        counts.seen.add(video)
        counts.of_stage.add(video)


def _tower_passes(again: bool) -> int:
    """Of a trained tower: forward, and a backward pass that also reaches the weights."""
    return 4 if again else 3


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one device."""

    weights: int
    activations: int
    trained: int
    """What is trained, with its gradients and the optimizer's two moments."""

    @property
    def total(self) -> int:
        return self.weights + self.activations + self.trained + OTHER_MEMORY_BYTES

    def fits(self, device_bytes: int) -> bool:
        return self.total <= USABLE * device_bytes


def memory(
    stages: Sequence[Stage], size: ModelSize, *, lora_r: int, again: bool = False, value_bytes: int = 2
) -> Memory:
    """The largest forward of the run decides."""
    most = 0
    for one in stages:
        for rows in one.forwards:
            tree = tree_size(rows)
            kept = _activations(tree.n_tokens, size.layers, size.saved_values(), size.hidden, again)
            if one.trains_tower:
                n_patches = tree.n_video * size.patches_per_token
                kept += _activations(n_patches, size.tower_layers, size.tower_saved_values(), size.tower_hidden, again)
            most = max(most, kept)
    # Adapters are trained in float32, a tower in the model's own type.
    trained = 16 * size.n_adapter(lora_r)
    trained += 3 * value_bytes * size.n_tower * any(one.trains_tower for one in stages)
    return Memory(value_bytes * size.n_parameters, value_bytes * most, trained)


def _activations(n_tokens: int, layers: int, saved: int, hidden: int, again: bool) -> int:
    """Computed again, each layer keeps its input, and one layer at a time is whole."""
    return n_tokens * (layers * hidden + saved if again else layers * saved)


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes that a run may come to hold at once."""

    features: int
    checkpoints: int
    """With the finished adapters and the reference's log-probabilities."""

    @property
    def total(self) -> int:
        return self.features + self.checkpoints


def disk(stages: Sequence[Stage], size: ModelSize, *, lora_r: int, feature_bytes: int, value_bytes: int = 2) -> Disk:
    n_adapter = size.n_adapter(lora_r)
    tower = any(one.trains_tower for one in stages)
    checkpoint = 12 * n_adapter + 3 * value_bytes * size.n_tower * tower
    links = 4 * n_adapter * len(stages) + value_bytes * size.n_tower * tower
    answers = sum(_answer_bytes(one) for one in stages if one.compared)
    features = min(feature_bytes, _feature_bytes(stages, size, value_bytes))
    return Disk(features, CHECKPOINTS_KEPT * checkpoint + links + answers)


def _answer_bytes(one: Stage) -> int:
    answers = {(row.video, row.prompt, text): n for rows in one.forwards for row in rows for text, n in row.answers}
    return sum(4 * n + ANSWER_BYTES for n in answers.values())


def _feature_bytes(stages: Sequence[Stage], size: ModelSize, value_bytes: int) -> int:
    frozen = [row for one in stages if not one.trains_tower for rows in one.forwards for row in rows]
    n_tokens = sum({row.video: row.n_video for row in frozen}.values())
    return n_tokens * size.hidden * size.feature_levels * value_bytes


def _share_kept(stages: Sequence[Stage], size: ModelSize, feature_bytes: int, value_bytes: int) -> float:
    needed = _feature_bytes(stages, size, value_bytes)
    return min(1.0, feature_bytes / needed) if needed else 1.0


# --- time ---------------------------------------------------------------------------------------------------


Probe = Callable[[tuple[RowTokens, ...]], float]
"""Forward and backward through the tree of these rows; returns the seconds it took."""


def speed(stages: Sequence[Stage], size: ModelSize, probe: Probe, *, again: bool = False, tries: int = 3) -> float:
    """Measured FLOP/s on the run's middle forward; the first try warms up and does not count."""
    forwards = sorted(
        ((one, rows) for one in stages for rows in one.forwards), key=lambda item: tree_size(item[1]).n_tokens
    )
    one, rows = forwards[len(forwards) // 2]
    seconds = sorted([probe(rows) for _ in range(1 + tries)][1:])
    tree = tree_size(rows)
    flops = step_flops(tree, size, again=again)
    if one.trains_tower:
        flops += _tower_passes(again) * size.tower_flops * tree.n_video
    return flops / seconds[len(seconds) // 2]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take. `seconds` is None where nothing was measured."""

    seconds: float | None
    memory: Memory
    disk: Disk
    on_gpu: bool = True

    def __str__(self) -> str:
        """In words: "about 3 h 20 min, 62 GB of GPU memory, 24 GB of disk: features 20, checkpoints 4"."""
        time = "time unknown" if self.seconds is None else duration(self.seconds)
        kind = "GPU memory" if self.on_gpu else "memory"
        room = f"{gigabytes(self.disk.total)} of disk"
        parts = {"features": _rounded(self.disk.features), "checkpoints": _rounded(self.disk.checkpoints)}
        if all(parts.values()):
            room += ": " + ", ".join(f"{name} {n}" for name, n in parts.items())
        return f"{time}, {gigabytes(self.memory.total)} of {kind}, {room}"


def estimate(
    flops: Work,
    memory: Memory,
    disk: Disk,
    *,
    flops_per_s: float | None,
    seconds_per_video: float = 0.0,
    n_devices: int = 1,
    on_gpu: bool = True,
) -> Estimate:
    """Put the parts together.

    Args:
        seconds_per_video: To decode and preprocess one video, which no count of multiplications knows.
    """
    seconds = None
    if flops_per_s:
        seconds = (flops.flops / flops_per_s + flops.n_encoded * seconds_per_video) / n_devices
    return Estimate(seconds, memory, disk, on_gpu)


def warnings(
    found: Estimate, *, device_bytes: int, free_disk_bytes: int, with_checkpointing: Memory | None = None
) -> tuple[str, ...]:
    """What a person should know before the start, each with the way out.

    Args:
        with_checkpointing: The memory if activations are computed again; None if they already are.
    """
    said = []
    if not found.memory.fits(device_bytes):
        less = with_checkpointing is not None and with_checkpointing.fits(device_bytes)
        way_out = (
            f"With gradient checkpointing it needs {gigabytes(with_checkpointing.total)} and about 1.3 times the time."
            if less and with_checkpointing
            else "Put fewer pairs into a forward, or leave out the longest videos."
        )
        said.append(
            f"The run needs about {gigabytes(found.memory.total)} of memory, and {gigabytes(USABLE * device_bytes)} "
            f"of this device's {gigabytes(device_bytes)} can be planned with. {way_out}"
        )
    if found.disk.total > free_disk_bytes:
        said.append(
            f"The run may write {gigabytes(found.disk.total)} and {gigabytes(free_disk_bytes)} are free. "
            "Make room, or give the video features less."
        )
    return tuple(said)


def duration(seconds: float) -> str:
    """As a person would say it; nobody can promise minutes of a day."""
    minutes = seconds / 60
    if minutes < 1:
        return "less than a minute"
    if minutes < 59.5:
        return f"about {round(minutes)} min"
    if minutes < 595:
        hours, rest = divmod(round(minutes / 10) * 10, 60)
        return f"about {hours} h" + (f" {rest} min" if rest else "")
    hours = round(minutes / 60)
    if hours < 48:
        return f"about {hours} h"
    days, rest = divmod(hours, 24)
    return f"about {days} days" + (f" {rest} h" if rest else "")


def gigabytes(n_bytes: float) -> str:
    return f"{_rounded(n_bytes)} GB" if n_bytes >= 0.95e9 else "less than 1 GB"


def _rounded(n_bytes: float) -> int:
    return round(n_bytes / 1e9)
