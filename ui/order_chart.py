"""The picture of a training plan: the share of each level in every step, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from tempo_core.curriculum import StageCount, TrainingPlan, steps_of_share
from ui import charts
from ui.palette import Palette, text_on

MOST_COLUMNS = 240
"""More cannot be told apart; then a column stands for several steps."""


def shares(plan: TrainingPlan, stages: Sequence[StageCount], names: dict[int, str], palette: Palette) -> go.Figure:
    """Stacked columns, one a step or for several; each level carries its number where it is strongest."""
    together = -(-plan.n_steps // MOST_COLUMNS)
    figure = go.Figure()
    below: list[float] = []
    for key, values in steps_of_share(plan, together).items():
        below = below or [0.0] * len(values)
        number = key[1:] if key[1:].isdigit() else ""
        colour = palette.levels[int(number)] if number else charts.GREY
        first = [1 + i * together for i in range(len(values))]
        last = [min(plan.n_steps, start + together - 1) for start in first]
        x = [(a + b) / 2 for a, b in zip(first, last, strict=True)]
        figure.add_bar(
            x=x,
            y=values,
            width=[b - a + 1 for a, b in zip(first, last, strict=True)],
            marker={"color": colour, "line": {"width": 0}},
            name=names[int(number)] if number else key,
            customdata=[str(a) if a == b else f"{a} to {b}" for a, b in zip(first, last, strict=True)],
            hovertemplate="step %{customdata}: %{y:.0%}",
        )
        _number(figure, number or key, values, below, x, colour)
        below = [a + b for a, b in zip(below, values, strict=True)]
    for stage in stages[1:]:
        figure.add_vline(stage.first_step - 0.5, line={"color": charts.GREY, "width": 1, "dash": "dot"})
    figure.update_layout(charts.LAYOUT, barmode="stack", bargap=0, height=250, margin={"l": 8, "r": 8, "t": 12, "b": 8})
    figure.update_yaxes(range=[0, 1], tickformat=".0%")
    figure.update_xaxes(title="step", title_standoff=4, range=[0.5, plan.n_steps + 0.5])
    return figure


def _number(
    figure: go.Figure, text: str, values: Sequence[float], below: Sequence[float], x: Sequence[float], colour: str
) -> None:
    """The second cue besides colour: the level's number where, over a stretch of steps, it is strongest."""
    smooth, floor = _smoothed(values), _smoothed(below)
    most = max(smooth)
    strongest = [i for i, value in enumerate(smooth) if value > most - 0.1]
    if most < 0.12:
        return
    place = strongest[len(strongest) // 2]
    at = {"x": x[place], "y": floor[place] + smooth[place] / 2}
    figure.add_annotation(**at, text=text, showarrow=False, font={"color": text_on(colour), "size": 13})


def _smoothed(values: Sequence[float]) -> list[float]:
    """Mean over a twelfth of the width, so that one odd step does not take the number away from its level."""
    reach = len(values) // 24
    windows = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]
