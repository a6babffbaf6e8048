"""What a run says of itself before its first step: time, memory and disk, once, and the run stays what it was."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from runs import CONFIG, Heard, make_examples, make_pairs, make_plan, pictures

from tempo_core.errors import Cancelled
from tempo_core.recipes import RunConfig
from tempo_core.training import chain, forecast, preview, recipe
from tempo_core.training.flops import tree_size
from tempo_core.training.rows import TokenCount, pair_row
from tempo_core.training.tree import pack
from tempo_core.training.videos import VideoStore


@dataclass
class Told(Heard):
    """Keeps notes with their kinds."""

    kinds: list[tuple[str, str]] = field(default_factory=list)

    def note(self, text: str, kind: str = "note") -> None:
        self.kinds.append((kind, text))

    def all(self, kind: str) -> list[str]:
        return [text for of, text in self.kinds if of == kind]


def run(base: Path, folder: Path, told: Told, config: RunConfig = CONFIG, **other: Any) -> None:
    pairs = make_pairs(16)
    given: dict[str, Any] = {"pairs": pairs, "plan": make_plan(pairs), "examples": make_examples(5), **other}
    recipe.train(base=base, config=config, folder=folder, pictures=pictures, events=told, **given)


@pytest.mark.parametrize("name", ["dpo", "sft_dpo"])
@pytest.mark.parametrize("again", [False, True])
def test_a_run_names_its_time_its_memory_and_its_disk_once(base: Path, tmp_path: Path, name: str, again: bool) -> None:
    told = Told()
    config = replace(CONFIG, recipe=name, gradient_checkpointing=again)
    run(base, tmp_path, told, config)
    assert told.all("estimate") == ["less than a minute, 2 GB of memory, less than 1 GB of disk"]
    assert told.all("warning") == []
    run(base, tmp_path, told, config)
    assert len(told.all("estimate")) == 1
    run(base, tmp_path, told, config, resume=False)
    assert len(told.all("estimate")) == 2, "beginning again is another run"


@pytest.mark.parametrize("name", ["dpo", "sft_dpo"])
def test_a_preview_says_what_the_run_says_and_writes_nothing_beside_the_cache(
    base: Path, tmp_path: Path, name: str
) -> None:
    told, pairs, config = Told(), make_pairs(16), replace(CONFIG, recipe=name)
    run(base, tmp_path / "run", told, config)
    (tmp_path / "ahead").mkdir()
    found = preview.preview(
        base=base, pairs=pairs, plan=make_plan(pairs), examples=make_examples(5), config=config,
        folder=tmp_path / "ahead", pictures=pictures, cache=tmp_path / "cache",
    )  # fmt: skip
    assert [str(found.estimate)] == told.all("estimate") and found.warnings == ()
    assert found.n_steps == max(step for _, step in told.values)
    assert list((tmp_path / "ahead").iterdir()) == []
    many = preview.preview(
        base=base, pairs=pairs, plan=make_plan(pairs), examples=make_examples(5), config=config,
        folder=tmp_path / "ahead", pictures=pictures, cache=tmp_path / "cache", n_devices=1000,
    )  # fmt: skip
    assert (many.estimate.seconds or 0) < (found.estimate.seconds or 0) / 10


@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_resumed_run_does_not_say_it_again(base: Path, tmp_path: Path, stop_at: int) -> None:
    told = Told(stop_at=stop_at)
    with pytest.raises(Cancelled):
        run(base, tmp_path, told)
    told.stop_at = None
    run(base, tmp_path, told)
    assert len(told.all("estimate")) == 1


def test_the_run_is_the_same_with_and_without_an_estimate(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, untold = Told(), Told()
    run(base, tmp_path / "told", told)
    monkeypatch.setattr(recipe._Run, "_say_estimate", lambda run, ahead, trainer: None)
    run(base, tmp_path / "untold", untold)
    assert told.values == untold.values
    assert told.scores == untold.scores


def test_a_device_and_a_disk_that_are_too_small_are_told(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = SimpleNamespace(disk_usage=lambda folder: SimpleNamespace(free=1000))
    monkeypatch.setattr(forecast, "shutil", nothing)
    monkeypatch.setattr(forecast, "device_bytes", lambda: 1_000_000_000)
    told = Told(stop_at=1)
    with pytest.raises(Cancelled):
        run(base, tmp_path, told)
    of_memory, of_disk = told.all("warning")
    assert "needs about 2 GB of memory" in of_memory
    assert "may write less than 1 GB" in of_disk


def test_a_device_that_cannot_hold_the_probe_leaves_the_time_unknown(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> float:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(forecast, "forward_and_backward", full)
    told = Told(stop_at=1)
    with pytest.raises(Cancelled):
        run(base, tmp_path, told)
    assert told.all("estimate") == ["time unknown, 2 GB of memory, less than 1 GB of disk"]


def test_lengths_are_those_of_the_packed_row(base: Path) -> None:
    llm = chain.load(base, [])
    store, lengths, count = VideoStore(llm, pictures, frozen_tower=True), forecast.Lengths(llm), TokenCount(llm)
    rows = [pair_row(pair, llm) for pair in make_pairs(8).values()]
    for row in rows:
        counted, prompt = lengths(row), store.prompt(row)
        assert forecast.n_tokens(counted) == count(row)
        assert (counted.n_head, counted.n_tail) == (prompt.video_end, len(prompt.input_ids) - prompt.video_end)
        assert counted.video == prompt.video_key
    prompts = [store.prompt(row) for row in rows] * 2
    packed = pack(prompts, [row.answers[k] for k in range(2) for row in rows])
    # Three videos have two instructions, whose first token is one in the packed row and is counted as two.
    assert tree_size([lengths(row) for row in rows]).n_tokens == packed.ids.shape[1] + 3
