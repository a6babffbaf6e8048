"""One export format as a value: what it is called, what its records cannot hold, and the functions that write it.

Every bundle is the same but for its data files: data, `provenance.jsonl`, `README.md`, and `manifest.json` last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tempo_core.exchange import sidecar
from tempo_core.exchange.base import (
    SPLITS,
    Exported,
    ExportPair,
    Version,
    bundle,
    json_line,
    usable,
    write_file,
    write_manifest,
)
from tempo_core.types import JsonDict

Records = Sequence[JsonDict]


def jsonl(split: str, records: Records) -> tuple[str, bytes]:
    """One record a line."""
    return f"{split}.jsonl", "".join(json_line(one) + "\n" for one in records).encode()


def json_list(split: str, records: Records) -> tuple[str, bytes]:
    """One list; a record a line all the same, so that two files can be compared."""
    name, content = "pairs" if split == "train" else split, ",\n".join(json_line(one) for one in records)
    return f"{name}.json", f"[\n{content}\n]\n".encode()


def nothing_else(pairs: Sequence[ExportPair]) -> Mapping[str, bytes]:
    return {}


def no_fault(pair: ExportPair) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Form:
    """A format. `leaves_out` is said to a person before anything is written.

    `fault` tells why this format cannot hold a pair; `texts` are those that only the sidecar can hold; `beside` makes
    further files; `clips` says that rendered clips are part of the bundle. `tags_count`: media tags inside texts count.
    """

    name: str
    title: str
    leaves_out: str
    record: Callable[[ExportPair], JsonDict]
    readme: Callable[[Version, Sequence[ExportPair]], str]
    file: Callable[[str, Records], tuple[str, bytes]] = jsonl
    fault: Callable[[ExportPair], str] = no_fault
    beside: Callable[[Sequence[ExportPair]], Mapping[str, bytes]] = nothing_else
    texts: tuple[str, ...] = ()
    tags_count: bool = True
    clips: bool = False

    def checked(self, pair: ExportPair) -> ExportPair:
        """With the reason why this format cannot hold it, if there is one."""
        return replace(pair, fault=pair.fault or self.fault(pair))

    def write(
        self, pairs: Iterable[ExportPair], version: Version, folder: Path, *, video_root: Path | None = None
    ) -> Exported:
        """Write the bundle whole or not at all.

        Args:
            folder: Must not exist, be empty, or hold an earlier export, which is replaced.
            video_root: Video paths are written relative to it; None: the deepest folder that holds all videos.

        Raises:
            FolderTaken: The folder holds something else.
            NoSpace: The disk is full; the folder is as it was before.
        """
        kept, skipped = usable(map(self.checked, pairs), video_root, tags_count=self.tags_count)
        clips = {path.name: path for pair in kept for path in pair.clips or ()} if self.clips else {}
        n_bytes = sum(path.stat().st_size for path in clips.values())
        with bundle(folder, n_bytes=n_bytes) as partial:
            for split in SPLITS:
                members = [self.record(pair) for pair in kept if pair.split == split]
                if members:
                    name, content = self.file(split, members)
                    write_file(partial / name, content)
            for name, path in clips.items():
                write_file(partial / "clips" / name, path.read_bytes())
            for name, content in self.beside(kept).items():
                write_file(partial / name, content)
            write_file(partial / sidecar.PROVENANCE, sidecar.lines(kept, self.record, self.texts))
            write_file(partial / "README.md", self.readme(version, kept).encode())
            files = write_manifest(partial, self.name, version, kept, skipped)
        return Exported(folder, len(kept), skipped, files)


def heading(version: Version, pairs: Sequence[ExportPair], tool: str) -> str:
    """How a bundle's README begins: what it is, how many, and where the videos are."""
    n_train = sum(pair.split == "train" for pair in pairs)
    return f"""# {" ".join(version.name.split())} {version.number} for {tool}

{n_train} training pairs, {len(pairs) - n_train} held out; content {version.content_sha256}.
"""


VIDEOS_ELSEWHERE = """
The videos are not in this folder. Their paths are relative to the folder that held them when this was exported.
`provenance.jsonl` tells for each record (by the sha256 of its line) what it was made of; with it beside the data the
studio takes the pairs back whole: `python -m jobs import FOLDER`.
"""


def pretty(content: JsonDict) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()
