"""The losses against formulas written here, with log-probabilities asked of the model itself, one pair at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import CONFIG, Heard, make_examples, make_pairs, make_plan, pictures
from safetensors.torch import load_file

from tempo_core import video_llms
from tempo_core.errors import ReferenceMismatch
from tempo_core.training import recipe, workplace
from tempo_core.training.report import PairValues
from tempo_core.types import Frames, PreferencePair, Question
from tempo_core.video_llms.base import HFVideoLLM


class FirstStepWeights(Heard):
    """Keeps the trained weights as they are after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: dict[int, dict[str, torch.Tensor]] = {}

    def checkpoint(self, step: int, stage: int, path: Path, manifest_sha256: str) -> None:
        self.weights[step] = load_file(path / "trainable.safetensors")


def asked(llm: HFVideoLLM, pair: PreferencePair) -> list[np.ndarray]:
    """Log-probabilities of the tokens of the chosen and the rejected answer."""
    numbers = tuple(number for clip in pair.clip_key_frames for number in clip)
    shown = pictures(pair.video, pair.times_sha256, numbers)
    question = Question(pair.prompt, Frames(shown, numbers, llm.fps_of(len(numbers), pair.video.duration_s)))
    return llm.log_probs([question, question], [pair.chosen, pair.rejected])


def merged(llm: HFVideoLLM, weights: dict[str, torch.Tensor]) -> HFVideoLLM:
    """W + (alpha / r) B A, by hand."""
    parameters = dict(llm.model.named_parameters())
    with torch.no_grad():
        for name, a in weights.items():
            if "lora_A" in name:
                b = weights[name.replace("lora_A", "lora_B")]
                target = name.removeprefix("base_model.model.").replace("lora_A.default.", "")
                parameters[target] += CONFIG.lora_alpha / CONFIG.lora_r * b @ a
    return llm


@pytest.mark.parametrize(("micro_batch", "sft_weight"), [(4, 0.0), (2, 0.7)])
def test_the_first_two_steps_of_dpo_give_the_loss_of_the_formula(
    base: Path, tmp_path: Path, micro_batch: int, sft_weight: float
) -> None:
    pairs = make_pairs(12)
    plan = make_plan(pairs, mixed=True)
    config = replace(CONFIG, micro_batch=micro_batch, sft_weight=sft_weight, checkpoint_every=1)
    heard = FirstStepWeights()
    recipe.train(
        base=base, pairs=pairs, plan=plan, examples=(), config=config, folder=tmp_path, pictures=pictures, events=heard
    )

    reference = video_llms.load(base)
    policy = merged(video_llms.load(base), heard.weights[1])
    step_2 = [pairs[planned.pair_id] for planned in plan.planned if planned.step == 1]
    losses, margins, nll, likelier = [], [], [], []
    for pair in step_2:
        (chosen, rejected), (chosen_before, rejected_before) = asked(policy, pair), asked(reference, pair)
        margin = 0.1 * ((chosen.sum() - chosen_before.sum()) - (rejected.sum() - rejected_before.sum()))
        margins.append(margin)
        losses.append(-math.log(1 / (1 + math.exp(-margin))))
        nll.append(-chosen.mean())
        likelier.append(chosen.mean() > rejected.mean())

    assert heard.of("dpo/loss")[0] == pytest.approx(math.log(2), abs=1e-6)
    assert heard.of("dpo/loss")[1] == pytest.approx(np.mean(losses), abs=2e-6)
    assert max(abs(margin) for margin in margins) > 1e-3, "the first step changed nothing; this test would be blind"
    for level in (1, 2):
        of_level = [margin for pair, margin in zip(step_2, margins, strict=True) if pair.level == level]
        assert heard.of(f"l{level}/margin")[1] == pytest.approx(np.mean(of_level), abs=1e-5)
    before = heard.scores["before"][step_2[0].pair_id]
    chosen, rejected = asked(reference, step_2[0])
    assert (before.chosen, before.rejected) == pytest.approx((chosen.sum(), rejected.sum()), abs=1e-4)
    assert before.margin == pytest.approx(chosen.mean() - rejected.mean(), abs=1e-5)
    assert ("dpo/sft_loss" in {key for key, _ in heard.values}) == (sft_weight > 0)
    if sft_weight:
        assert heard.of("dpo/sft_loss")[1] == pytest.approx(np.mean(nll), abs=1e-5)
    for level in (1, 2):
        here = [i for i, pair in enumerate(step_2) if pair.level == level]
        assert heard.values.get((f"l{level}/n", 2), 0) == len(here)
        if here:
            assert heard.values[f"l{level}/loss", 2] == pytest.approx(np.mean([losses[i] for i in here]), abs=2e-6)
            assert heard.values[f"l{level}/margin", 2] == pytest.approx(np.mean([margins[i] for i in here]), abs=1e-5)
            assert heard.values[f"l{level}/accuracy_per_token", 2] == np.mean([likelier[i] for i in here])


def test_micro_batches_change_nothing_but_rounding(base: Path, tmp_path: Path) -> None:
    pairs = make_pairs(8)
    after: list[dict[str, torch.Tensor]] = []
    for micro_batch in (4, 1):
        heard = FirstStepWeights()
        recipe.train(
            base=base, pairs=pairs, plan=make_plan(pairs, mixed=True), examples=(), pictures=pictures, events=heard,
            config=replace(CONFIG, micro_batch=micro_batch, sft_weight=1.0, checkpoint_every=1),
            folder=tmp_path / str(micro_batch),
        )  # fmt: skip
        after.append(heard.weights[1])
    for name, weight in after[0].items():
        # Adam's first step is the sign of the gradient: where that is almost 0 rounding may turn it round.
        assert ((weight - after[1][name]).abs() < 1e-4).float().mean() > 0.98, name


def test_chosen_only_trains_the_same_pairs_in_the_same_order_on_the_chosen_answers(base: Path, tmp_path: Path) -> None:
    pairs = make_pairs(12)
    plan = make_plan(pairs, mixed=True)
    config = replace(CONFIG, recipe="chosen_only", micro_batch=2, checkpoint_every=1)
    heard = FirstStepWeights()
    recipe.train(
        base=base, pairs=pairs, plan=plan, examples=(), config=config, folder=tmp_path, pictures=pictures, events=heard
    )
    for step, llm in enumerate((video_llms.load(base), merged(video_llms.load(base), heard.weights[1]))):
        members = [pairs[planned.pair_id] for planned in plan.planned if planned.step == step]
        expected = np.mean([-asked(llm, pair)[0].mean() for pair in members])
        assert heard.of("chosen_only/loss")[step] == pytest.approx(expected, abs=1e-5)
    assert not any(key.startswith("dpo/") for key, _ in heard.values)


def test_sft_scores_the_answers_of_its_examples_and_trains_the_tower_when_asked(base: Path, tmp_path: Path) -> None:
    examples = make_examples(5)
    config = replace(CONFIG, recipe="sft", sft_steps=3, checkpoint_every=1, sft_tower_trainable=True)
    heard = FirstStepWeights()
    trained = recipe.train(
        base=base, pairs={}, plan=make_plan({}), examples=examples, config=config, folder=tmp_path, pictures=pictures,
        events=heard,
    )  # fmt: skip
    assert len(heard.of("sft/loss")) == 3
    assert heard.of("sft/loss")[2] < heard.of("sft/loss")[0]
    moved = load_file(trained.chain[0].path / "tower.safetensors")
    before = video_llms.load(base).model.state_dict()
    assert moved and all(not torch.equal(weight, before[name]) for name, weight in moved.items() if "qkv" in name)
    assert set(moved) == {name for name in before if ".visual." in name}


def test_the_loss_of_a_hopeless_pair_does_not_overflow() -> None:
    values = PairValues(1, 1, -90000.0, 0.0, 0.0, 0.0, 5, 5, 0.1)
    assert values.loss == pytest.approx(9000)


def test_a_policy_that_is_not_its_reference_is_caught_before_the_first_step(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = workplace.lora

    def used(at: workplace.Workplace) -> object:
        config = fresh(at)
        config.init_lora_weights = False
        return config

    monkeypatch.setattr(workplace, "lora", used)
    pairs = make_pairs(4)
    with pytest.raises(ReferenceMismatch, match="policy and reference differ"):
        recipe.train(
            base=base, pairs=pairs, plan=make_plan(pairs, mixed=True), examples=(), config=CONFIG, folder=tmp_path,
            pictures=pictures, events=Heard(),
        )  # fmt: skip
