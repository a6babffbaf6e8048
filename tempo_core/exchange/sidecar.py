"""Where each record comes from, in a file of its own: trainers drop columns that they do not know, or stop at them.

`provenance.jsonl` has one line per record, found by the record's sha256. Its values are flat and their types never
change. Read back, they make the pair whole again; they come from outside, so each is checked before it is believed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tempo_core.errors import TempoError
from tempo_core.exchange.base import ExportPair, json_line
from tempo_core.types import FilterVerdict, JsonDict, level_key

PROVENANCE = "provenance.jsonl"
TEXTS = ("question", "chosen", "rejected")
LONGEST_WORD = 300
"""Characters of a name, a rule or a code."""
MOST_CLIPS = 10_000
LARGEST = 2**63 - 1


class BadProvenance(TempoError):
    """A sidecar that no export wrote, or that was changed since."""


@dataclass(frozen=True, slots=True)
class Returned:
    """What an export told of a pair besides its texts: enough to make it again. `rejected` only where the record of
    that format cannot hold it."""

    uid: str
    video_sha256: str
    kind: str
    magnitude: int | None
    difficulty: float | None
    order: tuple[int, ...] | None
    split: str
    timeline_sha256: str
    n_clips: int | None
    seed: int | None
    law: str
    attempt: int
    aliases: tuple[int, ...]
    model: str
    model_sha256: str
    input: str
    sampling: Mapping[str, Any] = field(default_factory=dict)
    filters: tuple[FilterVerdict, ...] = ()
    review: str = ""
    reviewer: str = ""
    edited: bool = False
    bulk: bool = False
    rejected: str | None = None


def columns(pair: ExportPair) -> JsonDict:
    """The pair as flat values whose types never change: nested or sometimes-missing keys break loaders."""
    p = pair.provenance
    return {
        "pair_id": pair.uid,
        "video": pair.video.as_posix(),
        "video_sha256": pair.video_sha256,
        "question": pair.prompt,
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "kind": pair.kind,
        "magnitude": pair.magnitude,
        "difficulty": pair.difficulty,
        "level": level_key(pair.level),
        "order": None if pair.order is None else list(pair.order),
        "split": pair.split,
        "n_clips": p.n_clips,
        "timeline_sha256": p.timeline_sha256,
        "seed": p.seed,
        "law": p.law or "",
        "attempt": p.attempt,
        "aliases": list(p.aliases),
        "source_model": p.model,
        "model_sha256": p.model_sha256,
        "input_mode": p.input,
        "sampling": json.dumps(dict(p.sampling), sort_keys=True),
        "filters": json.dumps([asdict(verdict) for verdict in p.filters]),
        "review": p.review,
        "reviewer": p.reviewer,
        "edited": p.edited,
        "bulk": p.bulk,
    }


def digest(record: Mapping[str, Any]) -> str:
    """sha256 of a record as this studio writes it; spaces and line ends of the file do not matter.

    Empty for what it never writes: half a character, or a number without end.
    """
    try:
        return hashlib.sha256(json_line(dict(record)).encode()).hexdigest()
    except (ValueError, RecursionError):
        return ""


def lines(pairs: Iterable[ExportPair], record: Callable[[ExportPair], JsonDict], texts: Sequence[str] = ()) -> bytes:
    """The sidecar of these records. `texts` are those that the record itself cannot hold."""
    kept = [name for name in TEXTS if name not in texts]
    return "".join(
        json_line({"record_sha256": digest(record(pair))} | {k: v for k, v in columns(pair).items() if k not in kept})
        + "\n"
        for pair in pairs
    ).encode()


def read(values: Mapping[str, Any]) -> Returned:
    """One line of a sidecar, or one row of a parquet file that this studio wrote.

    Raises:
        BadProvenance: A value is missing, or of another type or range.
    """
    v = _Values(values)
    rejected = values.get("rejected")
    return Returned(
        uid=v.text("pair_id", r"[0-9A-Za-z_-]{1,128}"),
        video_sha256=v.text("video_sha256", r"[0-9a-f]{64}"),
        # Kinds, laws and inputs are open words; they stand in file names and filters later.
        kind=v.text("kind", r"[a-z0-9_-]{1,40}"),
        magnitude=v.whole("magnitude", least=2),
        difficulty=v.real("difficulty"),
        order=v.wholes("order"),
        split=v.text("split", r"train|held_out"),
        timeline_sha256=v.text("timeline_sha256", r"|[0-9a-f]{64}"),
        n_clips=v.whole("n_clips", least=1),
        seed=v.whole("seed", least=0),
        law=v.text("law", r"|tempo|authors"),
        attempt=v.whole("attempt", least=0) or 0,
        aliases=v.wholes("aliases") or (),
        model=v.text("source_model"),
        model_sha256=v.text("model_sha256", r"|[0-9a-f]{64}"),
        input=v.text("input_mode", r"[a-z0-9_-]{0,40}"),
        sampling=v.sampling(),
        filters=v.filters(),
        review=v.text("review"),
        reviewer=v.text("reviewer"),
        edited=v.truth("edited"),
        bulk=v.truth("bulk"),
        rejected=rejected if isinstance(rejected, str) else None,
    )


@dataclass(frozen=True, slots=True)
class _Values:
    """Values of a file from elsewhere; each question names what it takes."""

    values: Mapping[str, Any]

    def text(self, name: str, form: str = r"[^\0\ud800-\udfff]*") -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or len(value) > LONGEST_WORD or not re.fullmatch(form, value, re.DOTALL):
            raise self._bad(name)
        return value

    def whole(self, name: str, least: int) -> int | None:
        value = self.values.get(name)
        if value is not None and not (_is_whole(value) and least <= value <= LARGEST):
            raise self._bad(name)
        return value

    def real(self, name: str) -> float | None:
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._bad(name)
        return float(value)

    def wholes(self, name: str) -> tuple[int, ...] | None:
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > MOST_CLIPS or not all(_is_whole(part) for part in value):
            raise self._bad(name)
        if any(not 0 <= part <= LARGEST for part in value):
            raise self._bad(name)
        return tuple(value)

    def truth(self, name: str) -> bool:
        value = self.values.get(name)
        if not isinstance(value, bool):
            raise self._bad(name)
        return value

    def sampling(self) -> JsonDict:
        found = self._json("sampling")
        if not isinstance(found, dict):
            raise self._bad("sampling")
        return found

    def filters(self) -> tuple[FilterVerdict, ...]:
        found = self._json("filters")
        try:
            verdicts = [_Values(dict(one)) for one in found]
            return tuple(
                FilterVerdict(
                    v.text("name", r"[a-z0-9_-]{1,40}"), v.truth("passed"), v.real("value"), v.text("rule"),
                    v.whole("version", least=1) or 1,
                )
                for v in verdicts
            )  # fmt: skip
        except (TypeError, ValueError, BadProvenance):
            raise self._bad("filters") from None

    def _json(self, name: str) -> Any:
        text = self.values.get(name)
        try:
            return json.loads(text if isinstance(text, str) else "", parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise self._bad(name) from None

    def _bad(self, name: str) -> BadProvenance:
        given = repr(self.values.get(name, "missing"))[:60]
        return BadProvenance(
            f"{name} is {given}, which no export writes. Export the pairs again, or take {PROVENANCE} out of the "
            "folder: then they come without what they were made of."
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
