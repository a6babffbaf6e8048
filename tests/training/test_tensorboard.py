"""TensorBoard's files, read back with TensorBoard's own reader."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from tempo_core.training.tensorboard import EventFiles
from tempo_core.types import Metric

KEYS = ("l1/loss", "l4/accuracy_per_token", "imported/margin", "speed/pairs_per_s", "cache/feature_hits")


def step(number: int, sign: float = 1.0) -> list[Metric]:
    return [Metric(key, number, sign * (number + place)) for place, key in enumerate(KEYS)]


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {key: [(event.step, event.value) for event in found.Scalars(key)] for key in found.Tags()["scalars"]}


def test_every_metric_is_there_under_its_own_key_and_step(tmp_path: Path) -> None:
    files = EventFiles(tmp_path / "tensorboard")
    files.resumed(0)
    for number in (1, 2, 3):
        files.write(step(number))
    assert set(read(tmp_path / "tensorboard")) == set(KEYS), "what is written can be read while the run goes on"
    files.close()
    found = read(tmp_path / "tensorboard")
    assert found == {key: [(n, float(n + place)) for n in (1, 2, 3)] for place, key in enumerate(KEYS)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("closed", [True, False])
def test_a_resumed_run_replaces_the_steps_after_its_checkpoint(
    tmp_path: Path, closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Readers sort files by name; inside one second a process numbers its writers, and 10 would stand before 9.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))
    first = EventFiles(tmp_path)
    for number in range(1, 8):
        first.write(step(number))
    if closed:
        first.close()
    again = EventFiles(tmp_path)
    again.resumed(4)
    for number in (5, 6):
        again.write(step(number, sign=-1))
    again.close()
    assert read(tmp_path)["l1/loss"] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, -5.0), (6, -6.0)]


def test_nothing_is_connected_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    files = EventFiles(tmp_path)
    files.write(step(1))
    files.close()
    assert len(read(tmp_path)) == len(KEYS)


def test_a_run_that_writes_nothing_leaves_no_folder(tmp_path: Path) -> None:
    files = EventFiles(tmp_path / "tensorboard")
    files.resumed(0)
    files.write([])
    files.close()
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_ends_the_copy_with_one_note_and_not_the_run(tmp_path: Path) -> None:
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True
    ).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        notes: list[str] = []
        files = EventFiles(tmp_path / "tensorboard", notes.append)
        for number in range(1, 500):
            files.write(step(number))
        files.close()
        assert notes == ["TensorBoard files are no longer written (No space left on device); the curves are kept."]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
