"""Plotly figures from plain values, whose names are shown as they are: a figure can be tested and saved without a page.

Colour is never the only cue: levels also differ by dash and carry their number at the end of their line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go

from ui.palette import LEVEL_DASHES, LEVEL_WORDS, Palette
from ui.text import in_figure

Series = Sequence[tuple[int, float | None]]

LEVELS = (1, 2, 3, 4)
GREY = "#8793a3"
LAYOUT = {
    "margin": {"l": 8, "r": 8, "t": 36, "b": 8},
    "height": 280,
    "legend": {
        "orientation": "h",
        "traceorder": "normal",
        "y": -0.24,
        "x": 0,
        "itemwidth": 30,
        "font": {"size": 11},
        "title": {"text": ""},
    },
    "font": {"size": 13},
    "title": {"font": {"size": 15}, "x": 0, "xref": "container"},
}


def level_names(axis: str = "measured") -> dict[int, str]:
    """What the levels are called: "1 easy" .. "4 hardest", or by their r on the paper's axis."""
    if axis == "paper":
        return {1: "r16 easy", 2: "r8 medium", 3: "r4 hard", 4: "r2 hardest"}
    return {level: f"{level} {word}" for level, word in LEVEL_WORDS.items()}


def funnel(steps: Sequence[tuple[str, int, int]], palette: Palette) -> go.Figure:
    """(rule in words, left out by it, remaining after it), from the first rule to the last."""
    names = [name for name, _, _ in steps]
    figure = go.Figure(
        go.Bar(
            y=names,
            x=[remaining for _, _, remaining in steps],
            text=[f" {remaining:,}" + (f"   −{left_out:,}" if left_out else "") for _, left_out, remaining in steps],
            textposition="outside",
            cliponaxis=False,
            orientation="h",
            marker_color=palette.levels[2],
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    )
    figure.update_layout(LAYOUT, height=44 + 30 * len(names), margin={"l": 8, "r": 70, "t": 8, "b": 8}, bargap=0.35)
    figure.update_yaxes(autorange="reversed", ticksuffix="  ")
    figure.update_xaxes(visible=False)
    return figure


def histogram(
    counts: Mapping[str, Sequence[int]], cuts: Mapping[str, Sequence[float]], palette: Palette
) -> dict[str, go.Figure]:
    """One figure per kind: pairs over measured difficulty 0..1, coloured by the level that the cuts give."""
    figures = {}
    for kind, bins in counts.items():
        width = 1 / len(bins)
        centres = [(i + 0.5) * width for i in range(len(bins))]
        figure = go.Figure()
        for level in LEVELS:
            ours = [i for i, centre in enumerate(centres) if _level(centre, cuts.get(kind, ())) == level and bins[i]]
            figure.add_bar(
                x=[centres[i] for i in ours],
                y=[bins[i] for i in ours],
                width=width * 0.9,
                marker_color=palette.levels[level],
                name=level_names()[level],
                hovertemplate="difficulty %{x:.2f}: %{y} pairs<extra></extra>",
            )
        _cut_lines(figure, cuts.get(kind, ()), palette)
        figure.update_layout(LAYOUT, barmode="stack", height=270, xaxis_range=[0, 1], showlegend=False)
        figure.update_layout(title_text=in_figure(kind), margin_t=58, title_y=0.98, title_yanchor="top")
        figure.update_xaxes(title="difficulty, 1 = hard", title_standoff=4)
        figures[kind] = figure
    return figures


NARROWEST = 0.03
"""Of a level's stretch of the axis, so that its number fits in."""


def _cut_lines(figure: go.Figure, cuts: Sequence[float], palette: Palette) -> None:
    """Where levels begin, as lines; each level's number stands over its stretch: the second cue besides colour."""
    edges = [0.0, *(min(1.0, cut) for cut in cuts), 1.0]
    for cut in cuts:
        if 0 < cut < 1:
            figure.add_vline(x=cut, line={"color": GREY, "width": 1.5, "dash": "dash"})
    for level, (left, right) in enumerate(pairwise(edges), 1):
        if right - left >= NARROWEST and level in palette.levels:
            figure.add_annotation(x=(left + right) / 2, y=1.02, yref="paper", yanchor="bottom", text=f"{level}",
                                  showarrow=False, font={"color": palette.levels[level], "size": 13})  # fmt: skip


def _level(difficulty: float, cuts: Sequence[float]) -> int:
    return 1 + sum(difficulty >= cut for cut in cuts)


def by_level(counts: Mapping[str, Sequence[int]], names: Mapping[int, str], palette: Palette) -> go.Figure:
    """Pairs of each kind on levels 1..4, beside each other."""
    figure, kinds = go.Figure(), [in_figure(kind) for kind in counts]
    for level in LEVELS:
        numbers = [of_level[level - 1] for of_level in counts.values()]
        figure.add_bar(x=kinds, y=numbers, text=numbers, marker_color=palette.levels[level], name=names[level])
    figure.update_layout(LAYOUT, barmode="group", height=240, yaxis_title="pairs")
    return figure


def _level_of(key: str) -> int | None:
    return int(key[1:]) if key[:1] == "l" and key[1:].isdigit() else None


def curves(
    title: str,
    of_key: Mapping[str, Series],
    palette: Palette,
    smooth: int = 1,
    names: Mapping[int, str] | None = None,
    *,
    points: bool = False,
) -> go.Figure:
    """One line per level (or other key) over the steps; `smooth` averages over as many neighbouring steps.

    With `points` each point can be clicked; its `customdata` is [first step, last step, key], for a long curve is
    drawn with a point for several steps.
    """
    figure = go.Figure()
    for number, (key, series) in enumerate(sorted(of_key.items())):
        level = _level_of(key)
        drawn = _thinned(series, smooth)
        colour = palette.levels[level or 1 + number % 4] if key != "imported" else GREY
        figure.add_scatter(
            # As arrays: Plotly looks at every number of a list, six charts of a long run took it 0.3 s each time.
            x=np.array([last for _, last, _ in drawn]),
            y=np.array([value for _, _, value in drawn], float),
            customdata=np.array([[first, last, key] for first, last, _ in drawn], object),
            mode="lines+markers" if points or len(drawn) == 1 else "lines",
            line={"color": colour, "dash": LEVEL_DASHES[level or 1 + number % 4], "width": 2},
            marker={"size": 5, "color": colour},
            name=(names or level_names())[level] if level else in_figure(key),
            hovertemplate="step %{x}: %{y:.3f}" if points else "%{y:.3f}",
        )
        if level:
            _number_at_end(figure, drawn, f"{level}", colour)
    figure.update_layout(LAYOUT, title_text=title, hovermode="closest" if points else "x unified")
    figure.update_xaxes(title="step", title_standoff=4, rangemode="tozero")
    return figure


def overlaid(title: str, of_run: Mapping[int, Series], palette: Palette, smooth: int = 1) -> go.Figure:
    """One line per run, each with its number at its end. A run without values keeps its colour for other figures."""
    figure = go.Figure()
    for number, (run_id, series) in enumerate(of_run.items()):
        if not series:
            continue
        drawn, colour = _thinned(series, smooth), palette.levels[1 + number % 4]
        figure.add_scatter(
            x=[last for _, last, _ in drawn],
            y=[value for _, _, value in drawn],
            mode="lines+markers" if len(drawn) == 1 else "lines",
            line={"color": colour, "dash": LEVEL_DASHES[1 + (number + number // 4) % 4], "width": 2},
            name=f"run {run_id}",
            hovertemplate="%{y:.3f}",
        )
        _number_at_end(figure, drawn, f"{run_id}", colour)
    figure.update_layout(LAYOUT, title_text=title, hovermode="x unified", showlegend=True)
    figure.update_xaxes(title="step", title_standoff=4, rangemode="tozero")
    return figure


def _number_at_end(figure: go.Figure, drawn: Sequence[tuple[int, int, float | None]], text: str, colour: str) -> None:
    if drawn and drawn[-1][2] is not None:
        at = {"x": drawn[-1][1], "y": drawn[-1][2]}
        figure.add_annotation(**at, text=text, showarrow=False, xshift=9, font={"color": colour})


MOST_POINTS = 240
"""Of one line: more cannot be told apart, and each look at a running run would send them again."""


def _thinned(series: Series, smooth: int) -> list[tuple[int, int, float | None]]:
    """(first step, last step, value) of each point: single steps, or means of as many as keep the line short."""
    values = _smoothed([value for _, value in series], smooth)
    size = -(-len(series) // MOST_POINTS) or 1
    drawn: list[tuple[int, int, float | None]] = []
    for i in range(0, len(series), size):
        there = [value for value in values[i : i + size] if value is not None]
        steps = [step for step, _ in series[i : i + size]]
        drawn.append((steps[0], steps[-1], sum(there) / len(there) if there else None))
    return drawn


def _smoothed(values: Sequence[float | None], n: int) -> list[float | None]:
    """Mean of the last `n` values that are there; gaps stay gaps."""
    out: list[float | None] = []
    for i, value in enumerate(values):
        window = [v for v in values[max(0, i - n + 1) : i + 1] if v is not None]
        out.append(None if value is None else sum(window) / len(window))
    return out


@dataclass(frozen=True, slots=True)
class Dot:
    """One figure with its 95 % interval."""

    metric: str
    model: str
    value: float
    low: float
    high: float
    n: int
    chance: float | None


def dots(
    found: Sequence[Dot], palette: Palette, title: str = "", *, shares: bool = True, models: Sequence[str] = ()
) -> go.Figure:
    """One row per metric, one dot with its interval per model; chance as a cross. Shares stand on an axis of 0 to 1.

    Args:
        models: All that have a sign of their own on a page, so that it is the same in several figures.
    """
    figure = go.Figure()
    metrics = list(dict.fromkeys(dot.metric for dot in found))
    models = list(models) or list(dict.fromkeys(dot.model for dot in found))
    symbols = ("circle", "square", "diamond", "triangle-up", "star", "hexagon")
    for i, model in enumerate(models):
        ours = [dot for dot in found if dot.model == model]
        if not ours:
            continue
        shift = (i - (len(models) - 1) / 2) * 0.6 / max(1, len(models))
        figure.add_scatter(
            x=[dot.value for dot in ours],
            y=[metrics.index(dot.metric) + shift for dot in ours],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [dot.high - dot.value for dot in ours],
                "arrayminus": [dot.value - dot.low for dot in ours],
                "thickness": 1.5,
            },
            mode="markers",
            marker={"size": 10, "symbol": symbols[i % len(symbols)], "color": palette.levels[1 + i % 4]},
            name=in_figure(model),
            customdata=[[dot.low, dot.high, dot.n] for dot in ours],
            hovertemplate="%{x:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}], n = %{customdata[2]}",
        )
    at_chance = {dot.metric: dot.chance for dot in found if dot.chance is not None}
    if at_chance:
        figure.add_scatter(
            x=list(at_chance.values()),
            y=[metrics.index(metric) for metric in at_chance],
            mode="markers",
            marker={"symbol": "x-thin", "size": 11, "line": {"width": 2, "color": GREY}},
            name="chance",
            hovertemplate="chance %{x:.3f}<extra></extra>",
        )
    height = 120 + (26 + 12 * len(models)) * len(metrics)
    figure.update_layout(LAYOUT, height=height, xaxis_range=[-0.02, 1.02] if shares else None)
    figure.update_layout(title_text=in_figure(title), legend_y=-40 / max(1, height - 80))
    figure.update_yaxes(
        tickvals=list(range(len(metrics))),
        ticktext=[in_figure(metric) for metric in metrics],
        # Not by itself: without a dot on its row the first name would stand on the edge and be cut.
        range=[len(metrics) - 0.5, -0.5],
        zeroline=False,
        ticksuffix="  ",
    )
    return figure


def differences(found: Sequence[Dot], palette: Palette, title: str, models: Sequence[str] = ()) -> go.Figure:
    """As `dots`, around zero: what is left of the line is worse than the baseline, what is right of it better."""
    figure = dots(found, palette, title, models=models)
    for trace in figure.data:
        trace.x = [100 * value for value in trace.x]
        trace.error_x.array = [100 * value for value in trace.error_x.array]
        trace.error_x.arrayminus = [100 * value for value in trace.error_x.arrayminus]
        trace.customdata = [[100 * low, 100 * high, n] for low, high, n in trace.customdata]
        trace.hovertemplate = "%{x:+.1f} [%{customdata[0]:+.1f}, %{customdata[1]:+.1f}], n = %{customdata[2]}"
    reach = max([1.0, *(100 * max(abs(dot.low), abs(dot.high)) for dot in found)]) * 1.08
    figure.update_layout(xaxis_range=[-reach, reach])
    figure.add_vline(x=0, line={"color": GREY, "width": 1.5})
    return figure
