"""Model folders that were made to do harm: each is refused by name, and what they would have run never ran."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from peft import LoraConfig

from tempo_core.errors import DatasetDrift, ModelRefused
from tempo_core.training import chain, sealed
from tempo_core.types import Frames, Question
from tempo_core.video_llms import checkpoints, load


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


class Evil:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def change(file: Path, **keys: object) -> None:
    file.write_text(json.dumps({**(json.loads(file.read_text()) if file.exists() else {}), **keys}))


def test_an_adapter_beside_the_model_cannot_bring_another_model(folder, canary, tmp_path):
    """transformers follows `base_model_name_or_path` of such a file, to a folder that nobody has looked at."""
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    (other / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(canary)))
    change(folder / "adapter_config.json", peft_type="LORA", base_model_name_or_path=str(other))
    with pytest.raises(ModelRefused, match="names a model of its own"):
        load(folder)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["notes.txt", "vocab/words.txt", "model-2.safetensors"])
def test_a_link_out_of_the_folder_is_refused(folder, tmp_path, name):
    """An export copies what lies beside the weights: a link would take a private file with it."""
    secret = tmp_path / "id_rsa"
    secret.write_text("private")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(secret)
    with pytest.raises(ModelRefused, match=f"{name}.*outside the folder") as refused:
        checkpoints.inspect(folder)
    assert "private" not in str(refused.value)


def test_the_links_of_the_hubs_own_cache_are_followed(folder, tmp_path):
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        shutil.copy(file, blobs / file.name)
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    assert checkpoints.inspect(snapshot).files_sha256 == checkpoints.fingerprint(folder)


@pytest.mark.parametrize(
    "weights",
    [
        (1 << 62).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (100_000_001).to_bytes(8, "little") + b" " * 64,
        (40).to_bytes(8, "little") + b'{"a":{"data_offsets":[0,99999999999999]}}'[:40],
        b"",
    ],
    ids=["header of an exabyte", "no table", "header over the limit", "data that is not there", "nothing"],
)
def test_weights_with_an_absurd_header_are_refused_without_reading_it(folder, weights):
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(ModelRefused, match=r"header|cut off"):
        checkpoints.inspect(folder)


@pytest.mark.parametrize(
    "template",
    [
        "{{ cycler.__init__.__globals__.os.mkdir('CANARY') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for a in range(10 ** 9) %}{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{{ raise_exception('no') }}",
        "{% if %}",
    ],
    ids=["globals", "subclasses", "endless", "include", "raises", "no template"],
)
def test_a_chat_template_runs_nothing(folder, canary, template):
    (folder / "chat_template.jinja").write_text(template.replace("CANARY", str(canary)))
    pixels = np.zeros((2, 28, 28, 3), np.uint8)
    with pytest.raises(ModelRefused, match="chat template"):
        load(folder).encode(Question("what happens", Frames(pixels, (0, 1), 1.0)))
    assert not canary.exists()


def link(folder: Path, **config: object) -> chain.Link:
    """A sealed link of a chain with this in its configuration, as it might come back from elsewhere."""

    def fill(inside: Path) -> None:
        LoraConfig(r=4, target_modules=".*q_proj").save_pretrained(inside)
        change(inside / "adapter_config.json", **config)
        (inside / chain.ADAPTER).write_bytes(b"")

    sha256 = sealed.write(
        folder / "01-sft", fill, {"ordinal": 1, "name": "sft", "phase": "sft", "base": "b", "before": ""}
    )
    return chain.Link(1, "sft", "sft", folder / "01-sft", sha256)


@pytest.mark.parametrize(
    "config",
    [
        {"base_model_name_or_path": "/elsewhere"},
        {"megatron_config": {"a": 1}, "megatron_core": "antigravity"},
        {"auto_mapping": {"base_model_class": "popen", "parent_library": "os"}},
        {"peft_type": "PROMPT_TUNING"},
    ],
    ids=lambda config: next(iter(config)),
)
def test_an_adapter_that_names_something_to_load_is_refused_under_a_right_hash(tmp_path, config):
    with pytest.raises(ModelRefused, match=f"sets {next(iter(config))} to"):
        chain.verify([link(tmp_path, **config)], "b")


def test_an_adapter_as_ours_are_is_let_pass_and_not_once_a_byte_has_changed(tmp_path):
    ours = link(tmp_path)
    chain.verify([ours], "b")
    change(ours.path / "adapter_config.json", r=8)
    with pytest.raises(DatasetDrift, match="was changed after training"):
        chain.verify([ours], "b")


def test_a_checkpoint_whose_optimizer_was_changed_is_not_resumed_from(tmp_path, canary):
    """An optimizer's state is a pickle, so nothing of the folder is read before all of it is what was written."""
    folder = tmp_path / "step-5"
    sealed.write(folder, lambda inside: (inside / "optimizer.pt").write_bytes(b"state"), {"step": 5})
    assert sealed.read(folder) is not None
    (folder / "optimizer.pt").write_bytes(pickle.dumps(Evil(canary)))
    assert sealed.read(folder) is None
    assert not canary.exists()
