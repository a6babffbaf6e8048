"""Files of pairs from elsewhere: opened, recognised by their keys, and read record by record within fixed limits.

A record that cannot be read is skipped with its reason and the file is read on; a file that is not what it should be
is refused whole, before anything of it is kept. Nothing here opens a video.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tempo_core.errors import TempoError
from tempo_core.exchange import sidecar, trl
from tempo_core.exchange.base import MANIFEST, ForeignPair, Unreadable, text_fault
from tempo_core.exchange.fields import shown
from tempo_core.exchange.ms_swift_rejected_video import SAME_ANSWER
from tempo_core.exchange.records import BadFile, records
from tempo_core.exchange.sidecar import PROVENANCE, Returned

SUFFIXES = (".jsonl", ".json", ".parquet")
NO_DATA = (MANIFEST, PROVENANCE, "dataset_info.json", "dataset_infos.json", "metadata.jsonl")
"""Files of a bundle that hold no pairs."""


class Reader(Protocol):
    """A module that knows one form of record."""

    def fits(self, record: Mapping[str, Any]) -> bool: ...

    def read(self, record: Mapping[str, Any]) -> tuple[ForeignPair, ...]: ...


class NotKnown(TempoError):
    """A file of a form that is not taken, or that could be of several."""


@dataclass(frozen=True, slots=True)
class Found:
    """A pair of a file, or why there is none; `line` counts from 1. `returned` is what our own export told of it."""

    line: int
    pair: ForeignPair | None = None
    reason: str = ""
    returned: Returned | None = None


def files_of(place: Path) -> list[Path]:
    """The files with pairs: the one that is named, or those of a folder (and its `data/`), by name.

    Raises:
        NotKnown: There is nothing there that could hold pairs.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise NotKnown(f"{place} does not exist on this machine. Name a file of pairs, or a folder that holds some.")
    inside = [path for folder in (place, place / "data") if folder.is_dir() for path in sorted(folder.iterdir())]
    found = [path for path in inside if path.suffix in SUFFIXES and path.name not in NO_DATA and path.is_file()]
    if not found:
        raise NotKnown(f"{place} holds no file of pairs. Files ending in {', '.join(SUFFIXES)} are looked for.")
    return found


def recognised(path: Path, readers: Mapping[str, Reader], asked: str | None = None) -> str:
    """The form of a file, by the keys of its first readable record; `asked` settles it where it is known.

    Raises:
        NotKnown: The keys fit no form, several, or one that has no video.
        BadFile: The file cannot be read, or holds no record.
    """
    if asked is not None and asked not in readers:
        raise NotKnown(f"There is no form {asked!r} to import; there are {', '.join(readers)}.")
    record = next((record for _, record in records(path) if not isinstance(record, str)), None)
    if record is None:
        raise BadFile(f"{path.name} holds no record that can be read. Each is one JSON object with a pair in it.")
    fitting = [name for name, reader in readers.items() if reader.fits(record)]
    if asked is not None:
        return asked
    if len(fitting) == 1:
        return fitting[0]
    raise NotKnown(f"{path.name}: {_why_not(record, fitting)}")


def _why_not(record: Mapping[str, Any], fitting: list[str]) -> str:
    if fitting:
        return f"its keys fit {' and '.join(fitting)}. Say which it is: --format {fitting[0]}"
    if isinstance(record.get("prompt"), list) and (record.get("images") or "image" in trl.types(record)):
        return (
            "its pairs are about pictures (TRL with frames as images), and no video is named in them. Export them with "
            "the video's path, in `videos`."
        )
    if isinstance(record.get("prompt"), list):
        return (
            "its pairs are text only, as OpenRLHF trains them: no video is named in them, so nobody could judge or "
            "train them here. Export them with the video's path."
        )
    return (
        f"no form has the keys {shown(sorted(map(str, record)))}. Known are ms-swift, LLaMA-Factory, TRL, flat "
        "Hugging Face rows (question, chosen, rejected, video), LLaVA-Hound and RRPO."
    )


def found(path: Path, reader: Reader, limit: int | None = None) -> Iterator[Found]:
    """Every pair of the file, and every record without one with its reason. At most `limit` records.

    Raises:
        BadFile: It cannot be read to its end, or holds more records than are taken.
        BadProvenance: The sidecar beside it is not one of ours.
    """
    told = _told(path)
    for number, record in records(path, limit):
        if isinstance(record, str):
            yield Found(number, reason=record)
            continue
        try:
            pairs = reader.read(record)
        except Unreadable as unreadable:
            yield Found(number, reason=str(unreadable))
            continue
        returned = _returned(record, told)
        for pair in pairs:
            yield _judged(number, pair, returned)


def _judged(number: int, pair: ForeignPair, returned: Returned | None) -> Found:
    if returned is not None and returned.rejected is not None:
        pair = ForeignPair(pair.video, pair.prompt, pair.chosen, returned.rejected, pair.extra)
    if pair.chosen == pair.rejected and "rejected_videos" in pair.extra:
        return Found(number, reason=SAME_ANSWER)
    fault = text_fault(pair.prompt, pair.chosen, pair.rejected)
    return Found(number, pair, returned=returned) if fault is None else Found(number, reason=fault)


def _told(path: Path) -> dict[str, list[Returned]]:
    """What the sidecar tells, by record; the same record may stand there twice, of two plans."""
    place = path.parent / PROVENANCE
    if not place.is_file() or path == place:
        return {}
    found: dict[str, list[Returned]] = {}
    for number, values in records(place):
        if isinstance(values, str):
            raise sidecar.BadProvenance(f"{PROVENANCE}, line {number}: {values}. Take the file out of the folder.")
        try:
            found.setdefault(str(values.get("record_sha256")), []).append(sidecar.read(values))
        except sidecar.BadProvenance as error:
            raise sidecar.BadProvenance(f"{PROVENANCE}, line {number}: {error}") from None
    return found


def _returned(record: Mapping[str, Any], told: dict[str, list[Returned]]) -> Returned | None:
    """By the record's hash; a row of our own parquet tells itself."""
    known = told.get(sidecar.digest(record)) if told else None
    if known:
        return known.pop(0)
    if "pair_id" in record and "timeline_sha256" in record and "question" in record:
        try:
            return sidecar.read(record)
        except sidecar.BadProvenance:
            return None
    return None
