"""Runs beside each other: their curves on one chart per level, and only the settings in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import streamlit as st

from db import curricula, metrics, runs
from db.runs import RunCard
from ui import charts, state
from ui.palette import palette
from ui.run_curves import MORE, PARTS, PER_LEVEL
from ui.run_look import Look, is_level, named

MOST = 6
WHAT = {**dict(PER_LEVEL), **dict(MORE), **{key: f"Loss: {key}" for key in PARTS}}


def show(look: Look, others: Sequence[RunCard]) -> None:
    """The shown run with others; the one before it is proposed."""
    cards = {card.id: card for card in others}
    before = [number for number in cards if number < look.run.id][:1]
    left, right = st.columns([3, 2])
    chosen = left.multiselect(
        "Compare with", [number for number in cards if number != look.run.id], before, max_selections=MOST - 1,
        format_func=lambda number: named(cards[number]), key=f"compare_{look.run.id}",
    )  # fmt: skip
    if not chosen:
        st.info("Choose a run to compare with.", icon=":material/compare_arrows:")
        return
    what = right.selectbox("Curve", list(WHAT), format_func=WHAT.__getitem__, key="compare_what")
    ids = [look.run.id, *chosen]
    _curves(ids, what, look)
    rows = differing({number: settings(cards[number]) for number in ids})
    if rows:
        st.dataframe(rows, hide_index=True, key="differing")
    else:
        st.caption("These runs have the same data, model, code and settings.")


def _curves(ids: Sequence[int], what: str, look: Look) -> None:
    single = what in PARTS
    keys = [what] if single else [f"{key}/{what}" for key in ("l1", "l2", "l3", "l4", "imported")]
    with state.database().reading() as session:
        found = {number: metrics.series(session, number, keys) for number in ids}
    colours, smooth = palette(st.context.theme.type), int(st.session_state.get("smooth", 5))
    drawn = [key for key in keys if any(found[number].get(key) for number in ids)]
    if not drawn:
        st.caption("None of these runs has this curve.")
    for place in range(0, len(drawn), 2):
        for column, key in zip(st.columns(2), drawn[place : place + 2], strict=False):
            part = key.partition("/")[0]
            title = WHAT[what] if single or not is_level(part) else f"{WHAT[what]}, level {look.name_of(part)}"
            of_run = {number: found[number].get(key, []) for number in ids}
            column.plotly_chart(charts.overlaid(title, of_run, colours, smooth), key=f"compare_{key}",
                                alt=f"{title}: one line for each run")  # fmt: skip


def settings(card: RunCard) -> dict[str, Any]:
    """What a run was started with, flat."""
    about = {
        "data": card.dataset_version_id, "SFT set": card.sft_set_id, "model": card.base_model, "code": card.code_version
    }  # fmt: skip
    return {**about, **asdict(card.config)}


def differing(of_run: Mapping[int, Mapping[str, Any]]) -> list[dict[str, str]]:
    """A row for each setting that is not the same in all runs, as text, since kinds mix."""
    names = dict.fromkeys(name for values in of_run.values() for name in values)
    rows = []
    for name in names:
        told = {number: _told(values.get(name)) for number, values in of_run.items()}
        if len(set(told.values())) > 1:
            rows.append({"setting": name.replace("_", " "), **{f"run {number}": text for number, text in told.items()}})
    return rows


def _told(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "on", False: "off", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def all_settings(look: Look) -> None:
    """Every number of the run, and what it ran on."""
    with state.database().reading() as session:
        card = runs.get(session, look.run.id)
        curriculum = card.curriculum_id and curricula.get(session, card.curriculum_id).name
    rows = [{"setting": "curriculum", "value": curriculum or "none that was saved"}]
    rows += [{"setting": name.replace("_", " "), "value": _told(value)} for name, value in settings(card).items()]
    rows += [{"setting": name, "value": _told(value)} for name, value in card.env.items()]
    rows.append(
        {"setting": "hash of the training order", "value": (card.training_plan_sha256 or "not planned yet")[:16]}
    )
    st.dataframe(rows, hide_index=True, key="settings", height=420)
