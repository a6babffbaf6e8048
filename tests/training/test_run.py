"""A run's order, its stop and its return: whatever happens to it, it ends with the same weights and metrics."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from runs import CONFIG, Heard, Killed, Plan, make_examples, make_pairs, make_plan, pictures
from safetensors.torch import load_file

from tempo_core.curriculum import PairRef, training_plan
from tempo_core.errors import Cancelled, DatasetDrift, Diverged, ModelRefused, NoSpace, TooFew, TooLong, VideoLost
from tempo_core.recipes import RunConfig
from tempo_core.training import chain, loop, recipe, rows
from tempo_core.training.recipe import Trained
from tempo_core.video_llms.qwen_vl import QwenVL

LONG = replace(CONFIG, recipe="dpo_sft", sft_tower_trainable=True, lr_scheduler="cosine", warmup=0.3)
"""Two stages of three steps, then two steps of SFT: 8 steps, checkpoints at every second."""


def run(base: Path, folder: Path, heard: Heard, config: RunConfig = LONG, **other: Any) -> Trained:
    pairs = make_pairs(24)
    given: dict[str, Any] = {"pairs": pairs, "plan": make_plan(pairs), "examples": make_examples(7)}
    given.update(other)
    return recipe.train(base=base, config=config, folder=folder, pictures=pictures, events=heard, **given)


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return {
        f"{link.ordinal}/{file.name}/{name}": weight
        for link in trained.chain
        for file in sorted(link.path.glob("*.safetensors"))
        for name, weight in load_file(file).items()
    }


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.fixture(scope="module")
def undisturbed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Heard]:
    heard = Heard()
    return run(base, tmp_path_factory.mktemp("undisturbed"), heard), heard


def test_training_follows_the_plan_and_says_where_it_is(undisturbed: tuple[Trained, Heard]) -> None:
    trained, heard = undisturbed
    planned = [p.pair_id for p in make_plan(make_pairs(24)).planned]
    assert list(heard.scores["before"]) == planned
    assert heard.scores["final"].keys() == set(planned)
    assert heard.stages == [
        (1, "l1", "dpo", 12, 1, 3),
        (2, "l2", "dpo", 12, 4, 6),
        (3, "sft", "sft", 8, 7, 8),
    ]
    assert [link.path.name for link in trained.chain] == ["01-dpo-l1", "02-dpo-l2", "03-sft"]
    assert [link for _, link in sorted(heard.links.items())] == list(trained.chain)
    assert heard.resumed_at == [0]
    assert (heard.done[-1].done, heard.done[-1].total) == (8, 8)
    assert [step for step, *_ in heard.checkpoints] == [2, 4], "none at the end of a stage: its link is"


def test_metrics_carry_the_level_and_count_over_all_stages(undisturbed: tuple[Trained, Heard]) -> None:
    _, heard = undisturbed
    assert {step for key, step in heard.values if key == "l1/loss"} == {1, 2, 3}
    assert {step for key, step in heard.values if key == "l2/loss"} == {4, 5, 6}
    assert {step for key, step in heard.values if key == "sft/loss"} == {7, 8}
    # Each stage begins at its own reference, the merged model before it.
    assert heard.values["l1/margin", 1] == heard.values["l2/margin", 4] == 0
    assert heard.values["l2/margin", 6] != 0


@pytest.mark.parametrize(("stop_at", "stopped"), [(1, 1), (3, 3), (5, 5), (7, 6), (8, 8)])
def test_a_stopped_run_goes_on_to_the_same_weights_and_metrics(
    base: Path, tmp_path: Path, undisturbed: tuple[Trained, Heard], stop_at: int, stopped: int
) -> None:
    """Asked to stop before step 7, it stops while it scores the pairs after the last step of DPO."""
    trained, told = undisturbed
    heard = Heard(stop_at=stop_at)
    with pytest.raises(Cancelled, match=f"step {stopped} of 8"):
        run(base, tmp_path, heard)
    heard.stop_at = None
    again = run(base, tmp_path, heard)
    assert heard.resumed_at == [0, stopped]
    assert equal(weights(again), weights(trained))
    assert heard.values == told.values
    assert heard.scores == told.scores
    assert set(heard.links) == {1, 2, 3}


@pytest.mark.parametrize(
    ("kill_at", "place", "resumed_at"),
    [(1, "metrics", 0), (3, "metrics", 2), (4, "checkpoint", 4), (3, "stage_ended", 3), (8, "metrics", 6)],
)
def test_a_run_that_dies_anywhere_goes_on_to_the_same_weights_and_metrics(
    base: Path, tmp_path: Path, undisturbed: tuple[Trained, Heard], kill_at: int, place: str, resumed_at: int
) -> None:
    trained, told = undisturbed
    heard = Heard(kill_at=kill_at, kill_in=place)
    with pytest.raises(Killed):
        run(base, tmp_path, heard)
    heard.kill_at = None
    again = run(base, tmp_path, heard)
    assert heard.resumed_at == [0, resumed_at]
    assert equal(weights(again), weights(trained))
    assert heard.values == told.values
    assert heard.scores == told.scores
    assert set(heard.links) == {1, 2, 3}


def test_a_process_killed_in_the_middle_of_a_checkpoint_leaves_the_one_before(
    base: Path, tmp_path: Path, undisturbed: tuple[Trained, Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    child = os.fork()
    if not child:
        heard = Heard()
        save = loop.save_file

        def dying(tensors: Any, path: Path) -> None:
            save(tensors, path)
            if heard.step == 4:
                os.kill(os.getpid(), signal.SIGKILL)

        loop.save_file = dying
        config = replace(LONG, checkpoint_every=1)
        run(base, tmp_path, heard, config)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert list((tmp_path / "checkpoints").glob(".tmp-*")), "it died too late: this test would prove nothing"
    heard = Heard()
    again = run(base, tmp_path, heard)
    assert heard.resumed_at == [3]
    assert equal(weights(again), weights(undisturbed[0]))


def test_a_disk_without_room_for_a_checkpoint_keeps_nothing_of_it(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(NoSpace, match=r"10 bytes free .* Make room, then resume"):
        run(base, tmp_path, Heard(), CONFIG)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_damaged_checkpoint_is_never_opened_and_the_one_before_is_taken(
    base: Path, tmp_path: Path, undisturbed: tuple[Trained, Heard]
) -> None:
    heard = Heard(stop_at=5)
    with pytest.raises(Cancelled):
        run(base, tmp_path, heard)
    newest = heard.checkpoints[-1][2]
    assert newest.name == "step-000005-1"
    with (newest / "optimizer.pt").open("r+b") as stream:
        stream.write(b"evil")
    heard.stop_at = None
    again = run(base, tmp_path, heard)
    assert heard.resumed_at == [0, 4]
    assert equal(weights(again), weights(undisturbed[0]))


def test_a_folder_of_other_data_or_settings_is_not_continued(base: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        run(base, tmp_path, Heard(stop_at=1))
    pairs = make_pairs(24)
    changed = pairs | {101: replace(pairs[101], chosen="a blue circle appears")}
    with pytest.raises(DatasetDrift, match="other pairs, another order or other settings"):
        run(base, tmp_path, Heard(), pairs=changed, plan=make_plan(pairs))
    with pytest.raises(DatasetDrift, match="Start a new run"):
        run(base, tmp_path, Heard(), replace(LONG, beta=0.2))


def test_a_plan_that_does_not_fit_the_data_is_refused_before_anything_is_loaded(tmp_path: Path, base: Path) -> None:
    pairs = make_pairs(24)
    fewer = {pair_id: pair for pair_id, pair in pairs.items() if pair_id != 105}
    with pytest.raises(DatasetDrift, match="1 pairs that the dataset lacks"):
        run(base, tmp_path, Heard(), pairs=fewer, plan=make_plan(pairs))
    with pytest.raises(DatasetDrift, match=r"\[4\] pairs and this run trains 3"):
        run(base, tmp_path, Heard(), replace(LONG, pairs_per_step=3))
    with pytest.raises(TooFew, match="7 examples and one step needs 9"):
        run(base, tmp_path, Heard(), replace(LONG, sft_examples_per_step=9))


def test_long_pairs_are_named_before_planning_and_refused_in_training(base: Path, tmp_path: Path) -> None:
    pairs = make_pairs(8)
    pairs[103] = replace(pairs[103], rejected=pairs[103].rejected + " then finally" * 40)
    llm = chain.load(base, [])
    everything = rows.too_long(pairs.values(), llm, 0)
    long = rows.too_long(pairs.values(), llm, 100)
    assert list(long) == [103]
    for pair_id in (100, 103):
        pair = pairs[pair_id]
        row = rows.pair_row(pair, llm)
        store = rows.VideoStore(llm, pictures, frozen_tower=True)
        prompt = store.prompt(row)
        assert everything[pair_id] == len(prompt.input_ids) + max(len(answer) for answer in row.answers)
    with pytest.raises(TooLong, match=r"1 of 8 rows have more than 100 tokens \(row 103"):
        run(
            base, tmp_path, Heard(), replace(CONFIG, max_tokens=100), pairs=pairs, plan=make_plan(pairs, mixed=True)
        )  # fmt: skip


def test_a_pair_without_pictures_in_a_later_stage_is_refused_before_the_first_step(base: Path, tmp_path: Path) -> None:
    pairs = make_pairs(8)
    pairs[107] = replace(pairs[107], clip_key_frames=())
    heard = Heard()
    with pytest.raises(VideoLost, match="training would be on text alone"):
        run(base, tmp_path, heard, CONFIG, pairs=pairs, plan=make_plan(pairs))
    assert not heard.values


def test_a_plan_of_the_curriculum_trains_and_a_small_level_takes_its_smaller_step(base: Path, tmp_path: Path) -> None:
    pairs = make_pairs(11)
    pairs = {i: replace(pair, level=1 if i < 108 else 3) for i, pair in pairs.items()}
    refs = [PairRef(p.pair_id, p.video.sha256, p.kind, p.level, p.difficulty, p.magnitude) for p in pairs.values()]
    plan = training_plan(refs, CONFIG, smaller_step=True)
    heard = Heard()
    run(base, tmp_path, heard, CONFIG, pairs=pairs, plan=plan)
    assert heard.stages == [(1, "l1", "dpo", 8, 1, 2), (2, "l3", "dpo", 3, 3, 3)]
    assert list(heard.scores["before"]) == [planned.pair_id for planned in plan.planned]
    assert heard.values["l3/n", 3] == 3


@pytest.mark.parametrize(
    ("targets", "why"), [(r".*(q_proj|qkv)", "would change its vision tower"), (r".*(q_proj|lm_head)", "on its head")]
)
def test_an_adapter_where_none_may_be_is_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, targets: str, why: str
) -> None:
    monkeypatch.setattr(QwenVL, "lora_targets", targets)
    with pytest.raises(ModelRefused, match=why):
        run(base, tmp_path, Heard(), CONFIG)


def test_an_attempt_after_one_without_memory_takes_less_for_the_same_steps(
    base: Path, tmp_path: Path, undisturbed: tuple[Trained, Heard]
) -> None:
    heard = Heard()
    run(base, tmp_path, heard, save_memory=True)
    assert any("ran out of memory. Now activations are computed again" in text for text in heard.notes)
    _, told = undisturbed
    assert heard.values.keys() == told.values.keys()
    for key in (("l2/margin", 6), ("sft/loss", 8)):
        assert heard.values[key] == pytest.approx(told.values[key], abs=1e-4)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_good_checkpoint(base: Path, tmp_path: Path) -> None:
    heard = Heard()
    with pytest.raises(Diverged):
        run(base, tmp_path, heard, replace(CONFIG, dpo_lr=1e18, checkpoint_every=1, warmup=0.5), plan=_one_stage())
    for _, _, path, _ in heard.checkpoints:
        if path.exists():
            assert all(weight.isfinite().all() for weight in load_file(path / "trainable.safetensors").values())


def test_beginning_again_removes_what_was_there(base: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        run(base, tmp_path, Heard(stop_at=2), CONFIG)
    heard = Heard(stop_at=1)
    with pytest.raises(Cancelled):
        recipe.train(
            base=base, pairs=make_pairs(24), plan=make_plan(make_pairs(24)), examples=(), config=CONFIG, events=heard,
            folder=tmp_path, pictures=pictures, resume=False,
        )  # fmt: skip
    assert heard.resumed_at == [0]


def _one_stage() -> Plan:
    return make_plan(make_pairs(24), mixed=True)
