"""Two checkpoints on the same questions: what changed, how sure one can be, and what this benchmark could have shown.

The one thing to know: the interval decides the verdict. McNemar's test stands beside it, since it takes every
question for independent, which questions about one video are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tempo_core import benchmarks, statistics
from tempo_core.errors import TempoError
from tempo_core.statistics import Comparison, Verdict
from tempo_core.types import ItemScore

ALPHA = 0.05
MEAN_OF_TASKS = "mean_of_tasks"
"""Its own figure, without items: the items of its tasks stand behind it."""


class NotPaired(TempoError):
    """Two checkpoints were not asked the same questions."""


@dataclass(frozen=True, slots=True)
class Compared:
    """After minus before on the same items; shares, not percent.

    `n_fixed` items got better and `n_broken` worse; with answers that are right or wrong these are McNemar's two
    counts and `mcnemar` is its exact p, with partly right ones it is None.
    """

    difference: float
    low: float
    high: float
    verdict: Verdict
    p: float
    n: int
    n_groups: int
    n_fixed: int
    n_broken: int
    mcnemar: float | None
    p_holm: float | None = None
    """`p` among all benchmarks of one comparison; set by `corrected`."""

    @property
    def half_width(self) -> float:
        """The smallest difference that as many changed answers could have shown."""
        return statistics.half_width(max(1, self.n_fixed + self.n_broken) / self.n, self.n)

    @property
    def stands(self) -> bool:
        """Whether a difference remains when it is counted how many benchmarks were looked at."""
        return self.verdict != "cannot tell" and (self.p_holm is None or self.p_holm < ALPHA)


def compare(before: Sequence[ItemScore], after: Sequence[ItemScore], seed: int = 0) -> Compared:
    """Compare two checkpoints item by item, whatever the order of the items; an unparsed answer is wrong.

    Raises:
        NotPaired: The items are not the same.
        TooFew: They are all about one video.
    """
    a, b, groups = _paired(before, after)
    return _compared(statistics.paired_bootstrap(a, b, groups, seed), [a], [b], [groups])


def compare_tasks(
    before: Mapping[str, Sequence[ItemScore]], after: Mapping[str, Sequence[ItemScore]], seed: int = 0
) -> Compared:
    """Compare by the mean over tasks: each task counts the same, and is resampled by itself.

    Raises:
        NotPaired: The tasks or their items are not the same.
        TooFew: A task has the questions of one video only.
    """
    if set(before) != set(after) or not before:
        raise NotPaired("The two were not asked the same tasks, so their means cannot be subtracted.")
    tasks = [_paired(before[task], after[task]) for task in sorted(before)]
    first, second, groups = ([task[i] for task in tasks] for i in range(3))
    found = statistics.paired_mean_of_tasks(first, second, groups, seed)
    return _compared(found, first, second, groups)  # type: ignore[arg-type]


def _paired(before: Sequence[ItemScore], after: Sequence[ItemScore]) -> tuple[list[float], list[float], list[str]]:
    first, second = ({item.item: item for item in items} for items in (before, after))
    if first.keys() != second.keys() or not first:
        both = len(first.keys() & second.keys())
        raise NotPaired(
            f"The two were asked {len(first)} and {len(second)} questions, {both} of them the same. Only answers to "
            "the same questions are subtracted: evaluate both on the same videos with the same settings."
        )
    names = sorted(first)
    values = [[of[name].correct or 0.0 for name in names] for of in (first, second)]
    return values[0], values[1], [first[name].group for name in names]


def _compared(
    found: Comparison,
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]],
    groups: Sequence[Sequence[str]],
) -> Compared:
    pairs = [pair for a, b in zip(first, second, strict=True) for pair in zip(a, b, strict=True)]
    fixed, broken = sum(b > a for a, b in pairs), sum(b < a for a, b in pairs)
    right_or_wrong = all(value in (0.0, 1.0) for pair in pairs for value in pair)
    return Compared(
        difference=found.difference,
        low=found.low,
        high=found.high,
        verdict=found.verdict,
        p=1.0 if found.p is None else found.p,
        n=len(pairs),
        n_groups=len({group for task in groups for group in task}),
        n_fixed=fixed,
        n_broken=broken,
        mcnemar=statistics.mcnemar(broken, fixed) if right_or_wrong else None,
    )


OUTCOMES = ("fixed", "broken", "both wrong", "both right")
"""What became of one answer, from the first checkpoint to the second."""


def outcome(before: ItemScore, after: ItemScore) -> str:
    """One of `OUTCOMES`. Partly right answers are fixed or broken when they rose or fell."""
    first, second = before.correct or 0.0, after.correct or 0.0
    if first != second:
        return "fixed" if second > first else "broken"
    return "both right" if first == 1 else "both wrong"


def corrected(found: Sequence[Compared]) -> list[Compared]:
    """The same comparisons, each with its p among all of them: one per benchmark that was looked at (Holm)."""
    p_values = statistics.holm([one.p for one in found])
    return [replace(one, p_holm=p) for one, p in zip(found, p_values, strict=True)]


def sentence(found: Compared, before: str, after: str, *, share: bool = True) -> str:
    """The verdict in words, with what the benchmark could have shown where it shows nothing.

    Args:
        share: The figure is a share, told in percentage points; others are told in their own unit.
    """
    told = f"{interval(found, share=share)} on {found.n:,} questions about {found.n_groups:,} videos"
    if found.n_groups < statistics.FEWEST_GROUPS:
        return (
            f"Too few videos to tell {after} from {before}: {told}; a verdict needs {statistics.FEWEST_GROUPS} or more."
        )
    if found.verdict == "cannot tell":
        return f"One cannot tell whether {after} differs from {before}: {told}. {_could_show(found)}".rstrip()
    is_what = found.verdict if share else "higher" if found.difference > 0 else "lower"
    if not found.stands:
        return (
            f"{after} looks {is_what} than {before}, {told}, but not when it is counted how many figures were "
            f"compared (p {found.p_holm:.3f} by Holm)."
        )
    return f"{after} is {is_what} than {before}: {told}."


def _could_show(found: Compared) -> str:
    changed = found.n_fixed + found.n_broken
    if found.mcnemar is None or not changed:
        return "" if changed else "No answer changed."
    answers = "answer" if changed == 1 else "answers"
    return (
        f"{changed:,} {answers} changed; with so many, about {100 * found.half_width:.1f} points is the least that "
        "could have been shown."
    )


def interval(found: Compared, *, share: bool = True) -> str:
    """Difference with its bounds: "+4.2 points [+1.1, +7.3]", or in the figure's own unit."""
    if share:
        return f"{points(found.difference)} points [{points(found.low)}, {points(found.high)}]"
    return f"{found.difference:+.3g} [{found.low:+.3g}, {found.high:+.3g}]"


def points(share: float) -> str:
    """A share as signed percentage points: 0.0421 is "+4.2"; nothing is "0.0"."""
    text = f"{100 * share:+.1f}"
    return "0.0" if float(text) == 0 else text


def wholes(benchmark: str, metrics: Sequence[str]) -> tuple[str, ...]:
    """The figures that get a verdict: those of a benchmark as a whole. Those of its tasks get intervals alone."""
    if benchmark in benchmarks.IN_FILES and "accuracy" in metrics:
        return tuple(metric for metric in metrics if metric in ("accuracy", MEAN_OF_TASKS))
    return tuple(metric for metric in metrics if "/" not in metric or metric.endswith(f"/{MEAN_OF_TASKS}"))


def tasks_of(benchmark: str, mean: str, metrics: Sequence[str]) -> tuple[str, ...]:
    """The tasks that a mean of tasks is over, as `benchmarks.figures` makes it."""
    prefix = mean.removesuffix(MEAN_OF_TASKS)
    whole = (*wholes(benchmark, metrics), "accuracy", mean)
    return tuple(metric for metric in metrics if metric.startswith(prefix) and metric not in whole)
