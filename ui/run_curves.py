"""Curves of a run per level, and the pairs behind a point of them.

The point that was clicked is kept in the address (step, level), so that it can be sent and survives a reload.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from db import run_pairs
from db.run_pairs import TrainedPair
from tempo_core import curves
from ui import charts, state
from ui.palette import palette
from ui.run_look import Look, is_level
from ui.text import escaped

PER_LEVEL = (
    ("loss", "Preference loss"), ("margin", "Reward margin"), ("accuracy", "Accuracy"),
    ("reward_chosen", "Chosen reward"), ("reward_rejected", "Rejected reward"),
    ("longer_wins", "Longer wins"),
)  # fmt: skip
MORE = (("accuracy_per_token", "Accuracy per token"), ("sft_loss", "Chosen loss"))
PARTS = ("dpo/loss", "sft/loss", "dpo/sft_loss", "chosen_only/loss")
TABLE = ("loss", "margin", "accuracy", "longer_wins", "reward_chosen", "reward_rejected")
SHARES = ("accuracy", "longer_wins", "accuracy_per_token")
Wanted = Sequence[tuple[str, str]]


def show(look: Look) -> None:
    """The curves, the table of levels, and the pairs of the point in the address."""
    if not look.series:
        if look.is_open:
            st.caption("The curves begin with the first step. Leaving this page does not disturb the run.")
        return
    smooth = st.slider("Average over steps", 1, 30, 5, key="smooth", width=320)
    found = [(name, title) for name, title in PER_LEVEL if look.by_level(name)]
    # Above the curves: below them it would open out of sight.
    pairs_of_point(look)
    with st.container(key="run_curves"):
        for row in (found[:3], found[3:]):
            _charts(row, look, smooth)
    _levels(look)
    more = [(name, title) for name, title in MORE if look.by_level(name)]
    parts = {key: look.series[key] for key in PARTS if key in look.series}
    if more or len(parts) > 1 or not found:
        with st.expander("More curves", expanded=not found):
            _charts(more, look, smooth)
            drawn = charts.curves("Loss of each phase", parts, palette(st.context.theme.type), smooth)
            st.plotly_chart(drawn, key="parts")


def _charts(wanted: Wanted, look: Look, smooth: int) -> None:
    if not wanted:
        return
    colours = palette(st.context.theme.type)
    for column, (name, title) in zip(st.columns(len(wanted)), wanted, strict=True):
        figure = charts.curves(title, look.by_level(name), colours, smooth, look.names, points=True)
        if name in SHARES:
            figure.update_yaxes(range=[-0.03, 1.03])
        key = f"curve_{look.run.id}_{name}"
        column.plotly_chart(figure, key=key, on_select=partial(_keep_point, key), selection_mode="points",
                            alt=f"{title} of each level over the steps")  # fmt: skip


def _keep_point(key: str) -> None:
    """The point that was clicked, into the address."""
    points = st.session_state[key]["selection"]["points"]
    if not points:
        return
    first, last, level = points[0]["customdata"]
    st.query_params["step"] = f"{first}" if first == last else f"{first}-{last}"
    st.query_params["level"] = level


# ---- the pairs behind a point ----------------------------------------------------------------------------------------
def pairs_of_point(look: Look) -> None:
    """The pairs of the step and level in the address, with the ways to the table and to the desk."""
    asked = st.query_params.get("step", "")
    if not asked:
        st.caption("Click a point to see the pairs that were trained there.")
        return
    steps, key = _steps(asked), st.query_params.get("level", "")
    if steps is None or not (key == "" or is_level(key)):
        st.warning(f"There is no step {escaped(asked)} of level {escaped(key or 'any')}.")
        return
    first, last = steps
    level = int(key[1:]) if key[:1] == "l" else None
    with state.database().reading() as session:
        found = run_pairs.of_steps(session, look.run.id, first, last, level, any_level=not key)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            where = f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"
            of = f"level {look.name_of(key)}" if key else "every level"
            n = "1 pair" if len(found) == 1 else f"{len(found):,} pairs"
            st.markdown(f"**{n}** of {escaped(where)}, {escaped(of)}")
            if found:
                ways(found)
            if st.button("Close", icon=":material/close:", type="tertiary", key="close_point"):
                forget_point()
                st.rerun()
        if found:
            table(found, "point_pairs")


def forget_point() -> None:
    for name in ("step", "level"):
        st.query_params.pop(name, None)


def _steps(asked: str) -> tuple[int, int] | None:
    first, _, last = asked.partition("-")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in (first, last or first)):
        return None
    return int(first), int(last or first)


def ways(found: Sequence[TrainedPair]) -> None:
    """Links to exactly these pairs, in this order."""
    query = {"ids": ",".join(f"{pair.id}" for pair in found)}
    st.page_link("pages/pairs.py", label="Open in Pairs", icon=":material/table_rows:", query_params=query)
    review = "Review this pair" if len(found) == 1 else f"Review these {len(found):,}"
    st.page_link("pages/review.py", label=review, icon=":material/compare:", query_params=query)


def table(found: Sequence[TrainedPair], key: str) -> None:
    """The pairs with what the run stored of each; a column that would be empty is left out."""
    margin = st.column_config.NumberColumn(format="%+.3f")
    rows = [
        {"pair": pair.id, "video": pair.video_name, "kind": pair.kind, "r": pair.magnitude,
         "level": f"{pair.level or 'imported'}", "margin before": pair.before, "margin after": pair.final,
         "status": pair.status, "why": pair.why}
        for pair in found
    ]  # fmt: skip
    known = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    shown = [{name: row[name] for name in known} for row in rows]
    st.dataframe(shown, hide_index=True, key=key, column_config={"margin before": margin, "margin after": margin})


# ---- where the levels stand ------------------------------------------------------------------------------------------
def _levels(look: Look) -> None:
    """Means of the last steps of each level. An accuracy that the lengths alone would give has shown nothing."""
    rows = levels_table(look)
    if not rows:
        return
    st.caption(
        f"Means of the last {curves.WINDOW} steps of each level. Longer wins: the accuracy of always taking the longer "
        "answer; only what lies above it was learned from the order of events."
    )
    numbers = {name.replace("_", " "): st.column_config.NumberColumn(format="%.3f") for name in TABLE}
    st.dataframe(rows, hide_index=True, key="levels", column_config=numbers)


def levels_table(look: Look) -> list[dict[str, object]]:
    of = {name: look.by_level(name) for name in TABLE}
    rows: list[dict[str, object]] = []
    for key in of["loss"]:
        row: dict[str, object] = {"level": look.name_of(key)}
        row |= {name.replace("_", " "): curves.last_mean(of[name][key]) for name in TABLE if key in of[name]}
        accuracy, longer = row.get("accuracy"), row.get("longer wins")
        if isinstance(accuracy, float) and isinstance(longer, float):
            row["against length"] = "better than length" if accuracy > longer else "no better than length"
        rows.append(row)
    return rows
