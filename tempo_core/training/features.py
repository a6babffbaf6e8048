"""Features of the frozen vision tower on disk: each video is decoded, preprocessed and encoded once, not once a step.

The one thing to know: an entry is found by the **weights** of tower and projector, not by the model's name, and by the
exact pictures. A trained tower therefore finds nothing of the old one, and nothing is ever invalidated by hand.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from tempo_core.training import tensor_file
from tempo_core.training.chain import in_tower
from tempo_core.training.keys import FORMAT, checked_key, is_key, major_minor, processor_config, sha256_of_json
from tempo_core.types import Video
from tempo_core.video_llms.base import HFVideoLLM

FREE_BYTES = 1_000_000_000
"""Our choice: what the cache leaves free on the disk, so that checkpoints of the run still fit."""

_log = logging.getLogger(__name__)
_META = "meta."


@dataclass(frozen=True, slots=True)
class Stored:
    """One encoded video. `tensors`: features (V, D) and, of some families, deepstack.0, deepstack.1, ... (V, D)."""

    tensors: dict[str, Tensor]
    meta: dict[str, Tensor]
    """What the text part needs of the video: video_grid_thw, second_per_grid_ts, input_ids_head, ..."""


@dataclass(slots=True)
class _Entry:
    n_bytes: int
    used_ns: int
    """Kept as the file's time of change, so that it outlives the process and other processes see it."""


class FeatureCache:
    """Encoded videos by `video_key`, for one tower, within a budget of bytes for the whole folder.

    When the budget is spent, the entry whose next use is farthest leaves (Belady's rule: no other order gets more
    hits); entries that are never used again, those of other towers with them, leave before these, the least recently
    used first. A full disk ends the storing and never the training.

    Args:
        budget_bytes: 0 stores nothing.
        next_use: When the video of a key is used next by any rank, as a number that grows along the training plan;
            None for never. Without it (outside a run) the least recently used leaves.
        free_bytes: What must stay free on the disk.
        note: Is told, once, why nothing is stored any more.
    """

    def __init__(
        self,
        folder: Path,
        tower_key: str,
        *,
        budget_bytes: int,
        next_use: Callable[[str], int | None] | None = None,
        free_bytes: int = FREE_BYTES,
        note: Callable[[str], None] = _log.warning,
    ) -> None:
        self.hits = 0
        self.misses = 0
        self._folder = folder
        self._home = folder / checked_key(tower_key)
        self._budget = int(budget_bytes)
        self._next_use = next_use
        self._free = free_bytes
        self._note = note
        self._stopped = self._budget <= 0
        tensor_file.sweep(self._home)
        self._look()

    @property
    def n_bytes(self) -> int:
        """Bytes in the whole folder. Other ranks' entries are counted each time a 64th of the budget was written."""
        return self._n_bytes

    def get(self, video_key: str) -> Stored | None:
        """The encoded video, or None: never stored, evicted, or damaged (then the file is gone)."""
        path = self._path(video_key)
        found = tensor_file.read(path)
        if found is None:
            self.misses += 1
            self._forget(path)
            return None
        self.hits += 1
        self._touch(path)
        meta = {name.removeprefix(_META): found.pop(name) for name in list(found) if name.startswith(_META)}
        return Stored(found, meta)

    def put(self, video_key: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Tensor]) -> None:
        """Keep an encoded video, if the plan wants it before what would have to leave for it."""
        path = self._path(video_key)
        # What is there already came from another rank and holds the same.
        if self._stopped or os.path.exists(path):
            return
        together = {**tensors, **{_META + name: tensor for name, tensor in meta.items()}}
        leaving = self._leaving(path, tensor_file.size(together))
        if leaving is None:
            return
        try:
            self._write(path, together, leaving)
        except OSError as error:
            self._stop(str(error))

    def _write(self, path: Path, together: Mapping[str, Tensor], leaving: Sequence[Path]) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._home).free + sum(self._entries[old].n_bytes for old in leaving)
        if free < tensor_file.size(together) + self._free:
            self._stop(f"{free:,} bytes are free, and {self._free:,} must stay free for checkpoints")
            return
        for old in leaving:
            tensor_file.remove(old)
            self._forget(old)
        self._entries[path] = _Entry(tensor_file.write(path, together), 0)
        self._touch(path)
        self._n_bytes += self._entries[path].n_bytes
        self._unseen += self._entries[path].n_bytes
        if self._unseen > self._budget // 64:
            self._look()

    def _stop(self, reason: str) -> None:
        self._stopped = True
        self._note(
            f"No more video features are stored in {self._folder}: {reason}. Training goes on, and encodes again what "
            "is not stored. Make room before the next run."
        )

    def _leaving(self, path: Path, size: int) -> list[Path] | None:
        """What must leave for a new entry; None if that one itself would be the first to leave."""
        too_much = self._n_bytes + size - self._budget
        if too_much <= 0:
            return []
        new = (path, _Entry(size, time.time_ns()))
        leaving: list[Path] = []
        for old, entry in sorted([*self._entries.items(), new], key=self._rank):
            if old == path:
                return None
            leaving.append(old)
            too_much -= entry.n_bytes
            if too_much <= 0:
                break
        return leaving

    def _rank(self, item: tuple[Path, _Entry]) -> tuple[bool, int, int]:
        """Sorts to the front what should leave first."""
        path, entry = item
        following = self._next_use(path.stem) if self._next_use and path.parent == self._home else None
        return following is not None, -(following or 0), entry.used_ns

    def _look(self) -> None:
        """What is on disk now, other ranks' and other towers' entries included."""
        self._entries = dict(_files(self._folder))
        self._n_bytes = sum(entry.n_bytes for entry in self._entries.values())
        self._unseen = 0

    def _touch(self, path: Path) -> None:
        now = time.time_ns()
        if path in self._entries:
            self._entries[path].used_ns = now
        # Evicted by another rank since it was read, perhaps.
        with contextlib.suppress(OSError):
            os.utime(path, ns=(now, now))

    def _forget(self, path: Path) -> None:
        gone = self._entries.pop(path, None)
        self._n_bytes -= gone.n_bytes if gone else 0

    def _path(self, video_key: str) -> Path:
        return self._home / f"{checked_key(video_key)}{tensor_file.SUFFIX}"


class Uses:
    """When each video is used next, along the plan: what `FeatureCache` is given as `next_use`.

    Args:
        keys: The video key of every row of the whole run, in training order.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.now = 0
        """The first row of the forward that is being made."""
        self._places: dict[str, list[int]] = {}
        for place, key in enumerate(keys):
            self._places.setdefault(key, []).append(place)

    def __call__(self, key: str) -> int | None:
        places = self._places.get(key, [])
        following = bisect_right(places, self.now)
        return places[following] if following < len(places) else None


def video_key(video: Video, times_sha256: str, numbers: Sequence[int], fps: float, height: int, width: int) -> str:
    """What a tower is shown: which pictures of which file, their size, and the rate that the model is told."""
    return sha256_of_json(
        {
            "format": FORMAT,
            "video": video.sha256,
            "times": times_sha256,
            "numbers": [int(number) for number in numbers],
            "fps": float(fps),
            "height": int(height),
            "width": int(width),
        }
    )


def tower_key(llm: HFVideoLLM) -> str:
    """What turns pictures into features: weights of tower and projector, processor, number type, library versions.

    Reads every weight of the tower once: 1.35 GB of a 7B Qwen2.5-VL, 7 s at the 200 MB/s of sha256 that a slow CPU
    makes, less where it has instructions for it. Ask once per stage, after the weights are loaded and merged.
    """
    return sha256_of_json(
        {
            "format": FORMAT,
            "weights": _weights_sha256(llm),
            "config": _tower_config(llm),
            "processor": processor_config(llm),
            "dtype": str(llm.bare_model.dtype),
            "device": llm.device.type,
            "torch": major_minor(torch.__version__),
            "transformers": major_minor(transformers.__version__),
        }
    )


def _weights_sha256(llm: HFVideoLLM) -> str:
    digest = hashlib.sha256()
    weights = {n: w for n, w in llm.bare_model.state_dict().items() if in_tower(n, llm.tower_names)}
    if not weights:
        raise ValueError(f"{llm.name} has no weights under {', '.join(llm.tower_names)}.")
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].dtype} {list(weights[name].shape)}\n".encode())
        digest.update(tensor_file.bytes_of(weights[name]))
    return digest.hexdigest()


def _tower_config(llm: HFVideoLLM) -> dict[str, Any]:
    """The settings beside the weights: windows, activations, which layer's output is taken."""
    unrelated = {"text_config", "_name_or_path", "transformers_version", "architectures", "id2label", "label2id"}
    return {name: value for name, value in llm.bare_model.config.to_dict().items() if name not in unrelated}


def _files(folder: Path) -> list[tuple[Path, _Entry]]:
    """Our own files only: whatever else lies there is nobody's to remove."""
    found = []
    for path in folder.glob(f"*/*{tensor_file.SUFFIX}"):
        if is_key(path.parent.name) and is_key(path.stem):
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((path, _Entry(status.st_size, status.st_mtime_ns)))
    return found
