"""The probes through the real embedded model, on drawn pictures: what it sees, and that nothing comes of nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tempo_core import benchmarks
from tempo_core.settings import EMBEDDED_MODEL
from tempo_core.video_llms import load
from tempo_core.worlds import drawing
from tests import watchers

ORDERS = {
    "shuffle": lambda n: range(n),
    "reverse": lambda n: range(n - 1, -1, -1),
    "drop": lambda n: range(n),
}


@pytest.fixture(scope="module")
def llm():
    return load(EMBEDDED_MODEL, device="cpu")


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Four drawn videos; the plans of two kinds are the identity, which no real plan is."""
    found = watchers.specs(4)
    bare = watchers.material(found, tmp_path_factory.mktemp("held-out"), ORDERS)
    specs = {video.video.sha256: spec for video, spec in zip(bare.videos, found, strict=True)}

    @cache
    def picture(sha256: str, number: int):
        spec = specs[sha256]
        starts = np.array((0, *spec.cuts))
        k = int(np.searchsorted(starts, number, side="right")) - 1
        scene = spec.scenes[k]
        behind = drawing.backdrop(scene, 48)
        return drawing.picture(scene, (number - starts[k] + 0.5) / scene.n_frames, 48, behind)

    return replace(bare, pictures=lambda video, times, numbers: np.stack([picture(video.sha256, n) for n in numbers]))


def measured(name, llm, material):
    return {score.metric: score for score in benchmarks.load(name).run(llm, material, lambda progress: None)}


def test_a_plan_that_changes_nothing_gives_exactly_nothing(llm, material):
    found = measured("order_sensitivity", llm, material)
    for kind in ("shuffle", "drop"):
        assert (found[f"{kind}/per_token"].value, found[f"{kind}/share"].value) == (0.0, 0.5)
    assert any(item.correct for item in found["reverse/per_token"].items)


def test_the_embedded_base_sees_the_video_and_is_blind_to_its_order(llm, material):
    canary = measured("canary", llm, material)
    assert canary["other_video"].value == canary["grey"].value == 1.0
    world = measured("drawn_world", llm, material)
    assert world["recall"].value > 0.9
    # Of one question about an order and its reverse a blind model gets one half, and never both.
    assert world["group"].value < 0.5
    own = measured("own_order", llm, material)
    assert own["text"].value < 0.5
    assert own["text"].n == 16


def test_its_short_answers_are_words_of_an_option(llm, material):
    found = measured("short_answers", llm, material)
    assert set(found) == {"accuracy", "content", "median_words"}
    assert found["accuracy"].value > 0.8
    assert found["median_words"].value <= 2
