"""The adapter chain: what a run leaves behind, and how a trained model is put together from it.

The one thing to know: every stage is a fresh LoRA on the base with all links before it **merged**, and loading merges
them again in the same order, which gives the same weights bit by bit. Stacking adapters instead would not, and would
make "adapter off" the base, which is the wrong reference.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tempo_core import video_llms
from tempo_core.errors import DatasetDrift, ModelRefused
from tempo_core.recipes import Phase
from tempo_core.training import sealed
from tempo_core.video_llms import checkpoints
from tempo_core.video_llms.base import HFVideoLLM

ADAPTER = "adapter_model.safetensors"
TOWER = "tower.safetensors"
"""Whole weights of the vision tower, in a link whose phase trained it."""

OWN = frozenset({"r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "peft_version"})
"""What our training sets of an adapter's configuration; everything else is as peft has it."""

WEIGHTS = (".safetensors", ".safetensors.index.json")


@dataclass(frozen=True, slots=True)
class Link:
    """One finished stage. `sha256` is that of its manifest, which holds the sha256 of every file."""

    ordinal: int
    name: str
    phase: Phase
    path: Path
    sha256: str


def load(
    base: Path | str,
    links: Sequence[Link],
    *,
    device: str | None = None,
    dtype: str | None = None,
    positions: str | None = None,
    attention: str = "stock",
) -> HFVideoLLM:
    """The base with the links merged into it, in their order.

    Raises:
        DatasetDrift: A link is missing, was changed, or was trained on another base or other links.
    """
    llm = video_llms.load(Path(base), device=device, dtype=dtype, positions=positions, attention=attention)
    if not isinstance(llm, HFVideoLLM):
        raise ModelRefused(f"{llm.name} is of family {llm.family!r}, which takes no adapters.")
    verify(links, llm.checkpoint.files_sha256)
    for link in links:
        _merge(llm, link)
    return llm


def verify(links: Sequence[Link], base_sha256: str) -> None:
    """Check every file of the links against its hash, and that they belong to this base in this order.

    Raises:
        DatasetDrift: A link is missing, was changed, or was trained on another base or other links.
    """
    before = ""
    for link in links:
        about = _checked(link)
        if about["base"] != base_sha256 or about["before"] != before:
            raise DatasetDrift(
                f"{link.path} was trained on another base or after other stages. Give the whole chain of one run."
            )
        before = link.sha256


def save(
    folder: Path, ordinal: int, name: str, phase: Phase, llm: HFVideoLLM, model: Any, about: dict[str, Any], tower: bool
) -> Link:
    """Write the adapter of `model` (and the tower, if it was trained) as a link of the chain in `folder`."""
    path = folder / f"{ordinal:02d}-{name if name == phase else f'{phase}-{name}'}"

    def fill(temporary: Path) -> None:
        config = model.peft_config["default"]
        # The folder of the base is this machine's business; the link names the base by its fingerprint.
        config.base_model_name_or_path = None
        config.save_pretrained(temporary)
        save_file(_plain(get_peft_model_state_dict(model, save_embedding_layers=False)), temporary / ADAPTER)
        if tower:
            save_file(_plain(tower_weights(model.get_base_model(), llm.tower_names)), temporary / TOWER)

    size = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    sha256 = sealed.write(path, fill, {**about, "ordinal": ordinal, "name": name, "phase": phase}, n_bytes=size)
    return Link(ordinal, name, phase, path, sha256)


def read(folder: Path) -> list[tuple[Link, dict[str, Any]]]:
    """The finished links in `folder` with what their manifests say, up to the first that is missing or changed."""
    found: list[tuple[Link, dict[str, Any]]] = []
    for path in sorted(folder.glob("[0-9][0-9]-*")):
        sealed_link = sealed.read(path)
        if sealed_link is None or sealed_link[0].get("ordinal") != len(found) + 1:
            break
        about, sha256 = sealed_link
        found.append((Link(about["ordinal"], about["name"], about["phase"], path, sha256), about))
    return found


def export(base: Path | str, links: Sequence[Link], out: Path, *, max_shard_size: str = "5GB") -> str:
    """Write the merged model as an ordinary model folder (safetensors) and return its fingerprint.

    A base in bfloat16 gives bfloat16, any other float32. Weights above `max_shard_size` are written in several files.

    Raises:
        ModelRefused: `out` holds something already.
    """
    base = Path(base)
    if out.exists() and any(out.iterdir()):
        raise ModelRefused(f"{out} is not empty. Give a new folder to export to.")
    llm = load(base, links, device="cpu", dtype=_dtype_of(base))
    out.mkdir(parents=True, exist_ok=True)
    llm.model.save_pretrained(out, max_shard_size=max_shard_size)
    for file in sorted(base.iterdir()):
        if (
            file.is_file()
            and not file.name.endswith(WEIGHTS)
            and file.name not in ("config.json", checkpoints.MANIFEST)
        ):
            shutil.copy2(file, out / file.name)
    return checkpoints.write_manifest(out)


def tower_weights(model: nn.Module, tower_names: Sequence[str]) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if in_tower(name, tower_names)}


def in_tower(name: str, tower_names: Sequence[str]) -> bool:
    """Whether a parameter or module of this name belongs to the vision tower."""
    return any(f".{tower}." in f".{name}." for tower in tower_names)


def _merge(llm: HFVideoLLM, link: Link) -> None:
    if (link.path / TOWER).is_file():
        result = llm.model.load_state_dict(load_file(link.path / TOWER), strict=False)
        if result.unexpected_keys:
            raise ModelRefused(f"{link.path / TOWER} holds weights that this model does not have. Give its own base.")
    model: Any = PeftModel.from_pretrained(
        llm.model, str(link.path), config=LoraConfig.from_pretrained(str(link.path)), local_files_only=True
    )
    llm.model = model.merge_and_unload()


def _checked(link: Link) -> dict[str, Any]:
    found = sealed.read(link.path)
    if found is None or found[1] != link.sha256 or not (link.path / ADAPTER).is_file():
        raise DatasetDrift(f"{link.path} is missing or was changed after training. Restore it, or train again.")
    _refuse_foreign(link.path)
    return found[0]


def _refuse_foreign(link: Path) -> None:
    """A configuration may name a model, or a module to import, and it may have come back from elsewhere."""
    usual = LoraConfig().to_dict()
    said = json.loads((link / "adapter_config.json").read_text(encoding="utf-8"))
    strange = [name for name, value in said.items() if name not in OWN and value and value != usual.get(name)]
    if strange:
        raise ModelRefused(
            f"The adapter in {link} sets {strange[0]} to {said[strange[0]]!r}, which our training never does. It is "
            "not loaded; train the run again."
        )


def _plain(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in weights.items()}


def _dtype_of(base: Path) -> str:
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    return "bfloat16" if "bfloat16" in (config.get("dtype"), config.get("torch_dtype")) else "float32"
