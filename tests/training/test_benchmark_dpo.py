"""The benchmark of DPO at sizes where nothing takes time: what it compares is equal, what it counts is right."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tempo_core.training.flops import model_size

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "dpo.py"


@pytest.fixture(scope="module")
def script() -> Iterator[Any]:
    verbosity = transformers.logging.get_verbosity()
    spec = importlib.util.spec_from_file_location("benchmark_dpo", SCRIPT)
    assert spec and spec.loader
    module = sys.modules["benchmark_dpo"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["benchmark_dpo"]
    transformers.logging.set_verbosity(verbosity)


def run(script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["dpo.py", "--json", "--tiny-config", "--rounds", "1", *options])
    script.main()
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_packed_ways_give_the_loss_of_separate_rows(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(script, monkeypatch, capsys)
    assert {"k1_over_separate", "k1_over_trl", "k4_over_separate", "k4_over_trl"} <= set(found)
    assert found["max_loss_difference"] <= 1e-5
    # Not blind: with another video the loss is another one, by far more than the ways differ.
    assert found["loss_moved_by_another_video"] > 100 * found["max_loss_difference"]
    kept = found["kept_mb_per_pair"]
    assert kept["tree, split, K=4"] < kept["tree, split"] < kept["separate rows"] / 1.5


def test_the_gpu_way_measures_every_layout_and_its_margins(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(script, monkeypatch, capsys, "--gpu", "--pairs", "3")
    trees = {"tree, split, K=3", "tree, dense, K=3"}
    assert set(found["table"]) == {"TRL default", "separate, no checkpointing", *trees}
    assert {"k3_over_trl", "k3_with_passes_over_trl"} <= set(found)
    assert all(row["pairs_per_s"] > 0 and row["expected_gb"] > 0 for row in found["table"].values())
    # bfloat16 rounds, and margins are far from 0: neither side of the bound is trivial.
    assert 0 < found["margin_noise"] < found["margin_size"]
    assert found["margin_difference"] <= 2 * found["margin_noise"]


def test_the_work_of_the_7b_is_what_was_planned_with(script: Any) -> None:
    sizes = replace(script.QWEN_7B, answers=(256, 256))
    size = model_size(script.config_of(sizes).to_dict(), n_parameters=8_290_000_000, n_tower=676_000_000)
    with_checkpoints = script.separate_flops(sizes, size, checkpointing=True)
    tree = script.flops.step_flops(script.flops.tree_size(script.tokens_of(sizes, 3)), size) / 3
    # TRL's default pair, and a pair of three of one video with caches warm: TFLOP in the design of the engine.
    assert with_checkpoints == pytest.approx(1372e12, rel=0.03)
    assert tree == pytest.approx(98e12, rel=0.03)


def test_a_body_that_takes_no_features_is_taught_to(script: Any) -> None:
    llm = script.draw_model(script.TINY, "stock", torch.device("cpu"), torch.float32)
    taken = llm.core.forward
    script.accept_features(llm.core)
    assert llm.core.forward == taken, "the installed version takes them itself"

    def older(*args: Any, **kwargs: Any) -> Any:
        assert "mm_encoder_outputs" not in kwargs
        return taken(*args, **kwargs)

    pair = script.draw_pairs(script.TINY, 1)[0]
    shown = llm.collate([pair.encoded], [pair.chosen], side="right")
    llm.core.forward = older
    script.accept_features(llm.core)
    with torch.no_grad():
        by_pixels = llm.core(**shown).last_hidden_state
        features = llm.video_inputs([script.encode_video(llm, pair)])
        asked = {key: value for key, value in shown.items() if key != "pixel_values_videos"}
        positions = llm.core.get_rope_index(
            shown["input_ids"],
            shown["mm_token_type_ids"],
            attention_mask=shown["attention_mask"],
            **{key: shown[key] for key in llm.grid_keys},
        )[0]
        by_features = llm.core(**{**asked, **features}, position_ids=positions).last_hidden_state
    assert (by_pixels - by_features).abs().max() <= 1e-5
