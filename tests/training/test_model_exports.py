"""What leaves is what was trained: adapters and merged models load elsewhere, by the very lines of their card."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from tempo_core import video_llms
from tempo_core.errors import DatasetDrift, FolderTaken, NoSpace
from tempo_core.exchange.base import bundle
from tempo_core.exchange.model_card import FORMS, LinkLine, RunFacts, Source, card
from tempo_core.training import chain, exports
from tempo_core.training.chain import Link
from tempo_core.video_llms import checkpoints
from tests.checkpoints import BUILD, build
from tests.links import add_link

WRITE = {"adapter": exports.adapters, "merged": exports.merged}


@pytest.fixture(scope="module")
def links(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Link]:
    """Two stages of DPO, then SFT that trained the tower too."""
    folder = tmp_path_factory.mktemp("run") / "chain"
    made: list[Link] = []
    stages: Any = (("l1", "dpo", False), ("l2", "dpo", False), ("sft", "sft", True))
    for name, phase, tower in stages:
        made.append(add_link(base, folder, made, name, phase, tower=tower))
    return made


def facts(base: Path, links: list[Link]) -> RunFacts:
    return RunFacts(
        run_id=1, name="mine", recipe="dpo_sft", phases=("dpo", "sft"), state="succeeded",
        base=Source("tiny-qwen", checkpoints.fingerprint(base)), family="qwen-vl", dataset=None, sft_set=None,
        plan_sha256=None, config={"beta": 0.1}, code_version="abc", libraries={},
        links=tuple(LinkLine(one.path.name, one.phase, one.name, 8, one.sha256) for one in links), curves=(),
        changes=(),
    )  # fmt: skip


def as_the_card_says(folder: Path, base: Path) -> tuple[Any, Any]:
    """Run the Python lines of the card, with the two folders put in."""
    lines = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert lines is not None
    found: dict[str, Any] = {}
    code = lines[1].replace('"this folder"', repr(str(folder))).replace('"the base model"', repr(str(base)))
    exec(code, found)
    return found["model"], found["processor"]


def same(model: Any, expected: dict[str, torch.Tensor]) -> bool:
    weights = model.state_dict()
    return set(weights) == set(expected) and all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("form", FORMS)
def test_the_lines_of_the_card_load_the_trained_model_bit_by_bit(
    form: Any, base: Path, links: list[Link], tmp_path: Path
) -> None:
    WRITE[form](base, links, tmp_path / "out", card(facts(base, links), form))
    trained = chain.load(base, links).model.state_dict()
    untrained = video_llms.load(base).model.state_dict()
    assert any(not torch.equal(trained[name], untrained[name]) for name in trained)

    model, processor = as_the_card_says(tmp_path / "out", base)
    assert same(model, trained) and not same(model, untrained)
    assert processor.tokenizer.eos_token == "<|im_end|>"


@pytest.mark.parametrize("family", BUILD)
@pytest.mark.parametrize("form", FORMS)
def test_a_model_of_every_family_leaves_and_loads(form: Any, family: str, tmp_path: Path) -> None:
    base = build(family, tmp_path / "base")
    first = add_link(base, tmp_path / "chain", [], "l1", "dpo")
    links = [first, add_link(base, tmp_path / "chain", [first], "sft", "sft", tower=True)]
    WRITE[form](base, links, tmp_path / "out", card(facts(base, links), form))
    trained = chain.load(base, links).model.state_dict()
    assert same(as_the_card_says(tmp_path / "out", base)[0], trained)
    if form == "merged":
        assert same(video_llms.load(tmp_path / "out").model, trained)


def test_exported_adapters_are_a_chain_that_the_studio_reads_too(base: Path, links: list[Link], tmp_path: Path) -> None:
    exports.adapters(base, links, tmp_path / "out", "card")
    again = [link for link, _ in chain.read(tmp_path / "out")]
    assert [(link.name, link.sha256) for link in again] == [(link.name, link.sha256) for link in links]
    assert same(chain.load(base, again).model, chain.load(base, links).model.state_dict())
    about = json.loads((tmp_path / "out" / "chain.json").read_text())
    assert [link["folder"] for link in about["links"]] == ["01-dpo-l1", "02-dpo-l2", "03-sft"]
    assert about["base_sha256"] == checkpoints.fingerprint(base)


def test_a_merged_model_above_the_limit_is_sharded_and_loads_in_both_ways(
    base: Path, links: list[Link], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    fingerprint = exports.merged(base, links, out, "card", max_shard_size="300KB")
    shards = sorted(out.glob("*.safetensors"))
    assert len(shards) > 2 and (out / "model.safetensors.index.json").is_file()
    assert checkpoints.verify_manifest(out) == fingerprint
    trained = chain.load(base, links).model.state_dict()
    assert same(AutoModelForImageTextToText.from_pretrained(out), trained)
    assert same(video_llms.load(out).model, trained)
    assert AutoProcessor.from_pretrained(out).video_processor is not None
    names = {file.name for file in out.iterdir()}
    assert {file.name for file in base.iterdir() if "safetensors" not in file.name} <= names
    assert str(base.parent) not in "".join(file.read_text() for file in out.glob("*.json"))


@pytest.mark.parametrize("form", FORMS)
def test_a_changed_or_missing_link_is_refused_before_anything_is_written(
    form: Any, base: Path, links: list[Link], tmp_path: Path
) -> None:
    shutil.copytree(links[0].path.parent, tmp_path / "chain")
    copied = [replace(link, path=tmp_path / "chain" / link.path.name) for link in links]
    weights = copied[1].path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    for damaged in (copied, links[1:], [links[0], links[2]]):
        with pytest.raises(DatasetDrift):
            WRITE[form](base, damaged, tmp_path / "out", "card")
    shutil.rmtree(copied[1].path)
    with pytest.raises(DatasetDrift, match="missing or was changed"):
        WRITE[form](base, copied, tmp_path / "out", "card")
    assert [place.name for place in tmp_path.iterdir()] == ["chain"]


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_overwritten_not_even_an_earlier_export(
    form: Any, base: Path, links: list[Link], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    WRITE[form](base, links, out, "card")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(FolderTaken, match="nothing is overwritten"):
        WRITE[form](base, links, out, "another card")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FolderTaken):
        WRITE[form](base, links, tmp_path / "file", "card")
    with pytest.raises(FolderTaken):
        WRITE[form](base, links, tmp_path / "file" / "below", "card")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert {place.name for place in tmp_path.iterdir()} == {"out", "file"}


def test_the_bases_own_card_does_not_leave_with_the_trained_model(
    base: Path, links: list[Link], tmp_path: Path
) -> None:
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base" / "README.md").write_text("---\nlicense: mit\n---\nA model that beats all.")
    exports.merged(tmp_path / "base", links, tmp_path / "out", "our card")
    assert (tmp_path / "out" / "README.md").read_text() == "our card"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("foreseen", [True, False])
def test_a_full_disk_is_told_and_leaves_no_half_folder(
    form: Any, foreseen: bool, base: Path, links: list[Link], small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both when the room is too small to begin with, and when the disk fills while it is written."""
    if not foreseen:
        monkeypatch.setattr(exports, "bundle", lambda folder, **given: bundle(folder, **(given | {"n_bytes": 0})))
    if form == "adapter":
        (small_disk / "other").write_bytes(b"x" * 560_000)
    with pytest.raises(NoSpace, match="bytes free" if foreseen else "is full"):
        WRITE[form](base, links, small_disk / "out", "card")
    assert [place.name for place in small_disk.iterdir() if place.name != "other"] == []
