"""Plotly figures from plain values. No Streamlit here: a figure can be tested and saved without a page.

Colour is never the only cue: levels also differ by dash and are named at the end of their line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from ui.palette import LEVEL_DASHES, Palette, level_word

Series = Sequence[tuple[int, float | None]]

_LAYOUT = {
    "margin": {"l": 8, "r": 8, "t": 36, "b": 8},
    "height": 280,
    "legend": {"orientation": "h", "y": -0.25},
    "font": {"size": 13},
}


def funnel(steps: Sequence[tuple[str, int, int]], palette: Palette) -> go.Figure:
    """(rule in words, left out by it, remaining after it), from the first rule to the last."""
    names = [name for name, _, _ in steps]
    figure = go.Figure(
        go.Bar(
            y=names,
            x=[remaining for _, _, remaining in steps],
            text=[f"{remaining}" + (f" (−{left_out})" if left_out else "") for _, left_out, remaining in steps],
            textposition="auto",
            orientation="h",
            marker_color=palette.levels[2],
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    )
    figure.update_layout(_LAYOUT, height=60 + 34 * len(names), xaxis_title="videos that remain")
    figure.update_yaxes(autorange="reversed")
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
        for level in (1, 2, 3, 4):
            ours = [i for i, centre in enumerate(centres) if _level(centre, cuts.get(kind, ())) == level and bins[i]]
            figure.add_bar(
                x=[centres[i] for i in ours],
                y=[bins[i] for i in ours],
                width=width,
                marker_color=palette.levels[level],
                name=f"{level} {level_word(level)}",
            )
        figure.update_layout(_LAYOUT, title=kind, barmode="stack", height=240, xaxis_range=[0, 1])
        figure.update_xaxes(title="measured difficulty (1 = hard)")
        figures[kind] = figure
    return figures


def _level(difficulty: float, cuts: Sequence[float]) -> int:
    return 1 + sum(difficulty >= cut for cut in cuts)


def shares(of_level: Mapping[str, Sequence[float]], palette: Palette) -> go.Figure:
    """Share of each level in every step of the training plan."""
    figure = go.Figure()
    for key, values in of_level.items():
        level = int(key[1:]) if key[1:].isdigit() else None
        figure.add_scatter(
            x=list(range(1, len(values) + 1)),
            y=list(values),
            stackgroup="levels",
            mode="lines",
            line={"width": 0.5, "color": palette.levels[level] if level else "#888888", "shape": "hv"},
            name=f"{level} {level_word(level)}" if level else "imported",
        )
    figure.update_layout(_LAYOUT, title="what would train when", yaxis_range=[0, 1], yaxis_tickformat=".0%")
    figure.update_xaxes(title="step")
    return figure


def curves(title: str, of_level: Mapping[str, Series], palette: Palette, smooth: int = 1) -> go.Figure:
    """One line per level over the steps; `smooth` averages over as many neighbouring steps."""
    figure = go.Figure()
    for key, points in sorted(of_level.items()):
        level = int(key[1:]) if key[1:].isdigit() else None
        figure.add_scatter(
            x=[step for step, _ in points],
            y=_smoothed([value for _, value in points], smooth),
            mode="lines",
            line={
                "color": palette.levels[level] if level else palette.levels[2],
                "dash": LEVEL_DASHES[level] if level else "solid",
                "width": 2,
            },
            name=f"{level} {level_word(level)}" if level else key,
        )
    figure.update_layout(_LAYOUT, title=title, hovermode="x unified")
    figure.update_xaxes(title="step", rangemode="tozero")
    return figure


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


def dots(found: Sequence[Dot], palette: Palette) -> go.Figure:
    """One row per metric, one dot with its interval per model; chance as a cross."""
    figure = go.Figure()
    metrics = list(dict.fromkeys(dot.metric for dot in found))
    models = list(dict.fromkeys(dot.model for dot in found))
    symbols = ("circle", "square", "diamond", "triangle-up", "star", "hexagon")
    for i, model in enumerate(models):
        ours = [dot for dot in found if dot.model == model]
        shift = (i - (len(models) - 1) / 2) * 0.6 / max(1, len(models))
        figure.add_scatter(
            x=[dot.value for dot in ours],
            y=[metrics.index(dot.metric) + shift for dot in ours],
            error_x={
                "type": "data",
                "array": [dot.high - dot.value for dot in ours],
                "arrayminus": [dot.value - dot.low for dot in ours],
                "thickness": 1.5,
            },
            mode="markers",
            marker={"size": 10, "symbol": symbols[i % len(symbols)], "color": palette.levels[1 + i % 4]},
            name=model,
            customdata=[[dot.low, dot.high, dot.n] for dot in ours],
            hovertemplate="%{x:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}], n = %{customdata[2]}",
        )
    at_chance = {dot.metric: dot.chance for dot in found if dot.chance is not None}
    figure.add_scatter(
        x=list(at_chance.values()),
        y=[metrics.index(metric) for metric in at_chance],
        mode="markers",
        marker={"symbol": "x-thin", "size": 11, "line": {"width": 2, "color": "#888888"}},
        name="chance",
    )
    figure.update_layout(_LAYOUT, height=110 + 52 * len(metrics), xaxis_range=[-0.02, 1.02])
    figure.update_yaxes(tickvals=list(range(len(metrics))), ticktext=metrics, autorange="reversed", zeroline=False)
    return figure
