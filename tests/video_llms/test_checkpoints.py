"""A model folder is refused with a reason before anything in it could run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tempo_core.errors import ModelRefused
from tempo_core.video_llms import checkpoints, load


@pytest.fixture
def folder(qwen_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(qwen_folder, tmp_path / "model"))


class Evil:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def change(file: Path, **keys: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **keys}))


def test_a_good_folder_says_what_it_is(folder):
    checkpoint = checkpoints.inspect(folder)
    assert (checkpoint.family, checkpoint.model_type, checkpoint.name) == ("qwen2_5_vl", "qwen2_5_vl", "model")
    assert checkpoint.n_bytes == (folder / "model.safetensors").stat().st_size
    assert checkpoint.files_sha256 == checkpoints.fingerprint(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "extra.pt", "a.pkl", "b.ckpt", "modeling.py", "sub/deep.bin"])
def test_pickles_and_code_are_refused_and_never_opened(folder, tmp_path, name):
    canary = tmp_path / "canary"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(Evil(canary)))
    with pytest.raises(ModelRefused, match=f"{name}.*safetensors"):
        load(folder)
    assert not canary.exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "processor_config.json"])
@pytest.mark.parametrize("key", ["auto_map", "trust_remote_code"])
def test_metadata_that_brings_its_own_code_is_refused(folder, file, key):
    change(folder / file, nested={"deeper": [{key: {"AutoModel": "modeling.Evil"}}]})
    with pytest.raises(ModelRefused, match=f"{file}.*{key}"):
        load(folder)


def test_an_unsupported_family_is_refused_and_the_supported_ones_are_named(folder):
    change(folder / "config.json", model_type="llama")
    with pytest.raises(ModelRefused, match=r"'llama'.*qwen2_5_vl.*embedded"):
        checkpoints.inspect(folder)
    change(folder / "config.json", tempo_family="from-the-future")
    with pytest.raises(ModelRefused, match=r"from-the-future.*qwen2_5_vl"):
        load(folder)


def test_what_is_no_model_is_refused_with_the_way_out(folder, tmp_path):
    with pytest.raises(ModelRefused, match=r"not a folder.*config\.json"):
        checkpoints.inspect(tmp_path / "nothing")
    with pytest.raises(ModelRefused, match="not a folder"):
        checkpoints.inspect(folder / "config.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelRefused, match=r"no config\.json"):
        checkpoints.inspect(tmp_path / "empty")
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelRefused, match="not readable JSON"):
        checkpoints.inspect(folder)


def test_missing_and_cut_off_weights_are_refused(folder):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1000])
    with pytest.raises(ModelRefused, match=f"{len(whole) - 1000} bytes and should have {len(whole)}"):
        checkpoints.inspect(folder)
    weights.write_bytes(b"\xff" * 100)
    with pytest.raises(ModelRefused, match="header"):
        checkpoints.inspect(folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-2.safetensors"}}))
    with pytest.raises(ModelRefused, match=r"lacks model-2\.safetensors"):
        checkpoints.inspect(folder)
    weights.unlink()
    with pytest.raises(ModelRefused, match=r"no \*\.safetensors"):
        checkpoints.inspect(folder)


def test_one_flipped_byte_changes_the_fingerprint_and_a_note_does_not(folder):
    before = checkpoints.fingerprint(folder)
    (folder / "README.md").write_text("a note")
    assert checkpoints.fingerprint(folder) == before
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    assert checkpoints.fingerprint(folder) != before


def test_a_manifest_finds_changed_missing_and_added_files(folder):
    with pytest.raises(ModelRefused, match="not finished"):
        checkpoints.verify_manifest(folder)
    fingerprint = checkpoints.write_manifest(folder)
    assert checkpoints.verify_manifest(folder) == fingerprint == checkpoints.fingerprint(folder)
    (folder / "added.json").write_text("{}")
    with pytest.raises(ModelRefused, match=r"added\.json.*was added"):
        checkpoints.verify_manifest(folder)
    (folder / "added.json").unlink()
    change(folder / "generation_config.json", temperature=9.0)
    with pytest.raises(ModelRefused, match=r"generation_config\.json.*was changed"):
        checkpoints.verify_manifest(folder)
    (folder / "generation_config.json").unlink()
    with pytest.raises(ModelRefused, match=r"generation_config\.json.*is missing"):
        checkpoints.verify_manifest(folder)


def test_looking_at_a_checkpoint_needs_no_torch():
    code = "import sys; from tempo_core.video_llms import checkpoints; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
