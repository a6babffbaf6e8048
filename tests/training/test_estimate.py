"""The estimate before a start: counted by hand where it is small, and as measured and published where it is large."""

from __future__ import annotations

from dataclasses import replace

import pytest
from peft import LoraConfig, get_peft_model

from tempo_core import video_llms
from tempo_core.training import estimate, flops
from tempo_core.training.estimate import Disk, Estimate, Memory, disk, memory, speed, warnings, work
from tempo_core.training.flops import RowTokens, model_size, stage, step_flops, tree_size
from tempo_core.video_llms import FAMILIES
from tests.checkpoints import folder_of  # noqa: F401

QWEN_7B = model_size(
    {
        "text_config": {
            "hidden_size": 3584,
            "num_hidden_layers": 28,
            "intermediate_size": 18944,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
        },
        "vision_config": {"hidden_size": 1280, "depth": 32, "intermediate_size": 3420, "spatial_merge_size": 2},
    },
    n_parameters=8_290_000_000,
    n_tower=676_000_000,
)
SMALL = flops.ModelSize(
    hidden=4, layers=1, intermediate=8, heads=2, kv_heads=1, head_dim=2, vocabulary=10, n_parameters=1000, n_tower=100,
    tower_hidden=4, tower_layers=1, tower_intermediate=8, patches_per_token=4, feature_levels=1,
)  # fmt: skip


def row(row_id: int, video: str, *answers: tuple[str, int], n_video: int = 8192, prompt: str = "p") -> RowTokens:
    return RowTokens(row_id, video, n_video, n_video, prompt, 0, answers)


def of_paper(n_pairs: int) -> tuple[RowTokens, ...]:
    """Pairs of one video with one chosen answer, 8192 video tokens and answers of 256."""
    return tuple(row(i, "v", ("chosen", 256), (f"rejected {i}", 256)) for i in range(n_pairs))


# --- counting ------------------------------------------------------------------------------------------------


def test_what_a_tree_shares_is_counted_once():
    rows = (
        RowTokens(1, "v", 12, 10, "a", 3, (("x", 2), ("y", 4))),
        RowTokens(2, "v", 12, 10, "a", 3, (("x", 2), ("z", 5))),
        RowTokens(3, "v", 12, 10, "b", 6, (("x", 2), ("y", 4))),
        RowTokens(4, "w", 20, 18, "a", 3, (("x", 2), ("y", 4))),
    )
    tree = tree_size(rows)
    assert tree.n_tokens == (12 + 3 + 2 + 4 + 5 + 6 + 2 + 4) + (20 + 3 + 2 + 4)
    assert tree.n_answered == 6 + 7 + 6 + 6, "the head meets an answer as often as it is asked for"
    assert tree.n_video == 10 + 18


def test_a_token_looks_at_its_ancestors_and_at_half_of_its_own_node():
    rows = (RowTokens(1, "v", 10, 10, "p", 4, (("x", 2), ("y", 6))),)
    assert tree_size(rows).n_looks == 50 + 4 * (10 + 2) + 2 * (14 + 1) + 6 * (14 + 3)


@pytest.mark.parametrize(
    ("n_pairs", "again", "tflops", "with_one_time"), [(1, False, 274, 446), (3, False, 98, 159), (3, True, None, 205)]
)
def test_a_7b_models_pairs_cost_what_the_design_counts(n_pairs, again, tflops, with_one_time):
    rows = of_paper(n_pairs)
    if tflops:
        assert step_flops(tree_size(rows), QWEN_7B) / n_pairs / 1e12 == pytest.approx(tflops, rel=0.01)
    found = work([stage("all", rows, n_pairs)], QWEN_7B, again=again)
    once = (found.flops - found.scoring) / n_pairs / 1e12
    assert once == pytest.approx(with_one_time, rel=0.01)


def test_a_second_epoch_costs_training_only_and_a_second_stage_a_reference_too():
    rows = of_paper(3)
    one = work([stage("s", rows, 3)], QWEN_7B)
    epochs = work([stage("s", rows * 2, 3)], QWEN_7B)
    stages = work([stage("s", rows, 3), stage("t", rows, 3)], QWEN_7B, feature_bytes=10**12)
    assert epochs == replace(one, training=2 * one.training)
    assert stages == replace(one, training=2 * one.training, reference=2 * one.reference)


@pytest.mark.parametrize(("budget", "n_encoded"), [(0, 8), (16 * 4 * 2 * 2, 6), (10**9, 4)])
def test_videos_that_the_cache_has_no_room_for_are_encoded_again_in_the_next_stage(budget, n_encoded):
    rows = [row(i, f"v{i}", ("x", 2), ("y", 2), n_video=16) for i in range(4)]
    found = work([stage("s", rows, 2), stage("t", rows, 2)], SMALL, feature_bytes=budget)
    assert found.n_encoded == n_encoded
    assert found.tower == n_encoded * 16 * 2 * 100 * 4


def test_examples_have_no_reference_and_a_trained_tower_runs_in_every_forward():
    rows = [row(i, "v", ("x", 2), n_video=16) for i in range(4)]
    found = work([stage("sft", rows, 2, compared=False, trains_tower=True)], SMALL)
    assert (found.reference, found.scoring, found.n_encoded) == (0, 0, 2)
    assert found.tower == 2 * 3 * 16 * 2 * 100 * 4


def test_a_last_forward_that_is_not_full_is_counted():
    rows = [row(i, f"v{i}", ("x", 2), ("y", 2)) for i in range(5)]
    assert [len(forward) for forward in stage("s", rows, 2).forwards] == [2, 2, 1]


# --- memory and disk -----------------------------------------------------------------------------------------


def test_a_7b_model_keeps_166_kb_a_token_and_layer_and_40_gb_for_one_tree():
    assert 2 * QWEN_7B.saved_values() == pytest.approx(166_000, rel=0.01)
    found = memory([stage("s", of_paper(1), 1)], QWEN_7B, lora_r=32)
    assert found.activations == pytest.approx(40e9, rel=0.02)
    assert found.weights == pytest.approx(16.6e9, rel=0.01)


def test_the_largest_forward_decides_and_computing_again_keeps_a_layers_input_only():
    small, large = row(1, "v", ("x", 10), n_video=90), row(2, "w", ("x", 10), n_video=190)
    both = [stage("s", [small], 1), stage("t", [large, small], 1)]
    assert memory(both, SMALL, lora_r=1).activations == 200 * (4 * 4 + (2 + 2) * 2 + 2 * 4 + 3 * 8) * 2
    assert memory(both, SMALL, lora_r=1, again=True).activations == 200 * (4 + 56) * 2


@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_lora_is_counted_as_peft_makes_it(family, folder_of):  # noqa: F811
    llm = video_llms.load(folder_of(family), device="cpu", dtype="float32")
    size = model_size(llm.bare_model.config.to_dict(), n_parameters=0, n_tower=0)
    peft = get_peft_model(llm.model, LoraConfig(r=8, target_modules=llm.lora_targets))
    trained = sum(p.numel() for p in peft.parameters() if p.requires_grad)
    assert size.n_adapter(8) == trained


def test_features_never_take_more_disk_than_their_budget_and_a_trained_tower_stores_none():
    rows = [row(i, f"v{i}", ("x", 2), ("y", 3), n_video=16) for i in range(4)] * 2
    frozen = stage("dpo", rows, 2)
    assert disk([frozen], SMALL, lora_r=1, feature_bytes=10**9).features == 4 * 16 * 4 * 2
    assert disk([frozen], SMALL, lora_r=1, feature_bytes=100).features == 100
    trained = replace(frozen, compared=False, trains_tower=True)
    assert disk([trained], SMALL, lora_r=1, feature_bytes=10**9).features == 0


def test_checkpoints_adapters_and_references_are_counted():
    rows = [row(i, f"v{i}", ("x", 2), ("y", 3)) for i in range(4)]
    one, two = stage("s", rows, 2), stage("t", rows, 2)
    adapter = SMALL.n_adapter(1)
    answers = 4 * (2 * 40 + 5 * 4)
    found = disk([one, two], SMALL, lora_r=1, feature_bytes=0)
    assert found == Disk(0, 3 * 12 * adapter + 2 * 4 * adapter + 2 * answers)


# --- time and words ------------------------------------------------------------------------------------------


def test_the_speed_is_that_of_the_middle_forward_without_the_first_try():
    rows = [row(n, f"v{n}", ("x", 1), n_video=n) for n in (10, 30, 20)]
    asked: list[tuple[RowTokens, ...]] = []
    seconds = iter([99.0, 2.0, 1.0, 4.0])

    def probe(forward: tuple[RowTokens, ...]) -> float:
        asked.append(forward)
        return next(seconds)

    found = speed([stage("s", rows, 1)], SMALL, probe)
    assert asked == [(rows[2],)] * 4
    assert found == step_flops(tree_size([rows[2]]), SMALL) / 2.0


def test_time_is_work_over_speed_and_the_decoding_of_every_encoded_video():
    found = estimate.Work(training=600.0, reference=100.0, tower=200.0, scoring=100.0, n_encoded=5)
    parts = (Memory(0, 0, 0), Disk(0, 0))
    assert estimate.estimate(found, *parts, flops_per_s=10.0, seconds_per_video=4.0).seconds == 120.0
    assert estimate.estimate(found, *parts, flops_per_s=10.0, seconds_per_video=4.0, n_devices=2).seconds == 60.0
    assert estimate.estimate(found, *parts, flops_per_s=None).seconds is None


def test_an_estimate_reads_like_a_sentence():
    found = Estimate(12_000, Memory(16_000_000_000, 44_000_000_000, 500_000_000), Disk(20_000_000_000, 4_000_000_000))
    assert str(found) == "about 3 h 20 min, 62 GB of GPU memory, 24 GB of disk: features 20, checkpoints 4"
    tiny = Estimate(None, Memory(7_000_000, 0, 0), Disk(1_000_000, 2_000_000), on_gpu=False)
    assert str(tiny) == "time unknown, 2 GB of memory, less than 1 GB of disk"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (5, "less than a minute"),
        (60, "about 1 min"),
        (3569, "about 59 min"),
        (3570, "about 1 h"),
        (4300, "about 1 h 10 min"),
        (35_640, "about 9 h 50 min"),
        (35_760, "about 10 h"),
        (100_000, "about 28 h"),
        (172_800, "about 2 days"),
        (200_000, "about 2 days 8 h"),
    ],
)
def test_durations_are_said_as_a_person_would(seconds, words):
    assert estimate.duration(seconds) == words


def test_too_little_memory_or_disk_is_said_with_the_way_out():
    found = Estimate(1, Memory(16_000_000_000, 80_000_000_000, 500_000_000), Disk(20_000_000_000, 0))
    less = Memory(16_000_000_000, 5_000_000_000, 500_000_000)
    room = {"device_bytes": 80_000_000_000, "free_disk_bytes": 10_000_000_000}
    of_memory, of_disk = warnings(found, **room, with_checkpointing=less)
    assert "98 GB of memory" in of_memory and "With gradient checkpointing it needs 23 GB" in of_memory
    assert "may write 20 GB and 10 GB are free" in of_disk
    (hopeless, _) = warnings(found, **room, with_checkpointing=replace(less, weights=90_000_000_000))
    assert "fewer pairs into a forward" in hopeless
    assert warnings(found, device_bytes=141_000_000_000, free_disk_bytes=30_000_000_000) == ()
