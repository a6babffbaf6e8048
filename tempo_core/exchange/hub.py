"""Parquet and a dataset card as the Hugging Face hub reads them: `data/<split>-*.parquet` and `README.md`.

All columns are flat and typed, so that no loader has to guess. There is no `metadata.jsonl`, and videos are named but
not contained: a folder with media would be loaded as a video folder, without the columns.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tempo_core.exchange import fields
from tempo_core.exchange.base import SPLITS, ExportPair, ForeignPair, Version
from tempo_core.exchange.form import Form, Records
from tempo_core.exchange.quoting import markdown_text, yaml_text
from tempo_core.exchange.sidecar import TEXTS, columns
from tempo_core.types import level_key

_TYPES = {
    "magnitude": pa.int32(),
    "difficulty": pa.float64(),
    "order": pa.list_(pa.int32()),
    "n_clips": pa.int32(),
    "seed": pa.int64(),
    "attempt": pa.int32(),
    "aliases": pa.list_(pa.int32()),
    "edited": pa.bool_(),
    "bulk": pa.bool_(),
}
"""Of the columns that are no text."""
KNOWN = (*TEXTS, "video")


def fits(record: Mapping[str, Any]) -> bool:
    return "question" in record and "chosen" in record


def read(record: Mapping[str, Any]) -> tuple[ForeignPair, ...]:
    """The pair of one row, of ours or of another flat set."""
    prompt, chosen, rejected = (fields.text(record, name) for name in TEXTS)
    prompt, extra = fields.untagged(prompt, "<video>"), fields.rest(record, KNOWN)
    return (ForeignPair(fields.one_video(record, "video"), prompt, chosen, rejected, extra),)


def parquet(split: str, rows: Records) -> tuple[str, bytes]:
    """The rows of a split as one file."""
    schema = pa.schema([(name, _TYPES.get(name, pa.string())) for name in rows[0]])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink)
    return f"data/{split}-00000-of-00001.parquet", sink.getvalue()


def card(version: Version, pairs: Sequence[ExportPair]) -> str:
    """The dataset card: a YAML header for the hub, then what the set is, how it was made and what it is not."""
    return f"""{_header(version, pairs)}
# {markdown_text(version.name)}, version {version.number}

{len(pairs)} preference pairs about the order of events in videos, made and reviewed in TEMPO Studio.
Content hash: `{version.content_sha256}`.

## What a row holds
`question` was asked about the whole `video`. `chosen` is what the model said about the clips in their true order,
`rejected` what it said about the perturbed order (`kind`, `magnitude`, `order`: the clips shown, as places in the true
order). `difficulty` is measured from the perturbation, 1 = hard, comparable inside one kind only; `level` is its
quarter there, `l1` the easiest. `sampling` and `filters` are JSON. The videos are not contained; `video_sha256` names
each one by its bytes.

## How many
{_table(pairs)}
## How it was made
Models asked: {_listed(pair.provenance.model for pair in pairs)}. Input: {_listed(p.provenance.input for p in pairs)}.
A Video LLM answers on a video's clips in order and on the same clips dropped, shuffled or reversed in blocks, after
TEMPO (arXiv 2503.16929); no other model judges. Filter rules: {_rules(pairs)}.
Prompts: {_some(pair.prompt for pair in pairs)}
Magnitudes r: {_listed(str(pair.magnitude or "") for pair in pairs)}. Plans drawn by the law:
{_listed(pair.provenance.law or "" for pair in pairs)}; each row names its plan's seed and order.
{_funnel(version)}
{_review(pairs)} {markdown_text(version.agreement)}
{_stated(version)}
## Licence and sources
{markdown_text(version.videos_from) or "The publisher has not said where the videos come from."}
The videos have licences of their own; this set passes none of them on.

## Known limits
Chosen answers are a model's own and may be wrong about what happens. Pairs of kind drop also differ in length.
`magnitude` is not one scale over kinds. Paths are relative to the folder that held the videos.

## Citation
TEMPO: Temporal Preference Optimization of Video LLMs via Difficulty Scheduling and Pre-SFT Alignment,
arXiv 2503.16929.
"""


def _header(version: Version, pairs: Sequence[ExportPair]) -> str:
    present = [split for split in SPLITS if any(pair.split == split for pair in pairs)]
    files = "".join(f"\n  - split: {split}\n    path: data/{split}-*.parquet" for split in present)
    return f"""---
pretty_name: {yaml_text(version.name)}
license: {yaml_text(version.licence)}
language:
- {yaml_text(version.language)}
task_categories:
- video-text-to-text
tags:
- preference
- dpo
- video
- temporal
size_categories:
- {_size(len(pairs))}
configs:
- config_name: default
  data_files:{files if present else " []"}
---"""


def _size(n: int) -> str:
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
    return next((name for bound, name in bounds if n < bound), "1M<n<10M")


def _table(pairs: Sequence[ExportPair]) -> str:
    counts = Counter((pair.kind, level_key(pair.level), pair.split) for pair in pairs)
    rows = sorted({(kind, level) for kind, level, _ in counts})
    lines = [
        f"| {markdown_text(kind)} | {level} | {counts[kind, level, 'train']} | {counts[kind, level, 'held_out']} |\n"
        for kind, level in rows
    ]
    return "| kind | level | train | held out |\n|---|---|---|---|\n" + "".join(lines)


def _review(pairs: Sequence[ExportPair]) -> str:
    n_bulk, n_edited = (sum(getattr(pair.provenance, name) for pair in pairs) for name in ("bulk", "edited"))
    people = len({pair.provenance.reviewer for pair in pairs if pair.provenance.reviewer})
    return (
        f"Review: {len(pairs)} accepted by {people} reviewer{'s' * (people != 1)}, "
        f"{n_bulk} of them in bulk, {n_edited} after editing."
    )


def _stated(version: Version) -> str:
    """The bounds on what nobody read, if there are any."""
    if not version.stated:
        return ""
    lines = "".join(f"- {markdown_text(line)}\n" for line in version.stated)
    return f"\nAccepted unread on the strength of a blind sample each, corrected for their number (Holm):\n{lines}"


def _funnel(version: Version) -> str:
    """What became of every pair that was made, so that a reader sees how much was thrown away."""
    if not version.funnel:
        return ""
    lines = "".join(f"| {markdown_text(what)} | {n} |\n" for what, n in version.funnel.items())
    return f"\n| of all pairs | |\n|---|---|\n{lines}"


def _some(texts: Iterable[str], most: int = 6) -> str:
    """The commonest of them, and how many there are besides."""
    counts = Counter(texts)
    more = f" and {len(counts) - most} more" if len(counts) > most else ""
    return "; ".join(markdown_text(text) for text, _ in counts.most_common(most)) + more


def _rules(pairs: Sequence[ExportPair]) -> str:
    return _listed(verdict.name for pair in pairs for verdict in pair.provenance.filters)


def _listed(values: Iterable[str]) -> str:
    return ", ".join(sorted({markdown_text(value) for value in values if value})) or "not recorded"


FORM = Form(
    name="hub",
    title="Hugging Face parquet",
    leaves_out="The columns hold the texts and all that is known of how a pair was made; only the videos stay here.",
    record=columns,
    readme=card,
    file=parquet,
    tags_count=False,
)
