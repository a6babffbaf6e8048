"""What an experiment showed: every arm's figures over its seeds, and what changes against the reference arm.

Values of one figure are a table of seeds by items. Arms are compared on the seeds and items that both have, seed by
seed and item by item. A figure is judged *better*, *worse* or *cannot tell* where it is a benchmark's own; a single
task or level has an interval and no verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tempo_core.errors import TooFew
from tempo_core.experiments import CHOSEN_ONLY, Arm
from tempo_core.statistics import TwoLevel, Verdict, holm, two_level_bootstrap

ALPHA = 0.05

OWN_FIGURES: Mapping[str, tuple[str, ...]] = {
    "drawn_world": ("swap", "group", "order", "earlier", "recall", "content_questions"),
    "held_out_preference": ("accuracy", "accuracy_per_token"),
    "tempcompass": ("multi_choice", "yes_no", "caption_matching"),
    "vinoground": ("text", "video", "group"),
    "own_order": ("text", "video", "group"),
    "order_sensitivity": ("share",),
    "canary": (),
}
"""Figures that get a verdict; of other benchmarks it is `accuracy`."""

BASE = "base"
"""The arm that nothing was trained on."""

Key = tuple[str, str]
"""Benchmark and metric."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the runs of an arm answered: `values[seed]` has one value an item; an unparsed answer is 0."""

    items: tuple[str, ...]
    groups: tuple[str, ...]
    values: Mapping[int, tuple[float, ...]]
    chance: float | None = None
    n_unparsed: int = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """One cell of the table. `change` is this arm minus the reference; None for the reference itself."""

    arm: str
    benchmark: str
    metric: str
    value: TwoLevel
    seeds: tuple[int, ...]
    n_items: int
    n_groups: int
    n_unparsed: int
    chance: float | None
    change: TwoLevel | None = None
    p_adjusted: float | None = None
    """After Holm, over the figures of this comparison that get a verdict."""
    verdict: Verdict | None = None


def figures(of_arm: Mapping[str, Mapping[Key, Answers]], reference: str) -> tuple[Figure, ...]:
    """The table, arm by arm in the order given. Figures with one group of items only are left out."""
    found: list[Figure] = []
    for arm, measured in of_arm.items():
        against = {} if arm == reference else of_arm.get(reference, {})
        ours = [figure for key, answers in measured.items() if (figure := _figure(arm, key, answers, against.get(key)))]
        found += _judged(ours)
    return tuple(found)


def _figure(arm: str, key: Key, answers: Answers, reference: Answers | None) -> Figure | None:
    try:
        value = _within(0.0, two_level_bootstrap(list(answers.values.values()), answers.groups), answers)
        change = None if reference is None else difference(reference, answers)
    except TooFew:
        return None
    return Figure(
        arm=arm,
        benchmark=key[0],
        metric=key[1],
        value=value,
        seeds=tuple(answers.values),
        n_items=len(answers.items),
        n_groups=len(set(answers.groups)),
        n_unparsed=answers.n_unparsed,
        chance=answers.chance,
        change=change,
    )


def difference(first: Answers, second: Answers) -> TwoLevel | None:
    """Second minus first on what both answered; None where they share no seed or no item.

    The base has no seeds: it stands beside each seed of the other.
    """
    place = {item: i for i, item in enumerate(first.items)}
    shared = [(place[item], i) for i, item in enumerate(second.items) if item in place]
    rows = _paired(first.values, second.values)
    if not shared or not rows:
        return None
    left, right = ([pair[side] for pair in shared] for side in (0, 1))
    changed = [np.asarray(b)[right] - np.asarray(a)[left] for a, b in rows]
    return _within(-1.0, two_level_bootstrap(changed, [second.groups[i] for i in right]), first, second)


def _within(least: float, found: TwoLevel, *of: Answers) -> TwoLevel:
    """Few seeds widen an interval past what a share can be; log-probabilities have no such bounds."""
    shares = all(0 <= value <= 1 for answers in of for values in answers.values.values() for value in values)
    return replace(found, low=max(least, found.low), high=min(1.0, found.high)) if shares else found


UNTRAINED = -1
"""In the place of a seed: the base."""


def _paired(
    first: Mapping[int, tuple[float, ...]], second: Mapping[int, tuple[float, ...]]
) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    if UNTRAINED in first or UNTRAINED in second:
        return [(a, b) for a in first.values() for b in second.values()]
    return [(first[seed], second[seed]) for seed in first if seed in second]


def gets_verdict(benchmark: str, metric: str) -> bool:
    return metric in OWN_FIGURES.get(benchmark, ("accuracy",))


def _judged(ours: Sequence[Figure]) -> list[Figure]:
    """Verdicts of one comparison, corrected for the number of its figures (Holm)."""
    tested = [f for f in ours if f.change is not None and gets_verdict(f.benchmark, f.metric)]
    adjusted = dict(zip(map(_key, tested), holm([f.change.p for f in tested if f.change]), strict=True))
    return [_with_verdict(figure, adjusted.get(_key(figure))) for figure in ours]


def _key(figure: Figure) -> Key:
    return figure.benchmark, figure.metric


def _with_verdict(figure: Figure, p_adjusted: float | None) -> Figure:
    if p_adjusted is None or figure.change is None:
        return figure
    verdict: Verdict = "cannot tell"
    if p_adjusted <= ALPHA:
        verdict = "better" if figure.change.mean > 0 else "worse"
    return replace(figure, p_adjusted=p_adjusted, verdict=verdict)


# -- in words --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """One comparison in words: `short` is the answer, the figures are what it rests on."""

    question: str
    arm: str
    short: str
    better: tuple[Figure, ...]
    worse: tuple[Figure, ...]
    open: tuple[Figure, ...]


REJECTED = "Does the rejected side help here?"
ORDER = "Does the order help here?"


def answers(arms: Sequence[Arm], found: Sequence[Figure]) -> tuple[Answer, ...]:
    """What the controls answer, from exactly the comparisons of the table; what was not compared is left out."""
    reference = arms[0]
    asked: list[tuple[str, Arm]] = []
    for arm in arms[1:]:
        if arm.config == replace(reference.config, recipe=CHOSEN_ONLY.get(reference.config.recipe, "")):
            asked.append((REJECTED, arm))
        elif arm.match:
            asked.append((f"Do pairs help, against SFT of equal {arm.match}?", arm))
        elif arm.config == replace(reference.config, pacing=arm.config.pacing):
            asked.append((ORDER, arm))
    made = [_answer(question, arm.name, reference.name, found) for question, arm in asked]
    return tuple(answer for answer in made if answer is not None)


def _answer(question: str, arm: str, reference: str, found: Sequence[Figure]) -> Answer | None:
    ours = [figure for figure in found if figure.arm == arm and figure.verdict is not None]
    if not ours:
        return None
    better, worse, cannot = (
        tuple(f for f in ours if f.verdict == verdict) for verdict in ("better", "worse", "cannot tell")
    )
    short = _first_word(question, bool(better), bool(worse)) + _short(arm, reference, better, worse, len(ours))
    return Answer(question, arm, short, better, worse, cannot)


def _first_word(question: str, arm_better: bool, arm_worse: bool) -> str:
    """A control stands without what is asked about: where it is worse, that helps. Orders have no such side."""
    if not arm_better and not arm_worse:
        return "Not seen: "
    if question == ORDER:
        return ""
    return {(True, False): "No: ", (False, True): "Yes: "}.get((arm_better, arm_worse), "Partly: ")


def _short(arm: str, reference: str, better: Sequence[Figure], worse: Sequence[Figure], n: int) -> str:
    if not better and not worse:
        return f"between {arm} and {reference} no difference can be told in any of {n} figures."
    said = [f"better in {_names(better)}"] if better else []
    said += [f"worse in {_names(worse)}"] if worse else []
    rest = n - len(better) - len(worse)
    told = f"{arm} is {' and '.join(said)} than {reference}"
    return told + (f"; in {rest} more no difference can be told." if rest else ".")


def _names(found: Sequence[Figure]) -> str:
    return ", ".join(figure.metric.replace("_", " ") for figure in found)


def rows(found: Sequence[Figure]) -> list[dict[str, object]]:
    """The table as plain values, a line for each figure: for a file, or a notebook."""
    return [
        {
            "arm": f.arm, "benchmark": f.benchmark, "metric": f.metric, "value": f.value.mean, "low": f.value.low,
            "high": f.value.high, "n_seeds": _n_seeds(f), "seed_values": " ".join(f"{v:.4f}" for v in f.value.of_seed),
            "items": f.n_items, "groups": f.n_groups, "unparsed": f.n_unparsed, "chance": f.chance,
            "change": f.change and f.change.mean, "change_low": f.change and f.change.low,
            "change_high": f.change and f.change.high, "p_holm": f.p_adjusted, "verdict": f.verdict,
        }
        for f in found
    ]  # fmt: skip


def _n_seeds(figure: Figure) -> int:
    return 0 if UNTRAINED in figure.seeds else len(figure.seeds)


def told(found: Sequence[Figure], reference: str) -> str:
    """The table as Markdown: an arm a row, and the answers below it."""
    keys = list(dict.fromkeys(_key(f) for f in found if gets_verdict(f.benchmark, f.metric)))
    of = {(f.arm, _key(f)): f for f in found}
    lines = ["| arm | seeds | " + " | ".join(metric for _, metric in keys) + " |", "|---" * (len(keys) + 2) + "|"]
    for arm in dict.fromkeys(f.arm for f in found):
        n_seeds = max(_n_seeds(f) for f in found if f.arm == arm)
        cells = [_cell(of.get((arm, key))) for key in keys]
        lines.append(
            f"| {arm}{' (reference)' if arm == reference else ''} | {n_seeds or ''} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


_SIGNS: Mapping[str | None, str] = {"better": " +", "worse": " -"}


def _cell(figure: Figure | None) -> str:
    """The value with its interval, and the verdict as a sign."""
    if figure is None:
        return ""
    value = figure.value
    return f"{value.mean:.2f} [{value.low:.2f}, {value.high:.2f}]{_SIGNS.get(figure.verdict, '')}"
