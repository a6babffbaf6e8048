"""Pairs as points. A box becomes ranges of the filter; a lasso becomes the pairs inside, by number or by its bounds."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from db import pair_points
from db.pair_filters import PairFilter
from db.pair_points import Points
from ui import charts, state
from ui.facets import change
from ui.palette import Palette, palette
from ui.text import escaped

MOST_IDS = 500
"""Pairs that an address may name; beyond them a lasso becomes its bounds."""
FEW = 2_000
"""Points that every browser draws fast as SVG; more are drawn by WebGL, which remote desktops may lack."""
SYMBOLS = {0: "x-thin-open", 1: "circle", 2: "square", 3: "diamond", 4: "triangle-up"}
RATIO = 0
"""The first choice of y; the others are runs."""


def figure(found: Points, name: str, colours: Palette) -> go.Figure:
    """One trace a level, each with its colour and its sign."""
    drawn = go.Figure()
    scatter = go.Scatter if len(found.ids) <= FEW else go.Scattergl
    for level, symbol in SYMBOLS.items():
        ours = found.level == level
        if ours.any():
            drawn.add_trace(scatter(
                x=found.x[ours], y=found.y[ours], customdata=found.ids[ours], mode="markers",
                name=charts.level_names()[level] if level else "no level",
                marker={"size": 6, "opacity": 0.75, "symbol": symbol,
                        "color": colours.levels[level] if level else charts.GREY},
                hovertemplate="pair %{customdata}: difficulty %{x:.2f}, %{y:.2f}<extra></extra>",
            ))  # fmt: skip
    drawn.update_layout(charts.LAYOUT, height=440, dragmode="lasso", showlegend=True, hovermode="closest")
    drawn.update_layout(legend_y=-0.16)
    drawn.update_xaxes(title="difficulty, 1 = hard", title_standoff=4, range=[-0.02, 1.02])
    drawn.update_yaxes(title=name)
    return drawn


def section(wanted: PairFilter) -> None:
    with state.database().reading() as session:
        runs = pair_points.runs(session)
        names = {RATIO: "length ratio, longer over shorter response"}
        names |= {i: f"reference margin, as run {i} ({name}) measured it" for i, name in runs.items()}
    chosen = st.selectbox("Against difficulty", list(names), format_func=names.__getitem__, key="scatter_y")
    run_id = chosen or None
    with state.database().reading() as session:
        found = pair_points.points(session, wanted, run_id)
    if found.n_all == 0:
        st.info("No pair of this filter has both values.", icon=":material/scatter_plot:")
        return
    if told := st.session_state.pop("lasso_told", None):
        st.success(escaped(told), icon=":material/lasso_select:")
    few = f"{found.n_all:,} pairs" if found.n_all == len(found.ids) else (
        f"A sample of {len(found.ids):,} of {found.n_all:,} pairs, drawn with seed 0"
    )  # fmt: skip
    st.caption(f"{few}. Draw a box or a lasso to see all pairs inside it as a view.")
    picked = st.plotly_chart(
        figure(found, "length ratio" if run_id is None else "reference margin", palette(st.context.theme.type)),
        key=f"scatter_{st.session_state.get('scatter_n', 0)}", on_select="rerun", selection_mode=("box", "lasso"),
    )  # fmt: skip
    selection = picked["selection"]
    if selection.get("box"):
        _boxed(wanted, selection["box"][0], run_id)
    elif selection.get("lasso"):
        _lassoed(wanted, selection["lasso"][0], run_id)


def _boxed(wanted: PairFilter, box: dict[str, Any], run_id: int | None) -> None:
    x, y = sorted(map(float, box["x"])), sorted(map(float, box["y"]))
    _leave("The box is a view now: its ranges are in the filter above.", wanted, (x[0], x[-1]), (y[0], y[-1]), run_id)


def _lassoed(wanted: PairFilter, lasso: dict[str, Any], run_id: int | None) -> None:
    corners = [(float(x), float(y)) for x, y in zip(lasso["x"], lasso["y"], strict=True)]
    with state.database().reading() as session:
        ids = pair_points.inside(session, wanted, corners, run_id)
    if not ids:
        st.info("No pair lies inside this lasso.", icon=":material/lasso_select:")
    elif len(ids) <= MOST_IDS:
        _again(f"The {len(ids):,} pairs inside the lasso are a view now.")
        change(wanted, ids=tuple(ids))
        st.rerun()
    else:
        x, y = [corner[0] for corner in corners], [corner[1] for corner in corners]
        told = f"{len(ids):,} pairs lie inside the lasso, too many to name: the view is the box around it."
        _leave(told, wanted, (min(x), max(x)), (min(y), max(y)), run_id)


def _leave(told: str, wanted: PairFilter, x: tuple[float, float], y: tuple[float, float], run_id: int | None) -> None:
    hard, other = (round(x[0], 4), round(x[1], 4)), (round(y[0], 4), round(y[1], 4))
    _again(told)
    if run_id is None:
        change(wanted, difficulty=hard, length_ratio=other)
    else:
        change(wanted, difficulty=hard, run_id=run_id, margin=other)
    st.rerun()


def _again(told: str) -> None:
    """A new chart next time: the old one would bring its selection again."""
    st.session_state["lasso_told"] = told
    st.session_state["scatter_n"] = st.session_state.get("scatter_n", 0) + 1
