"""Every table of a paper as values, then as CSV with all digits and as LaTeX (booktabs) with three."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tempo_core import experiment_results
from tempo_core.exchange.quoting import csv_cell
from tempo_core.paper import latex
from tempo_core.paper.facts import Compared, Counted, DataFacts, PaperRun, Transferred
from tempo_core.types import level_key

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """`signed` columns show their sign, and of `p_values` LaTeX shows none below 0.001.

    Texts are as stored; each writer makes them safe in its own way.
    """

    name: str
    caption: str
    """LaTeX."""
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    signed: tuple[str, ...] = ()
    p_values: tuple[str, ...] = ()

    def as_csv(self) -> str:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.heads)
        writer.writerows([csv_cell(cell) for cell in row] for row in self.rows)
        return out.getvalue()

    def as_latex(self) -> str:
        """A wide table says once, in its caption, what a text column says in every row."""
        once = self._same_in_every_row() if len(self.heads) > latex.WIDE else {}
        kept = [i for i, head in enumerate(self.heads) if head not in once]
        alignment = "".join("l" if any(isinstance(row[i], str) for row in self.rows) else "r" for i in kept)
        rows = [[self._cell(self.heads[i], row[i]) for i in kept] for row in self.rows]
        heads = [latex.escaped(self.heads[i]) for i in kept]
        said = "".join(f" In all rows: {latex.escaped(f'{head} {value}')}." for head, value in once.items() if value)
        return latex.tabular(alignment, heads, rows, self.caption + said, f"tab:{self.name}")

    def _same_in_every_row(self) -> dict[str, str]:
        columns = dict(zip(self.heads, zip(*self.rows, strict=True), strict=True))
        same = {head: cells[0] for head, cells in columns.items() if len(cells) > 1 and len(set(cells)) == 1}
        return {head: value for head, value in same.items() if isinstance(value, str)}

    def _cell(self, head: str, cell: Cell) -> str:
        if head in self.p_values and isinstance(cell, float):
            return latex.p_value(cell)
        return _latex(cell, head in self.signed)


def _latex(cell: Cell, signed: bool) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return latex.number(cell, sign=signed)
    return latex.escaped(cell) if isinstance(cell, str) else latex.number(cell, 0)


def of(found: Sequence[PaperRun]) -> list[Table]:
    """Every table that has a row."""
    versions = versions_of(found)
    made = [make(found) for make in (scores, comparisons, settings, stages)]
    made += [make(versions) for make in (counts, perturbations, selection, rules, bounds)]
    return [table for table in made if table.rows]


def versions_of(found: Iterable[PaperRun]) -> list[DataFacts]:
    """The data of the runs, each version once."""
    return list({run.data.sha256: run.data for run in found if run.data is not None}.values())


def scores(found: Sequence[PaperRun]) -> Table:
    """Every figure once: the base is the same for several runs."""
    lines = dict.fromkeys(line for run in found for line in run.measured)
    return Table(
        "scores",
        "Scores with 95\\,\\% intervals; groups are the videos that were resampled, unparsed answers count as wrong.",
        ("model", "after", "benchmark", "metric", "value", "low", "high", "n", "groups", "unparsed", "chance"),
        tuple(
            (m.model, m.moment, m.benchmark, m.metric, m.value, m.low, m.high, m.n, m.n_groups, m.n_unparsed, m.chance)
            for m in lines
        ),
    )


def comparisons(found: Sequence[PaperRun]) -> Table:
    return Table(
        "comparisons",
        "Differences between a trained model and its base on the same questions, with 95\\,\\% intervals of a paired "
        "bootstrap over videos; better and worse need an interval without 0, and six videos or more.",
        ("run", "benchmark", "metric", "n", "before", "after", "difference", "low", "high", "verdict"),
        tuple(
            (run.run.run_id, c.benchmark, c.metric, c.n, None if c.before is None else c.before.value, c.after.value,
             *((d.value, d.low, d.high) if (d := c.difference) else (None, None, None)), c.verdict)
            for run in found for c in run.run.changes
        ),
        signed=("difference", "low", "high"),
    )  # fmt: skip


_ARM = (
    "arm", "benchmark", "metric", "n_seeds", "value", "low", "high", "items", "groups", "change",
    "change_low", "change_high", "p_holm", "verdict",
)  # fmt: skip


def experiment(found: Compared) -> Table:
    """Every arm and figure of an experiment, as its page shows them."""
    rows: Sequence[Mapping[str, Any]] = experiment_results.rows(found.figures)
    return Table(
        f"experiment-{found.number}",
        f"Experiment {latex.escaped(found.name)}: means over seeds with 95\\,\\% intervals of a bootstrap over seeds "
        f"and videos, and the paired change against {latex.escaped(found.reference)}; p is corrected for the figures "
        "of an arm (Holm).",
        tuple(name.replace("_", " ") for name in _ARM),
        tuple(tuple(row[name] for name in _ARM) for row in rows),
        signed=("change", "change low", "change high"),
        p_values=("p holm",),
    )


_TRANSFER = (
    "benchmark", "metric", "after", "pairs by", "trains", "run", "base", "trained", "difference", "low", "high", "n",
    "groups", "verdict", "not matched in",
)  # fmt: skip


def transfer(found: Sequence[Transferred]) -> Table:
    """A line a cell of the matrices of who wrote the pairs and who was trained on them."""
    return Table(
        "transfer",
        "Differences between a trained model and its own base, by the model that wrote the pairs, with 95\\,\\% "
        "intervals of a paired bootstrap over videos. Only cells that are matched may be compared.",
        _TRANSFER,
        tuple(
            (t.benchmark, t.metric, t.moment, t.written_by, t.trains, t.run_id, t.before, t.after, t.difference.value,
             t.difference.low, t.difference.high, t.n, t.n_groups, "" if t.differs else t.verdict,
             "; ".join(t.differs))
            for t in found
        ),
        signed=("difference", "low", "high"),
    )  # fmt: skip


def settings(found: Sequence[PaperRun]) -> Table:
    """A column a run; what every run of today has."""
    names = list(dict.fromkeys(name for run in found for name in run.run.config))
    return Table(
        "settings",
        "Every setting of the runs.",
        ("setting", *(f"run {run.run.run_id}" for run in found)),
        tuple((name, *(_setting(run.run.config, name) for run in found)) for name in names),
    )


def _setting(config: Mapping[str, object], name: str) -> str:
    value = config.get(name)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def stages(found: Sequence[PaperRun]) -> Table:
    return Table(
        "stages",
        "Stages of training, each a fresh adapter on the merged ones before it.",
        ("run", "stage", "phase", "rows", "adapter sha256"),
        tuple((run.run.run_id, s.name, s.phase, s.n_rows, s.sha256[:12]) for run in found for s in run.run.links),
    )


def _named(versions: Sequence[DataFacts]) -> Callable[[DataFacts], str]:
    return lambda version: f"{version.name} {version.number}"


def counts(versions: Sequence[DataFacts]) -> Table:
    named = _named(versions)

    def rows(data: DataFacts) -> Iterable[tuple[Cell, ...]]:
        of: dict[tuple[str, int | None], dict[str, int]] = {}
        for c in sorted(data.counts, key=_in_order):
            of.setdefault((c.kind, c.level), {})[c.split] = c.n
        for (kind, level), n in of.items():
            yield named(data), kind, level_key(level), n.get("train", 0), n.get("held_out", 0)

    return Table(
        "counts",
        "Pairs of each kind and level (l1 is the easiest), to train on and held out.",
        ("dataset", "kind", "level", "train", "held out"),
        tuple(row for data in versions for row in rows(data)),
    )


def _in_order(counted: Counted) -> tuple[str, int]:
    return counted.kind, counted.level or 5


def perturbations(versions: Sequence[DataFacts]) -> Table:
    named = _named(versions)
    return Table(
        "perturbations",
        "Perturbations of the pairs, with their measured difficulty (1 is hard, comparable inside a kind).",
        ("dataset", "kind", "magnitude", "law", "pairs", "easiest", "mean", "hardest"),
        tuple(
            (named(data), p.kind, p.magnitude, p.law, p.n, p.easiest, p.mean, p.hardest)
            for data in versions for p in data.plans
        ),
    )  # fmt: skip


def _flat(thresholds: Mapping[str, object], of: str = "") -> Iterator[tuple[str, object]]:
    """("detector ratio", 3.5) for a threshold inside another."""
    for name, value in thresholds.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{of}{name} ")
        else:
            yield f"{of}{name}", value


def selection(versions: Sequence[DataFacts]) -> Table:
    named = _named(versions)
    return Table(
        "selection",
        "Thresholds under which the videos were found rich in events.",
        ("dataset", "videos", "threshold", "value"),
        tuple(
            (named(data), s.n_videos, name, str(value))
            for data in versions for s in data.selected for name, value in _flat(s.thresholds)
        ),
    )  # fmt: skip


def rules(versions: Sequence[DataFacts]) -> Table:
    named = _named(versions)
    return Table(
        "rules",
        "Filter rules over all candidate pairs of the same videos.",
        ("dataset", "rule", "checked", "refused"),
        tuple((named(data), r.name, r.n_checked, r.n_refused) for data in versions for r in data.rules),
    )


def bounds(versions: Sequence[DataFacts]) -> Table:
    named = _named(versions)
    return Table(
        "bounds",
        "Pairs that were accepted unread: what the blind sample of each stratum bounds.",
        ("dataset", "stratum", "pairs", "read", "bad", "bound", "confidence", "in this set", "at most bad in it"),
        tuple(
            (named(data), b.stratum, b.n_pairs, b.n_read, b.bad, b.bound, b.confidence, b.n_here, b.at_most_here)
            for data in versions for b in data.bounds
        ),
    )  # fmt: skip
