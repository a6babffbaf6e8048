"""What a run keeps for its later stages: values of the reference on a full disk, and none that proved wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import CONFIG, Heard, Plan, make_pairs, make_plan, pictures

from tempo_core.errors import Cancelled, ReferenceMismatch
from tempo_core.recipes import RunConfig
from tempo_core.training import material, recipe, videos
from tempo_core.training.features import FeatureCache, Uses
from tempo_core.training.reference import ReferenceStore
from tempo_core.types import PlannedPair, Stage

BUDGET = 9_000
"""Room for two of the four videos' features."""


def run(base: Path, folder: Path, heard: Heard, config: RunConfig = CONFIG, n_pairs: int = 16) -> None:
    pairs = make_pairs(n_pairs)
    recipe.train(
        base=base, pairs=pairs, plan=make_plan(pairs), examples=(), config=config, folder=folder, pictures=pictures,
        events=heard,
    )  # fmt: skip


def test_a_reference_that_cannot_be_written_serves_its_stage_all_the_same(base: Path, tmp_path: Path) -> None:
    heard, told = Heard(), Heard()
    (tmp_path / "full" / "cache").mkdir(parents=True)
    (tmp_path / "full" / "cache" / "reference").write_text("a file where the folder should be")
    config = replace(CONFIG, reference="base")
    run(base, tmp_path / "full", heard, config)
    run(base, tmp_path / "free", told, config)
    assert any("are not stored" in note for note in heard.notes)
    assert heard.values == told.values
    assert heard.values["l2/margin", 3] != 0, "the second stage is not compared with itself"


def test_values_that_proved_wrong_are_not_read_by_the_next_attempt(base: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        run(base, tmp_path / "first", Heard(stop_at=2), CONFIG)
    shared = tmp_path / "first" / "cache" / "reference"
    (home,) = shared.iterdir()
    stored = ReferenceStore(shared, home.name)
    right = dict(stored._values)
    stored.clear()
    for key, value in right.items():
        stored.add(key, value + torch.linspace(0, 1, len(value)))
    stored.flush()
    (tmp_path / "second").mkdir()
    (tmp_path / "first" / "cache").rename(tmp_path / "second" / "cache")
    with pytest.raises(ReferenceMismatch):
        run(base, tmp_path / "second", Heard(), CONFIG)
    heard, told = Heard(), Heard()
    run(base, tmp_path / "second", heard, CONFIG)
    run(base, tmp_path / "third", told, CONFIG)
    assert heard.values == told.values


def hits(base: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, planned: bool) -> int:
    """How often a run over four videos in turns finds one of two that the disk has room for."""
    found: list[FeatureCache] = []

    def cache(*args: Any, next_use: Uses, **options: Any) -> FeatureCache:
        found.append(FeatureCache(*args, next_use=next_use if planned else None, **options))
        return found[-1]

    monkeypatch.setattr(material, "FeatureCache", cache)
    pairs = make_pairs(16)
    in_turns = tuple(PlannedPair(i, i, 0, pair_id, 1, 0.0) for i, pair_id in enumerate(pairs))
    config = replace(CONFIG, pairs_per_step=1, micro_batch=1, feature_bytes=BUDGET)
    recipe.train(
        base=base, pairs=pairs, plan=Plan(in_turns, (Stage("all", (1,)),)), examples=(), config=config, folder=folder,
        pictures=pictures, events=Heard(),
    )  # fmt: skip
    return found[0].hits


def test_a_run_keeps_the_videos_that_its_plan_shows_next(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos, "MEMORY_BYTES", 0)
    least_recent = hits(base, tmp_path / "least recent", monkeypatch, planned=False)
    assert hits(base, tmp_path / "planned", monkeypatch, planned=True) > 4 * least_recent
