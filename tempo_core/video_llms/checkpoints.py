"""A model folder before it is loaded: which family it is, whether it is safe, and its fingerprint. No torch here.

The one thing to know: nothing that could run code is ever opened. Weights are safetensors or the folder is refused,
and no metadata file may name code of its own, because libraries have let such files override "do not run it".
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tempo_core.errors import ClipsRefused, ModelRefused
from tempo_core.types import Input
from tempo_core.video_llms.families import DRAWN_WORLD, FAMILIES, ONE_VIDEO_A_QUESTION

FAMILY_KEY = "tempo_family"
"""Key in config.json of checkpoints that we make ourselves, and it wins over `model_type`; transformers keeps it when
it saves a configuration."""

MANIFEST = "tempo_manifest.json"
CODE_OR_PICKLE = frozenset({".py", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".so"})
CODE_KEYS = frozenset({"auto_map", "trust_remote_code", "custom_pipelines"})
ADAPTER = "adapter_config.json"
"""transformers would load the model that this file names, and not the folder that was looked at."""

MAX_JSON_BYTES = 200_000_000
MAX_HEADER_BYTES = 100_000_000
"""The limit of safetensors itself."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that passed. `files_sha256` is its fingerprint; `n_bytes` counts the weights only."""

    family: str
    path: Path
    files_sha256: str
    n_bytes: int
    model_type: str

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def embedded(self) -> bool:
        """Whether it ships with the project and knows the words of the drawn world only."""
        return self.family in DRAWN_WORLD


def inspect(path: Path | str) -> Checkpoint:
    """Look at a model folder without loading it.

    Raises:
        ModelRefused: It is no model folder, holds code or pickles, or its family is not supported.
    """
    folder = Path(path).expanduser()
    config = _config(folder)
    _refuse_code(folder)
    weights = _weights(folder)
    model_type = str(config.get("model_type", ""))
    return Checkpoint(
        family=_family(folder, config, model_type),
        path=folder.resolve(),
        files_sha256=fingerprint(folder),
        n_bytes=sum(file.stat().st_size for file in weights),
        model_type=model_type,
    )


def check_input(checkpoint: Checkpoint, asked_on: Input) -> None:
    """Refuse an input that this model's family has not learned to read.

    Raises:
        ClipsRefused: Clips, and the family reads one video a question.
    """
    if asked_on == "clips" and checkpoint.family in ONE_VIDEO_A_QUESTION:
        raise ClipsRefused(
            f"{checkpoint.name} reads one video a question and was to be asked on clips. Ask it on captions or on the "
            "video, or ask another model."
        )


def fingerprint(path: Path | str) -> str:
    """sha256 over the sorted (file, sha256) lines of everything in the folder but notes and our own manifest."""
    folder = Path(path)
    lines = [f"{name} {digest}" for name, (digest, _) in sorted(_listing(folder).items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_manifest(path: Path | str) -> str:
    """Write down size and sha256 of every file, last of all, so that a half-written folder has none. Returns the
    fingerprint."""
    folder = Path(path)
    files = {name: {"sha256": digest, "bytes": size} for name, (digest, size) in sorted(_listing(folder).items())}
    temporary = folder / f"{MANIFEST}.part"
    temporary.write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")
    os.replace(temporary, folder / MANIFEST)
    return fingerprint(folder)


def verify_manifest(path: Path | str) -> str:
    """Check every file against the manifest, before anything is loaded from the folder. Returns the fingerprint.

    Raises:
        ModelRefused: No manifest (the folder was not finished), or a file is missing, changed, or was added.
    """
    folder = Path(path)
    if not (folder / MANIFEST).is_file():
        raise ModelRefused(f"{folder} has no {MANIFEST}: it was not finished or is not ours. Make it again.")
    written = _read_json(folder / MANIFEST)["files"]
    found = {name: {"sha256": digest, "bytes": size} for name, (digest, size) in _listing(folder).items()}
    for name in sorted(set(written) | set(found)):
        if written.get(name) != found.get(name):
            what = "is missing" if name not in found else "was added" if name not in written else "was changed"
            raise ModelRefused(f"{name} in {folder} {what} after its manifest was written. Make the folder again.")
    return fingerprint(folder)


def _config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ModelRefused(f"{folder} is not a folder. Give the folder that holds config.json and *.safetensors.")
    if not (folder / "config.json").is_file():
        raise ModelRefused(f"{folder} has no config.json, so it is no model. Give the folder that holds it.")
    return _read_json(folder / "config.json")


def _refuse_code(folder: Path) -> None:
    for file in _files(folder):
        if not _inside(file, folder):
            raise ModelRefused(
                f"{file.relative_to(folder)} in {folder} is a link to {file.resolve()}, outside the folder. "
                "Copy the file itself."
            )
        if file.name == ADAPTER:
            raise ModelRefused(
                f"{folder} holds an adapter ({ADAPTER}), which names a model of its own. Give the folder of the model, "
                "or merge the adapter into it first."
            )
        if file.suffix.lower() in CODE_OR_PICKLE:
            raise ModelRefused(
                f"{file.relative_to(folder)} in {folder} could run code when it is read. "
                "Only safetensors weights are loaded: convert the model, or take its safetensors version alone."
            )
        if file.suffix == ".json" and file.name != "tokenizer.json" and (key := _code_key(_read_json(file))):
            raise ModelRefused(
                f"{file.relative_to(folder)} in {folder} has the key {key!r}: the model wants to bring its own code, "
                "which is never run. Take a version that transformers supports by itself."
            )


def _inside(file: Path, folder: Path) -> bool:
    """Whether a link stays in the folder, or in the store of the Hub's cache that the folder is a snapshot of."""
    real, home = file.resolve(), folder.resolve()
    stores = [home.parent.parent / "blobs"] if home.parent.name == "snapshots" else []
    return any(real.is_relative_to(place) for place in (home, *stores))


def _weights(folder: Path) -> list[Path]:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelRefused(f"{folder} has no *.safetensors. Only safetensors weights are loaded: convert the model.")
    for index in folder.glob("*.safetensors.index.json"):
        for name in sorted(set(_read_json(index).get("weight_map", {}).values())):
            if not (folder / name).is_file():
                raise ModelRefused(f"{folder} lacks {name}, which {index.name} lists. Download it again.")
    for file in weights:
        _check_length(file)
    return weights


def _check_length(file: Path) -> None:
    """A safetensors file tells how long it must be; a broken-off download is shorter."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        n_header = int.from_bytes(stream.read(8), "little")
        header = stream.read(n_header) if 2 <= n_header <= min(size - 8, MAX_HEADER_BYTES) else b""
    try:
        tensors = [tensor for name, tensor in json.loads(header).items() if name != "__metadata__"]
        needed = 8 + n_header + max((tensor["data_offsets"][1] for tensor in tensors), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise ModelRefused(f"{file} is no safetensors file (its header cannot be read). Download it again.") from None
    if needed != size:
        raise ModelRefused(f"{file} has {size} bytes and should have {needed}: it is cut off. Download it again.")


def _family(folder: Path, config: dict[str, Any], model_type: str) -> str:
    marked = config.get(FAMILY_KEY)
    family = marked if isinstance(marked, str) and marked else model_type
    if family not in FAMILIES:
        supported = ", ".join(sorted(FAMILIES))
        raise ModelRefused(
            f"{folder} is of model type {family!r}. Supported are: {supported} (the tiny ones are the embedded models)."
        )
    return family


def _code_key(value: Any) -> str | None:
    if isinstance(value, dict):
        found = CODE_KEYS & value.keys()
        return sorted(found)[0] if found else next((k for v in value.values() if (k := _code_key(v))), None)
    if isinstance(value, list):
        return next((k for v in value if (k := _code_key(v))), None)
    return None


def _read_json(file: Path) -> dict[str, Any]:
    if file.stat().st_size > MAX_JSON_BYTES:
        raise ModelRefused(f"{file} has {file.stat().st_size} bytes, too many for a model's metadata. Remove it.")
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelRefused(f"{file} is not readable JSON ({error}). Download it again.") from None
    return value if isinstance(value, dict) else {"": value}


def _files(folder: Path) -> Iterator[Path]:
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and (Path(directory) / name).is_file():
                yield Path(directory) / name


def _listing(folder: Path) -> dict[str, tuple[str, int]]:
    listing = {}
    for file in _files(folder):
        if file.name not in (MANIFEST, f"{MANIFEST}.part") and file.suffix != ".md":
            status = file.stat()
            digest = _sha256(file, status.st_size, status.st_mtime_ns)
            listing[file.relative_to(folder).as_posix()] = (digest, status.st_size)
    return listing


@lru_cache(maxsize=4096)
def _sha256(file: Path, size: int, mtime_ns: int) -> str:
    # Size and time are part of the key: 15 GB are hashed once a process, a changed file is hashed again.
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
