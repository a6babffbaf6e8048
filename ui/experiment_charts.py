"""Figures of an experiment from plain values: arms with their seeds, what changes against the reference, margins."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from tempo_core.experiment_results import Figure
from tempo_core.learning import Learned
from ui import charts
from ui.palette import LEVEL_WORDS, Palette
from ui.text import in_figure

SYMBOLS = {"better": "triangle-up", "worse": "triangle-down", "cannot tell": "circle-open"}
KIND_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star")


def values(found: Sequence[Figure], colours: Palette) -> go.Figure:
    """Of one metric: the mean of each arm with its interval, its seeds as small crosses, chance as a line."""
    drawn = go.Figure()
    _dots(drawn, [(f.arm, f.value.mean, f.value.low, f.value.high) for f in found], colours.levels[2], "mean")
    seeds = [(f.arm, value) for f in found if len(f.value.of_seed) > 1 for value in f.value.of_seed]
    if seeds:
        drawn.add_scatter(
            x=[value for _, value in seeds], y=[in_figure(arm) for arm, _ in seeds], mode="markers", name="single runs",
            marker={"symbol": "x-thin", "size": 7, "line": {"width": 1.5, "color": colours.levels[3]}},
            hovertemplate="%{x:.3f}",
        )  # fmt: skip
    chance = next((f.chance for f in found if f.chance is not None), None)
    if chance is not None:
        drawn.add_vline(chance, line={"color": charts.GREY, "width": 1, "dash": "dot"}, annotation_text="chance",
                        annotation_font={"color": charts.GREY, "size": 11})  # fmt: skip
    return _laid_out(drawn, found, "Mean over seeds, 95 % interval")


def changes(found: Sequence[Figure], reference: str, colours: Palette) -> go.Figure:
    """Of one metric: each arm minus the reference. Colour and sign tell the verdict."""
    drawn, painted = go.Figure(), {"better": colours.accept, "worse": colours.reject, "cannot tell": charts.GREY}
    for verdict, colour in painted.items():
        ours = [f for f in found if f.change is not None and (f.verdict or "cannot tell") == verdict]
        rows = [(f.arm, f.change.mean, f.change.low, f.change.high) for f in ours if f.change is not None]
        if rows:
            _dots(drawn, rows, colour, verdict, SYMBOLS[verdict])
    drawn.add_vline(0, line={"color": charts.GREY, "width": 1})
    return _laid_out(drawn, found, f"Minus {in_figure(reference)}")


def _dots(
    drawn: go.Figure, rows: Sequence[tuple[str, float, float, float]], colour: str, name: str, symbol: str = "circle"
) -> None:
    drawn.add_scatter(
        x=[mean for _, mean, _, _ in rows],
        y=[in_figure(arm) for arm, *_ in rows],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [high - mean for _, mean, _, high in rows],
            "arrayminus": [mean - low for _, mean, low, _ in rows],
            "thickness": 1.5,
        },
        mode="markers",
        marker={"size": 10, "color": colour, "symbol": symbol, "line": {"width": 2, "color": colour}},
        name=name,
        customdata=[[low, high] for _, _, low, high in rows],
        hovertemplate="%{x:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]",
    )


def _laid_out(drawn: go.Figure, found: Sequence[Figure], title: str) -> go.Figure:
    arms = [in_figure(figure.arm) for figure in found]
    height = 130 + 30 * len(arms)
    drawn.update_layout(charts.LAYOUT, height=height, title_text=title, showlegend=True, hovermode="closest")
    drawn.update_layout(legend_y=-46 / max(1, height - 90))
    drawn.update_yaxes(categoryorder="array", categoryarray=arms[::-1], ticksuffix="  ", type="category",
                       range=[-0.6, len(arms) - 0.4])  # fmt: skip
    return drawn


def margins(found: Sequence[Learned], colours: Palette) -> go.Figure:
    """Margin before over difficulty: a sign for each kind, a colour and a number for each level."""
    drawn = go.Figure()
    for number, kind in enumerate(dict.fromkeys(line.kind for line in found)):
        ours = [line for line in found if line.kind == kind and line.difficulty is not None and line.before is not None]
        drawn.add_scatter(
            x=[line.difficulty for line in ours],
            y=[line.before for line in ours],
            mode="markers+lines+text",
            text=[f"{line.level or ''}" for line in ours],
            textposition="top center",
            cliponaxis=False,
            marker={"size": 11, "symbol": KIND_SYMBOLS[number % len(KIND_SYMBOLS)],
                    "color": [colours.levels.get(line.level or 0, charts.GREY) for line in ours]},
            line={"color": charts.GREY, "width": 1, "dash": ("solid", "dash", "dot")[number % 3]},
            name=in_figure(kind),
            customdata=[[LEVEL_WORDS.get(line.level or 0, "imported"), line.n] for line in ours],
            hovertemplate="%{customdata[0]}, %{customdata[1]:,} pairs: difficulty %{x:.2f}, margin %{y:.3f}",
        )  # fmt: skip
    drawn.add_hline(0, line={"color": charts.GREY, "width": 1})
    drawn.update_layout(charts.LAYOUT, height=340, title_text="Margin before training, by difficulty",
                        hovermode="closest")  # fmt: skip
    drawn.update_xaxes(title="measured difficulty, 1 = hard", title_standoff=4)
    drawn.update_yaxes(title="margin a token")
    return drawn
