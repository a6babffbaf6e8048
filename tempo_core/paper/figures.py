"""Vector figures of a paper, as PDF and as SVG. Nothing but a job brings matplotlib into a process.

The one thing to know: colour is never the only cue, and texts are never read as formulas, whatever a name holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from tempo_core.paper.facts import Measured, PaperRun
from tempo_core.types import PlannedPair, level_key

FORMS = ("pdf", "svg")
STYLE = {
    "font.size": 8, "axes.titlesize": 8, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "tempo", "text.parse_math": False,
    "figure.constrained_layout.use": True,
}  # fmt: skip
"""Fonts stay text in both, and two exports of the same values are the same bytes."""

COLOURS = {"l1": "#19927f", "l2": "#2b62b8", "l3": "#b86b00", "l4": "#6d1346", "imported": "#6b7280"}
DASHES = {"l1": "-", "l2": "--", "l3": ":", "l4": "-.", "imported": (0, (1, 4))}
HATCHES = {"l1": "", "l2": "//", "l3": "..", "l4": "xx", "imported": "++"}
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
CURVES = {
    "loss": "DPO loss", "margin": "reward margin", "accuracy": "reward accuracy", "reward_chosen": "chosen reward",
    "sft_loss": "loss of the chosen answer",
}  # fmt: skip
LAST_LETTER = 0x4FF
"""Latin, Greek and Cyrillic are in matplotlib's own font."""
WIDTH_IN, ROW_IN = 5.5, 0.22
LEGEND_CHARACTERS = 84
"""What fits into a line of a legend, its marks counted as six."""
MOST_COLUMNS = 240
"""More steps than this are drawn several to a column."""


def write(found: Sequence[PaperRun], folder: Path) -> list[str]:
    """Every figure that has something to show, in both forms; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, Figure] = {}
    with mpl.rc_context(STYLE):
        for run in found:
            if drawn := curves(run):
                made[f"curves-run-{run.run.run_id}"] = drawn
            if run.planned:
                made[f"order-run-{run.run.run_id}"] = order(run.planned)
        measured = list(dict.fromkeys(line for run in found for line in run.measured))
        for benchmark in dict.fromkeys(line.benchmark for line in measured):
            lines = [line for line in measured if line.benchmark == benchmark]
            made[f"scores-{_file_name(benchmark)}"] = dots(lines)
        for name, figure in made.items():
            for form in FORMS:
                when = {"CreationDate" if form == "pdf" else "Date": None}
                figure.savefig(folder / f"{name}.{form}", metadata=when)
    return list(made)


def curves(run: PaperRun) -> Figure | None:
    """One panel a value, one line a level over the steps."""
    panels = {name: {key: points for key in COLOURS if (points := run.series.get(f"{key}/{name}"))} for name in CURVES}
    panels = {name: lines for name, lines in panels.items() if lines}
    if not panels:
        return None
    n_columns = 2 if len(panels) == 4 else min(3, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure = Figure(figsize=(WIDTH_IN, 1.9 * n_rows))
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for axis, (name, lines) in zip(axes.flat, panels.items(), strict=False):
        for key, points in lines.items():
            steps, values = [step for step, _ in points], [float("nan") if v is None else v for _, v in points]
            axis.plot(steps, values, color=COLOURS[key], linestyle=DASHES[key], linewidth=1, label=_level(key))
        axis.set_title(CURVES[name])
        axis.set_xlabel("step")
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def dots(lines: Sequence[Measured]) -> Figure:
    """One row a metric, one mark a model with its interval; chance as a tick."""
    metrics = list(dict.fromkeys(line.metric for line in lines))
    models = list(dict.fromkeys((line.model, line.moment) for line in lines))
    figure = Figure(figsize=(WIDTH_IN, 0.9 + ROW_IN * max(1, len(models) * len(metrics) * 0.55)))
    axis = figure.subplots()
    for k, (model, moment) in enumerate(models):
        ours = {line.metric: line for line in lines if (line.model, line.moment) == (model, moment)}
        rows = [i for i, metric in enumerate(metrics) if metric in ours]
        values = [ours[metrics[i]].value for i in rows]
        below = [ours[metrics[i]].value - ours[metrics[i]].low for i in rows]
        above = [ours[metrics[i]].high - ours[metrics[i]].value for i in rows]
        heights = [i + (k - (len(models) - 1) / 2) * 0.7 / len(models) for i in rows]
        label = _shown(model if moment in ("", "base") else f"{model}, after {moment.replace('+', ' and ')}")
        axis.errorbar(
            values, heights, xerr=[[max(0.0, v) for v in below], [max(0.0, v) for v in above]],
            fmt=MARKERS[k % len(MARKERS)], markersize=4, linewidth=1, capsize=2, label=label,
        )  # fmt: skip
    for i, metric in enumerate(metrics):
        chance = next((line.chance for line in lines if line.metric == metric and line.chance is not None), None)
        if chance is not None:
            axis.plot([chance, chance], [i - 0.4, i + 0.4], color="#6b7280", linewidth=1, linestyle=":")
    axis.set_yticks(range(len(metrics)), [_shown(metric.replace("_", " ")) for metric in metrics])
    axis.invert_yaxis()
    axis.set_xlabel("value with 95 % interval; dotted: chance")
    longest = max((len(text) for text in axis.get_legend_handles_labels()[1]), default=1)
    figure.legend(loc="outside lower center", ncols=max(1, min(3, len(models), LEGEND_CHARACTERS // (longest + 6))))
    return figure


def order(planned: Sequence[PlannedPair]) -> Figure:
    """The share of each level in every step, as it was trained; a line where a stage begins."""
    shares, edges = _shares(planned)
    figure = Figure(figsize=(WIDTH_IN, 1.8))
    axis = figure.subplots()
    below = [0.0] * (len(edges) - 1)
    widths = [b - a for a, b in pairwise(edges)]
    for key, values in shares.items():
        axis.bar(
            edges[:-1], values, widths, bottom=below, align="edge", color=COLOURS[key], hatch=HATCHES[key],
            edgecolor="white", linewidth=0, label=_level(key),
        )  # fmt: skip
        below = [a + b for a, b in zip(below, values, strict=True)]
    firsts: dict[int, int] = {}
    for place in planned:
        firsts.setdefault(place.stage, place.step)
    for first in list(firsts.values())[1:]:
        axis.axvline(first + 0.5, color="black", linewidth=0.6)
    axis.set_xlim(edges[0], edges[-1])
    axis.set_ylim(0, 1)
    axis.set_xlabel("step")
    axis.set_ylabel("share of the pairs")
    figure.legend(loc="outside lower center", ncols=len(shares))
    return figure


def _shares(planned: Sequence[PlannedPair]) -> tuple[dict[str, list[float]], list[float]]:
    """Of each level its share of every column's pairs, and the columns' edges; a column is one step or several."""
    n_steps = planned[-1].step + 1
    together = -(-n_steps // MOST_COLUMNS)
    n_columns = -(-n_steps // together)
    counts: dict[str, list[int]] = {key: [0] * n_columns for key in COLOURS}
    for place in planned:
        counts[level_key(place.level)][place.step // together] += 1
    totals = [sum(of[column] for of in counts.values()) for column in range(n_columns)]
    shares = {key: [n / total for n, total in zip(of, totals, strict=True)] for key, of in counts.items() if any(of)}
    return shares, [min(n_steps, column * together) + 0.5 for column in range(n_columns + 1)]


def _level(key: str) -> str:
    return f"level {key[1:]}" if key[1:].isdigit() else key


def _shown(text: str) -> str:
    """One line in letters that the font has; others by their number, since XML takes not every sign."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() and ord(c) <= LAST_LETTER else f"U+{ord(c):04X}" for c in line)


def _file_name(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in text)[:60]
