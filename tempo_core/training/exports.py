"""A trained model that leaves the studio: its adapters, or everything merged, in a folder that appears whole or not.

The one thing to know: every link is checked against its hash before anything is written, so that what leaves is what
was trained. An existing folder is never touched.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from tempo_core.exchange.base import bundle, sync_all, write_file
from tempo_core.training import chain
from tempo_core.training.chain import Link
from tempo_core.video_llms import checkpoints

CARD = "README.md"
CHAIN = "chain.json"
"""In an export of adapters: the base's fingerprint, and the links in the order in which they are merged."""


def adapters(base: Path, links: Sequence[Link], folder: Path, card: str) -> None:
    """Write each link as a folder that PEFT loads.

    Raises:
        DatasetDrift: A link is missing or was changed, or belongs to another base or chain.
        FolderTaken: The folder holds something, or cannot be made.
        NoSpace: The disk is full, or would be; nothing is left there.
    """
    inspected = checkpoints.inspect(base)
    chain.verify(links, inspected.files_sha256)
    n_bytes = sum(file.stat().st_size for link in links for file in link.path.rglob("*") if file.is_file())
    with bundle(folder, replace_export=False, n_bytes=n_bytes) as partial:
        for link in links:
            (partial / link.path.name).mkdir()
            for file in link.path.iterdir():
                shutil.copyfile(file, partial / link.path.name / file.name)
        listed = [
            {"folder": link.path.name, "phase": link.phase, "name": link.name, "sha256": link.sha256} for link in links
        ]
        about = {"base_sha256": inspected.files_sha256, "base": inspected.name, "links": listed}
        write_file(partial / CHAIN, json.dumps(about, ensure_ascii=False, indent=1).encode())
        _finish(partial, card)


def merged(base: Path, links: Sequence[Link], folder: Path, card: str, *, max_shard_size: str = "5GB") -> str:
    """Write the base with all links merged into it, as an ordinary model folder; its fingerprint.

    Raises:
        The same as `adapters`.
    """
    inspected = checkpoints.inspect(base)
    chain.verify(links, inspected.files_sha256)
    with bundle(folder, replace_export=False, n_bytes=inspected.n_bytes) as partial:
        sha256 = chain.export(base, links, partial, max_shard_size=max_shard_size)
        _finish(partial, card)
    return sha256


def _finish(partial: Path, card: str) -> None:
    # A card of the base would tell of another model.
    (partial / CARD).unlink(missing_ok=True)
    write_file(partial / CARD, card.encode())
    sync_all(partial)
