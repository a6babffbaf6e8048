"""The script that a TRL bundle brings along: it trains a step on real videos, and never without the video."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor

from tempo_core.exchange import FORMS, ExportPair, Version
from tempo_core.training import trl_script
from tests import studio
from tests.checkpoints import TEMPLATE

CHOSEN = "the video starts with a red square moving left."


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """Two pairs about one drawn video of two clips, with the script beside them."""
    folder = tmp_path_factory.mktemp("bundle")
    studio.draw(folder / "a.mp4", [16, 16], size=(112, 112))
    one = ExportPair(
        "p-1", folder / "a.mp4", "a" * 64, "describe the video in detail.", CHOSEN, "a blue circle appears before.",
        "reverse", 2, 0.5, 1, (1, 0), "train",
    )  # fmt: skip
    FORMS["trl"].write([one, replace(one, uid="p-2", rejected="a man opens the door.")], Version("a", 1, "b" * 64),
                       folder / "out", video_root=folder)  # fmt: skip
    return folder


def started(bundle, base, tmp_path, **settings):
    return trl_script.trainer(str(base), bundle / "out" / "train.jsonl", bundle, tmp_path, n_pictures=4, use_cpu=True,
                              report_to="none", disable_tqdm=True, **settings)  # fmt: skip


def test_the_script_of_a_bundle_trains_a_step_that_moves_the_adapter_and_nothing_else(bundle, base, tmp_path):
    training = started(bundle, base, tmp_path, max_steps=1, per_device_train_batch_size=2, learning_rate=1e-2)
    before = {name: value.clone() for name, value in training.model.named_parameters()}
    log = training.train()
    moved = {name for name, value in training.model.named_parameters() if not torch.equal(before[name], value)}
    # With a fresh adapter policy and reference are one, so the loss of the first step is ln 2.
    assert log.training_loss == pytest.approx(np.log(2), abs=1e-4)
    assert moved and all("lora_B" in name and "language_model" in name for name in moved)
    training.save_model()
    assert load_file(tmp_path / "adapter_model.safetensors")


def test_a_batch_is_all_chosen_then_all_rejected_with_the_video_and_the_question_in_each_row(bundle, base, tmp_path):
    processor = AutoProcessor.from_pretrained(base)
    rows = list(trl_script.pairs(bundle / "out" / "train.jsonl"))
    batch = trl_script.Collator(processor, bundle, 4)(rows)
    texts = processor.tokenizer.batch_decode(batch["input_ids"])
    both = zip(batch["input_ids"], batch["completion_mask"], strict=True)
    answers = [processor.tokenizer.decode(ids[mask == 1]) for ids, mask in both]
    assert all("describe the video in detail." in text for text in texts)
    assert [CHOSEN in answer for answer in answers] == [True, True, False, False]
    assert len(batch["video_grid_thw"]) == 4
    mark = processor.tokenizer.convert_tokens_to_ids(processor.video_token)
    assert len(set((batch["input_ids"] == mark).sum(dim=1).tolist())) == 1
    other = trl_script.Collator(processor, bundle, 4)(rows[:1])
    assert torch.equal(other["input_ids"][0][other["attention_mask"][0] == 1],
                       batch["input_ids"][0][batch["attention_mask"][0] == 1])  # fmt: skip


def test_the_model_is_told_when_each_picture_was(bundle):
    shown, fps = trl_script.pictures(bundle / "a.mp4", 4)
    assert shown.shape == (4, 112, 112, 3)
    assert fps == pytest.approx(float(4 / Fraction(32, studio.FPS)))
    assert np.abs(shown[0].astype(int) - shown[3]).mean() > 20, "the first and the last clip look different"


def test_a_template_that_loses_the_video_stops_the_training_at_once(bundle, base):
    processor = AutoProcessor.from_pretrained(base)
    processor.chat_template = TEMPLATE.replace("VIDEO", "")
    collate = trl_script.Collator(processor, bundle, 4)
    with pytest.raises((SystemExit, ValueError), match="video"):
        collate(list(trl_script.pairs(bundle / "out" / "train.jsonl")))


def test_none_where_arrow_filled_a_part_does_not_reach_the_template(bundle):
    (row, _) = trl_script.pairs(bundle / "out" / "train.jsonl")
    assert row["prompt"][0]["content"][0] == {"type": "video", "text": None}
    assert trl_script._plain(row)["prompt"][0]["content"][0] == {"type": "video"}


def test_the_script_is_the_file_that_lies_in_the_bundle_and_explains_itself(bundle, capsys, monkeypatch):
    script = bundle / "out" / "train_with_trl.py"
    assert script.read_bytes() == Path(trl_script.__file__).read_bytes()
    monkeypatch.setattr("sys.argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    assert end.value.code == 0 and "--videos" in capsys.readouterr().out


def test_the_records_are_those_that_trl_takes_for_data_with_media(bundle):
    record = json.loads((bundle / "out" / "train.jsonl").read_text().splitlines()[0])
    assert record["images"] == [] and record["videos"] == ["a.mp4"]
