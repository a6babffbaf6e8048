"""One file of tensors that is whole and unchanged, or not there: what both stores keep on disk.

The one thing to know: a file is written under a name of its own, flushed, and only then gets its real name, so a kill,
a full disk or a second process leaves either a whole file or none. It carries a checksum of what it holds and the name
it was written for; what does not match both is removed and counts as never written.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

SUFFIX = ".safetensors"
_UNFINISHED = ".tmp-"
_ABANDONED_S = 3600.0
"""Our choice: nobody needs an hour for one file, so an unfinished one of this age belongs to a killed process."""

_HEADER_BYTES = 256
"""No less than what the file says of itself and of each tensor takes."""


def write(path: Path, tensors: Mapping[str, Tensor]) -> int:
    """Write the tensors and return the file's size in bytes.

    Raises:
        OSError: The disk is full, or the folder cannot be written; nothing of the file is left behind.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Bytes first, then an ordinary write: safetensors' own `save_file` maps the file into memory, and a full disk
    # would then end the process with SIGBUS where a write says ENOSPC.
    content = save(whole, metadata={"name": path.name, "crc32": _checksum(whole)})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return len(content)


def size(tensors: Mapping[str, Tensor]) -> int:
    """At most how many bytes `write` will need."""
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    return n_bytes + _HEADER_BYTES * (1 + len(tensors))


def read(path: Path) -> dict[str, Tensor] | None:
    """The tensors, or None where there is no such file. A damaged one is removed."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    tensors = _checked(content, path.name)
    if tensors is None:
        remove(path)
    return tensors


def remove(path: Path) -> None:
    # Another process may be quicker, or hold it open where that forbids removing.
    with contextlib.suppress(OSError):
        path.unlink()


def sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished; what another process writes just now stays."""
    for file in folder.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < time.time() - _ABANDONED_S:
                file.unlink()


def _checked(content: bytes, name: str) -> dict[str, Tensor] | None:
    try:
        n_header = int.from_bytes(content[:8], "little")
        about = json.loads(content[8 : 8 + n_header])["__metadata__"]
        tensors = load(content)
        return tensors if about == {"name": name, "crc32": _checksum(tensors)} else None
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of names, types, shapes and bytes: it is to find damage, and reads 60 MB in 40 ms (sha256: 0.3 s)."""
    value = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        value = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), value)
        value = zlib.crc32(bytes_of(tensor), value)
    return f"{value:08x}"


def bytes_of(tensor: Tensor) -> memoryview:
    """The tensor's bytes without a copy (one from another device is copied first)."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    # numpy knows no bfloat16; as bytes every type is equal.
    return flat.view(torch.uint8).numpy().data
