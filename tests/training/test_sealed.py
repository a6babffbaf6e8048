"""Sealed folders on a disk that fills: the reason is told, whichever library was writing, and nothing is left."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tempo_core.errors import NoSpace
from tempo_core.training import sealed

WEIGHTS = {"weight": torch.zeros(100_000)}
WRITERS: dict[str, Callable[[Path], object]] = {
    "safetensors": lambda folder: save_file(WEIGHTS, folder / "weights.safetensors"),
    "torch": lambda folder: torch.save(WEIGHTS, folder / "optimizer.pt"),
    "plain": lambda folder: (folder / "state.json").write_bytes(bytes(400_000)),
}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True
    ).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_disk_that_fills_while_a_library_writes_is_told_as_full(writer: str, small_disk: Path) -> None:
    with pytest.raises(NoSpace, match="is full"):
        sealed.write(small_disk / "checkpoint", WRITERS[writer], {})
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_spent_quota_is_a_full_disk_too(number: int, tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        raise ValueError(f"Error while serializing: I/O error: words (os error {number})")

    with pytest.raises(NoSpace, match="is full"):
        sealed.write(tmp_path / "checkpoint", fill, {})


def test_another_error_stays_what_it_is_and_leaves_nothing(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise RuntimeError("another")

    with pytest.raises(RuntimeError, match="another"):
        sealed.write(tmp_path / "checkpoint", fill, {})
    assert list(tmp_path.iterdir()) == []
