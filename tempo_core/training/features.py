"""Features of the frozen vision tower on disk: each video is decoded, preprocessed and encoded once, not once a step.

The one thing to know: an entry is found by the **weights** of tower and projector, not by the model's name, and by the
exact pictures. A trained tower therefore finds nothing of the old one, and nothing is ever invalidated by hand.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from tempo_core.training import tensor_file
from tempo_core.training.chain import in_tower
from tempo_core.types import Video
from tempo_core.video_llms.base import HFVideoLLM

FORMAT = 1
"""Part of every key: raise it when our own way from a video to pictures changes."""

FREE_BYTES = 1_000_000_000
"""Our choice: what the cache leaves free on the disk, so that checkpoints of the run still fit."""

_log = logging.getLogger(__name__)
_META = "meta."
_KEY = re.compile(r"[0-9a-f]{64}")


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

    When the budget is spent, the entry whose next use is farthest leaves (Belady's rule, which no order of arrival can
    beat); entries that are never used again, and those of other towers, leave before all others. Where nobody knows
    the future, the least recently used leaves. A full disk ends the storing and never the training.

    Args:
        next_use: When the video of a key is used next in the training plan (any growing number); None for never.
        evicts: Whether this process removes entries. With several ranks one does, and the others only write.
        note: Is told, once, why nothing is stored any more.
    """

    def __init__(
        self,
        folder: Path,
        tower_key: str,
        *,
        budget_bytes: int,
        next_use: Callable[[str], int | None] | None = None,
        evicts: bool = True,
        free_bytes: int = FREE_BYTES,
        note: Callable[[str], None] = _log.warning,
    ) -> None:
        self.hits = 0
        self.misses = 0
        self._folder = folder
        self._home = folder / _checked_key(tower_key)
        self._budget = budget_bytes
        self._next_use = next_use
        self._evicts = evicts
        self._free = free_bytes
        self._note = note
        self._full = budget_bytes <= 0
        self._entries: dict[Path, _Entry] = {}
        tensor_file.sweep(self._home)
        self._look()

    @property
    def n_bytes(self) -> int:
        """Bytes in the whole folder, as far as this process knows: it looks again after each 64th of the budget."""
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
        """Keep an encoded video, if the plan will want it before what would have to leave for it."""
        path = self._path(video_key)
        # Where it is there already, another rank was quicker; its content is the same.
        if self._full or path.exists():
            return
        together = {**tensors, **{_META + name: tensor for name, tensor in meta.items()}}
        size = sum(tensor.numel() * tensor.element_size() for tensor in together.values())
        leaving = self._leaving(path, size)
        if leaving is None:
            return
        for old in leaving:
            tensor_file.remove(old)
            self._forget(old)
        self._write(path, together, size)

    def _write(self, path: Path, together: Mapping[str, Tensor], size: int) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._folder).free
            if free < size + self._free:
                self._stop(f"{free:,} bytes are free and {self._free:,} must stay free for checkpoints")
                return
            n_bytes = tensor_file.write(path, together)
        except OSError as error:
            self._stop(str(error))
            return
        self._entries[path] = _Entry(n_bytes, time.time_ns())
        self._n_bytes += n_bytes
        self._touch(path)
        self._unseen += n_bytes
        if self._unseen > self._budget // 64:
            self._look()

    def _stop(self, reason: str) -> None:
        self._full = True
        self._note(
            f"No more video features are stored in {self._folder}: {reason}. Training goes on, videos that are not "
            "stored are encoded again. Make room and start again to store them."
        )

    def _leaving(self, path: Path, size: int) -> list[Path] | None:
        """What must leave for a new entry; None if that one itself should be the first to leave."""
        too_much = self._n_bytes + size - self._budget
        if too_much <= 0:
            return []
        if not self._evicts or size > self._budget:
            return None
        new = _Entry(size, time.time_ns())
        leaving = []
        for entry, old in sorted([*self._entries.items(), (path, new)], key=self._rank):
            if entry == path:
                return None
            leaving.append(entry)
            too_much -= old.n_bytes
            if too_much <= 0:
                break
        return leaving

    def _rank(self, item: tuple[Path, _Entry]) -> tuple[bool, int, int]:
        """Sorts first what should leave first."""
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
        try:
            os.utime(path, ns=(now, now))
        except OSError:
            return

    def _forget(self, path: Path) -> None:
        gone = self._entries.pop(path, None)
        self._n_bytes -= gone.n_bytes if gone else 0

    def _path(self, video_key: str) -> Path:
        return self._home / f"{_checked_key(video_key)}{tensor_file.SUFFIX}"


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

    Reads every weight of the tower once: 1.35 GB of a 7B Qwen2.5-VL, 1 s on a CPU with instructions for sha256 and
    7 s without. Ask once per stage, after the weights are loaded and merged.
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


def processor_config(llm: HFVideoLLM) -> dict[str, Any]:
    """Every number on the way from a picture to the tower's input, and the options that we give with each call."""
    parts = llm.processor.to_dict()
    return {
        "image": parts.get("image_processor"),
        "video": parts.get("video_processor"),
        "options": dict(llm.video_options),
    }


def major_minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def sha256_of_json(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


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


def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key: a key is 64 hexadecimal digits")
    return key


def _files(folder: Path) -> list[tuple[Path, _Entry]]:
    """Our own files only: whatever else lies there is nobody's to remove."""
    found = []
    for path in folder.glob(f"*/*{tensor_file.SUFFIX}"):
        if _KEY.fullmatch(path.parent.name) and _KEY.fullmatch(path.stem):
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((path, _Entry(status.st_size, status.st_mtime_ns)))
    return found
