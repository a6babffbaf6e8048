"""The chain of adapters: merged again it is the same model, bit by bit, and only ever the whole of it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from runs import CONFIG, Heard, make_examples, make_pairs, make_plan, pictures
from transformers import AutoModelForImageTextToText, AutoProcessor

from tempo_core import video_llms
from tempo_core.errors import DatasetDrift, ModelRefused
from tempo_core.training import chain, recipe
from tempo_core.training.recipe import Trained
from tempo_core.types import Frames, Question
from tempo_core.video_llms import checkpoints
from tempo_core.video_llms.base import HFVideoLLM


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two stages of DPO and an SFT phase that also trains the tower."""
    pairs = make_pairs(8)
    return recipe.train(
        base=base, pairs=pairs, plan=make_plan(pairs), examples=make_examples(4), pictures=pictures, events=Heard(),
        config=replace(CONFIG, recipe="dpo_sft", sft_steps=1, dpo_lr=0.02), folder=tmp_path_factory.mktemp("run"),
    )  # fmt: skip


def logits(llm: HFVideoLLM) -> torch.Tensor:
    shown = Frames(pictures(make_pairs(1)[100].video, "t" * 64, (0, 5, 10, 15)), (0, 5, 10, 15), 2.0)
    batch = llm.collate(llm.encode_many([Question("the video starts", shown)]), [()], side="right")
    with torch.no_grad():
        result: torch.Tensor = llm.model(**batch).logits
    return result


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_merging_again_gives_the_same_weights_bit_by_bit(base: Path, trained: Trained, dtype: str) -> None:
    links = trained.chain[:2]
    live = video_llms.load(base, dtype=dtype).model
    for link in links:
        live = PeftModel.from_pretrained(live, str(link.path)).merge_and_unload()
    again = chain.load(base, links, dtype=dtype).model
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in live.state_dict().items())


def test_every_link_changes_the_model(base: Path, trained: Trained) -> None:
    seen = [logits(chain.load(base, trained.chain[:n])) for n in range(4)]
    assert all((one - other).abs().max() > 1e-4 for one, other in itertools.pairwise(seen))


def test_links_in_another_order_on_another_base_or_changed_are_refused(
    base: Path, trained: Trained, tmp_path: Path
) -> None:
    from tests.checkpoints import build_qwen

    with pytest.raises(DatasetDrift, match="whole chain"):
        chain.load(base, trained.chain[1:])
    with pytest.raises(DatasetDrift, match="another base"):
        chain.load(build_qwen(tmp_path / "other", seed=1), trained.chain)
    with pytest.raises(DatasetDrift, match="missing or was changed"):
        chain.load(base, [replace(trained.chain[0], sha256="0" * 64)])


def test_a_link_does_not_name_this_machine(trained: Trained, base: Path) -> None:
    for link in trained.chain:
        for file in link.path.glob("*.json"):
            assert str(base.parent) not in file.read_text()


def test_the_export_is_an_ordinary_model_with_the_same_logits(base: Path, trained: Trained, tmp_path: Path) -> None:
    fingerprint = chain.export(base, trained.chain, tmp_path / "out")
    assert checkpoints.verify_manifest(tmp_path / "out") == fingerprint
    expected = logits(chain.load(base, trained.chain))

    assert torch.equal(logits(chain.load(tmp_path / "out", [])), expected)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    AutoProcessor.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.float32
    ours = chain.load(base, trained.chain).model.state_dict()
    assert all(torch.equal(weight, ours[name]) for name, weight in model.state_dict().items())
    with pytest.raises(ModelRefused, match="not empty"):
        chain.export(base, trained.chain, tmp_path / "out")
