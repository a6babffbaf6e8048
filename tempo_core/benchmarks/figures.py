"""From answers to figures with 95 % intervals: the whole, each task, and the mean of the tasks.

The one thing to know: questions about one video are resampled together, so an interval is as wide as its videos are
few. One video alone says nothing about others: its interval is that of a single question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tempo_core import statistics
from tempo_core.benchmarks import base
from tempo_core.benchmarks.answers import Read
from tempo_core.benchmarks.items import Item
from tempo_core.types import Asked, ItemScore, Score


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model said to a question, and how it was read."""

    item: Item
    text: str
    read: Read
    asked: Asked | None = None

    @property
    def score(self) -> ItemScore:
        right = None if self.read.choice is None else float(self.read.choice in self.item.truth)
        return ItemScore(self.item.id, self.item.group, right, self.text, self.asked or self.item.asked())


def by_task(benchmark: str, answered: Sequence[Answered], seed: int) -> tuple[Score, ...]:
    """Accuracy over all questions and per task, for every part of the benchmark."""
    return tuple(_parts(benchmark, answered, seed, macro=False))


def mean_of_tasks(benchmark: str, answered: Sequence[Answered], seed: int) -> tuple[Score, ...]:
    """As `by_task`, with the mean of the tasks' accuracies, where each has two groups or more."""
    return tuple(_parts(benchmark, answered, seed, macro=True))


def _parts(benchmark: str, answered: Sequence[Answered], seed: int, *, macro: bool) -> Iterable[Score]:
    for part in dict.fromkeys(a.item.part for a in answered):
        inside = [a for a in answered if a.item.part == part]
        yield accuracy(benchmark, part, inside, seed)
        tasks = {task: [a for a in inside if task in a.item.tasks] for a in inside for task in a.item.tasks}
        name = "mean_of_tasks" if part == "accuracy" else f"{part}/mean_of_tasks"
        if macro and len(tasks) > 1 and all(len({a.item.group for a in found}) > 1 for found in tasks.values()):
            yield _mean_of(benchmark, name, tasks, seed)
        prefix = "" if part == "accuracy" else f"{part}/"
        for task in sorted(tasks):
            yield accuracy(benchmark, f"{prefix}{task}", tasks[task], seed)


def accuracy(benchmark: str, metric: str, answered: Sequence[Answered], seed: int) -> Score:
    """Share of right answers; unparsed ones are wrong and counted."""
    chance = sum(a.item.chance for a in answered) / len(answered)
    return scored(benchmark, metric, [a.score for a in answered], chance, seed)


def scored(benchmark: str, metric: str, found: Sequence[ItemScore], chance: float | None, seed: int) -> Score:
    """As `base.score`, and for a single group the interval of a single question."""
    if len({item.group for item in found}) > 1:
        return base.score(benchmark, metric, found, chance, seed)
    mean = sum(item.correct or 0.0 for item in found) / len(found)
    low, high = statistics.wilson(mean, 1)
    unparsed = sum(item.correct is None for item in found)
    return Score(benchmark, metric, mean, low, high, len(found), 1, unparsed, chance, tuple(found))


def _mean_of(benchmark: str, metric: str, tasks: Mapping[str, Sequence[Answered]], seed: int) -> Score:
    values = [[a.score.correct or 0.0 for a in found] for found in tasks.values()]
    groups = [[a.item.group for a in found] for found in tasks.values()]
    mean, low, high = statistics.mean_of_tasks(values, groups, seed=seed)
    answered = [a for found in tasks.values() for a in found]
    chance = sum(sum(a.item.chance for a in found) / len(found) for found in tasks.values()) / len(tasks)
    unparsed = sum(a.read.choice is None for a in answered)
    # Without items: a mean over them would be another figure than this one.
    return Score(
        benchmark, metric, mean, low, high, len(answered), len({a.item.group for a in answered}), unparsed, chance
    )
