"""The model card that leaves with a trained model: what it was made from, how, what it gained and what it lost.

Everything in it was stored before; nothing is measured here. Names are text of people and models: they are quoted in
the header and escaped in the body, so that a card cannot say what its maker did not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tempo_core.exchange.quoting import markdown_text, yaml_text
from tempo_core.statistics import Verdict

Form = Literal["adapter", "merged"]
FORMS: tuple[Form, ...] = ("adapter", "merged")

PAPER = "TEMPO (arXiv 2503.16929)"
_METHODS = {
    "dpo": "direct preference optimisation on pairs of a true and a perturbed account of a video",
    "sft": "supervised fine-tuning on questions with answers",
    "chosen_only": "fine-tuning on the chosen answers of the pairs alone (a control)",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A model, a dataset version or an SFT set, known by its hash."""

    name: str
    sha256: str
    n: int = 0
    number: int | None = None
    n_held_out: int = 0
    stated: tuple[str, ...] = ()
    """What samples showed of pairs that were accepted unread."""


@dataclass(frozen=True, slots=True)
class LinkLine:
    """One adapter of the chain. `folder` is its name in the exported folder."""

    folder: str
    phase: str
    name: str
    n_rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Curve:
    """Where a value of one level began and ended: means over the first and the last few steps."""

    level: str
    key: str
    first: float
    last: float
    n_steps: int


@dataclass(frozen=True, slots=True)
class Figure:
    """A benchmark's figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Change:
    """One metric before and after. `difference` is on the same questions, None where they differ."""

    benchmark: str
    metric: str
    n: int
    before: Figure | None
    after: Figure
    difference: Figure | None = None
    verdict: Verdict | Literal["not compared"] = "not compared"
    split: str = "held_out"
    """Whose videos were asked about: "held_out" of the collection, else a part of the benchmark's own."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is stored about a run, as its card tells it."""

    run_id: int
    name: str
    recipe: str
    phases: tuple[str, ...]
    state: str
    base: Source
    family: str
    dataset: Source | None
    sft_set: Source | None
    plan_sha256: str | None
    config: Mapping[str, Any]
    code_version: str
    libraries: Mapping[str, str]
    links: tuple[LinkLine, ...]
    curves: tuple[Curve, ...]
    changes: tuple[Change, ...]


def card(facts: RunFacts, form: Form) -> str:
    """The whole README.md: a YAML header that programs read, then the same for people."""
    return f"""{_header(facts, form)}
# {markdown_text(facts.name)} (run {facts.run_id})

{_what(facts, form)}

## How to load it
{_loading(facts, form)}

## What it was trained on
{_sources(facts)}

## Stages
{_table(("folder" if form == "adapter" else "stage", "phase", "rows", "sha256 of its manifest"), _links(facts))}
## How training ended
{_curves(facts.curves)}
## Measured before and after
{_changes(facts.changes)}
### What got worse
{_worse(facts.changes)}

## Every setting
{_table(("setting", "value"), [(name, _number(value)) for name, value in facts.config.items()])}
Code: `{_code(facts.code_version)}`. {_libraries(facts.libraries)}

## Licence
The licence of the base model holds for this model too, and nothing is added to it. The videos have licences of their
own, which nobody here has granted: read both before you publish or use this model.

## Known limits
The pairs teach the order of events; answers may still be wrong about what happens. {_asked_about(facts.changes)}
Intervals cover the choice of videos, not the chance of training: for that, train several seeds.
"""


def _header(facts: RunFacts, form: Form) -> str:
    """The hub's keys, and under `tempo_studio` what makes the run known again."""
    own: dict[str, Any] = {
        "method": ", then ".join(_METHODS.get(phase, phase) for phase in facts.phases),
        "run": facts.run_id,
        "recipe": facts.recipe,
        "base_model_sha256": facts.base.sha256,
        "family": facts.family,
        "dataset": _source(facts.dataset),
        "sft_set": _source(facts.sft_set),
        "training_plan_sha256": facts.plan_sha256,
        "chain": [link.sha256 for link in facts.links],
        "config": dict(facts.config),
    }
    return f"""---
base_model: {yaml_text(facts.base.name)}
base_model_relation: {"adapter" if form == "adapter" else "finetune"}
library_name: {"peft" if form == "adapter" else "transformers"}
pipeline_tag: video-text-to-text
license: other
license_name: same-as-the-base-model
tags:
- video
- temporal
- dpo
- tempo-studio
tempo_studio:
{_yaml(own, 1)}---
"""


def _source(source: Source | None) -> dict[str, Any] | None:
    if source is None:
        return None
    number = {} if source.number is None else {"version": source.number}
    return {"name": source.name, **number, "content_sha256": source.sha256, "n": source.n}


def _yaml(values: Mapping[str, Any], depth: int) -> str:
    lines = []
    for key, value in values.items():
        indent = "  " * depth
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key}:\n{_yaml(value, depth + 1)}")
        elif isinstance(value, list | tuple):
            inside = "".join(f"{indent}- {_scalar(part)}\n" for part in value)
            lines.append(f"{indent}{key}:\n{inside}" if value else f"{indent}{key}: []\n")
        else:
            lines.append(f"{indent}{key}: {_scalar(value)}\n")
    return "".join(lines)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        # Without a point YAML 1.1 reads 5e-06 as a word.
        mantissa, e, exponent = repr(value).partition("e")
        return f"{mantissa}.0e{exponent}" if e and "." not in mantissa else repr(value)
    return str(value) if isinstance(value, int) else yaml_text(str(value))


def _what(facts: RunFacts, form: Form) -> str:
    method = ", then ".join(_METHODS.get(phase, markdown_text(phase)) for phase in facts.phases)
    holds = (
        "This folder holds the adapters alone, one a stage, each to be merged before the next."
        if form == "adapter"
        else "This folder holds the whole model with every adapter merged into it."
    )
    unfinished = "" if facts.state == "succeeded" else f" The run is **{markdown_text(facts.state)}**, not finished."
    return (
        f"{markdown_text(facts.base.name)} after {method}. Trained in TEMPO Studio after {PAPER}. {holds}{unfinished}"
    )


def _loading(facts: RunFacts, form: Form) -> str:
    if form == "merged":
        return """```python
from transformers import AutoModelForImageTextToText, AutoProcessor

folder = "this folder"
model = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto")
processor = AutoProcessor.from_pretrained(folder)
```
In TEMPO Studio: `video_llms.load(folder)`, or `python -m jobs evaluate --model FOLDER`."""
    return f"""The base model must be the one of sha256 `{_code(facts.base.sha256)}`. The order of the folders matters.
```python
from pathlib import Path

from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

base, folder = "the base model", Path("this folder")
model = AutoModelForImageTextToText.from_pretrained(base)
for link in sorted(folder.glob("[0-9][0-9]-*")):
    if (link / "tower.safetensors").is_file():
        model.load_state_dict(load_file(link / "tower.safetensors"), strict=False)
    model = PeftModel.from_pretrained(model, str(link)).merge_and_unload()
processor = AutoProcessor.from_pretrained(base)
```"""


def _sources(facts: RunFacts) -> str:
    rows = [("base model", facts.base.name, "", facts.base.sha256)]
    if facts.dataset is not None:
        d = facts.dataset
        rows.append(("dataset version", f"{d.name} {d.number}", f"{d.n - d.n_held_out} pairs", d.sha256))
    if facts.sft_set is not None:
        s = facts.sft_set
        version = "" if s.number is None else f" {s.number}"
        rows.append(("SFT set", f"{s.name}{version}", f"{s.n} examples", s.sha256))
    if facts.plan_sha256 is not None:
        rows.append(("training plan", "the order of all pairs", "", facts.plan_sha256))
    return _table(("what", "name", "holds", "sha256 of its content"), rows).rstrip() + _stated(facts.dataset)


def _stated(dataset: Source | None) -> str:
    if dataset is None or not dataset.stated:
        return ""
    lines = "\n".join(f"- {markdown_text(line)}" for line in dataset.stated)
    return f"\n\nOf these pairs some were accepted unread, each stratum after a blind sample:\n{lines}"


def _links(facts: RunFacts) -> list[tuple[str, ...]]:
    return [(link.folder, link.phase, str(link.n_rows), link.sha256) for link in facts.links]


def _curves(curves: Sequence[Curve]) -> str:
    if not curves:
        return "No curve is stored for this run.\n"
    keys = list(dict.fromkeys(curve.key for curve in curves))
    of = {(curve.level, curve.key): curve for curve in curves}
    rows = []
    for level in dict.fromkeys(curve.level for curve in curves):
        known = [of.get((level, key)) for key in keys]
        steps = max(curve.n_steps for curve in known if curve)
        rows.append((level, str(steps), *(f"{c.first:.3f} to {c.last:.3f}" if c else "" for c in known)))
    said = "Means over the first and the last steps of each level; l1 is the easiest.\n\n"
    return said + _table(("level", "steps", *(key.replace("_", " ") for key in keys)), rows)


def _changes(changes: Sequence[Change]) -> str:
    if not changes:
        return "This model was not measured. In TEMPO Studio: the page Evaluate, then export again.\n"
    rows = [
        (c.benchmark, c.metric, str(c.n), _figure(c.before), _figure(c.after), _figure(c.difference, "+"), c.verdict)
        for c in changes
    ]
    said = "With 95 % intervals by a bootstrap over videos; the difference is on the same questions. "
    heads = ("benchmark", "metric", "questions", "before", "after", "difference", "verdict")
    return f"{said}{_asked_about(changes)}\n\n{_table(heads, rows)}"


def _asked_about(changes: Sequence[Change]) -> str:
    """Whose videos the figures are of, benchmark by benchmark."""
    held_out = dict.fromkeys(markdown_text(c.benchmark) for c in changes if c.split == "held_out")
    own = dict.fromkeys(markdown_text(c.benchmark) for c in changes if c.split != "held_out")
    said = [f"Held-out videos of the same collection: {', '.join(held_out)}."] if held_out else []
    said += [f"Videos of the benchmark itself: {', '.join(own)}."] if own else []
    return " ".join(said)


def _figure(figure: Figure | None, sign: str = "") -> str:
    return "" if figure is None else f"{figure.value:{sign}.3f} [{figure.low:{sign}.3f}, {figure.high:{sign}.3f}]"


def _worse(changes: Sequence[Change]) -> str:
    if not changes:
        return "Unknown: nothing was measured."
    worse = [_named(c) for c in changes if c.verdict == "worse"]
    lower = [
        _named(c) for c in changes if c.verdict == "cannot tell" and c.difference is not None and c.difference.value < 0
    ]
    said = [f"Worse beyond chance: {', '.join(worse)}." if worse else "No measured figure is worse beyond chance."]
    if lower:
        said.append(f"Lower, but not beyond chance: {', '.join(lower)}.")
    if alone := [_named(c) for c in changes if c.difference is None]:
        said.append(f"Not compared, because the base was not asked the same questions: {', '.join(alone)}.")
    return " ".join(said)


def _named(change: Change) -> str:
    return markdown_text(f"{change.benchmark}/{change.metric}")


def _libraries(libraries: Mapping[str, str]) -> str:
    return ", ".join(f"{markdown_text(name)} {markdown_text(version)}" for name, version in libraries.items())


def _number(value: Any) -> str:
    return "none" if value is None else str(value)


def _code(text: str) -> str:
    """Inside back quotes, which nothing can escape: what is no plain word goes."""
    return "".join(c for c in text if c.isascii() and (c.isalnum() or c in "-_.")) or "unknown"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(markdown_text(head) for head in heads), "|".join("---" for _ in heads)]
    lines += [" | ".join(markdown_text(cell) for cell in row) for row in rows]
    return "".join(f"| {line} |\n" if i != 1 else f"|{line}|\n" for i, line in enumerate(lines))
