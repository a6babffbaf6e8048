"""The curriculum of a new run: what was chosen on the curriculum page, or a saved one, fills the form.

Levels are cut when a version is frozen, so a run follows a curriculum only on a version that was frozen with it; the
form says so. Which one a run follows is found from its version and its order, whoever starts it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace
from typing import Any

import streamlit as st

from db import curricula
from db.curricula import CurriculumCard
from db.datasets import DatasetCard
from tempo_core.recipes import PRESETS, RunConfig
from ui import curricula as curriculum_words
from ui import state
from ui.acting import asked_id
from ui.curricula import NONE
from ui.text import escaped

WISH, PICKED = "run_wish", "run_curriculum"


def wish() -> tuple[str, RunConfig] | None:
    """A name for the form's widgets and its first values; None: nothing was chosen, take a preset."""
    chosen: dict[str, Any] | None = st.session_state.get(WISH)
    if chosen is not None:
        known = {field.name for field in fields(RunConfig)}
        stamp = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]
        return f"_wish{stamp}", RunConfig(**{name: value for name, value in chosen.items() if name in known})
    saved = _saved()
    if PICKED not in st.session_state:
        asked = asked_id("curriculum")
        if asked is not None and asked not in saved:
            st.warning(f"There is no curriculum {asked:d}.", icon=":material/warning:")
        st.session_state[PICKED] = asked if asked in saved else NONE
    card = saved.get(st.session_state[PICKED])
    if card is None:
        return None
    axis = "paper" if card.axis == "paper" else "measured"
    return f"_curriculum{card.id}", replace(PRESETS["embedded"], pacing=card.pacing, difficulty=axis)


def pick() -> None:
    """A saved curriculum to begin with, or what came from the curriculum page and the way out of it."""
    if WISH in st.session_state:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge("order and numbers as on the Curriculum page", icon=":material/stairs_2:")
            st.button("Take a preset instead", type="tertiary", on_click=forget)
        return
    saved = _saved()
    if saved:
        st.selectbox("Curriculum", [NONE, *saved], key=PICKED, on_change=_to_address, width=420,
                     format_func=lambda number: "none" if number == NONE else saved[number].name,
                     help="Fills the order of levels.")  # fmt: skip


def forget() -> None:
    st.session_state.pop(WISH, None)


def _to_address() -> None:
    number = st.session_state[PICKED]
    if number == NONE:
        st.query_params.pop("curriculum", None)
    else:
        st.query_params["curriculum"] = str(number)


def told(config: RunConfig, version: DatasetCard) -> None:
    """Which saved curriculum the run will follow, and what is missing where it does not follow the picked one."""
    with state.database().reading() as session:
        follows = curricula.of_version(session, version.criteria, config.difficulty, config.pacing)
    picked = None if WISH in st.session_state else _saved().get(st.session_state.get(PICKED, NONE))
    if follows is not None:
        st.caption(f"The run follows the curriculum {escaped(follows.name)}.")
    if picked is None or (follows is not None and follows.id == picked.id):
        return
    if picked.pacing != config.pacing:
        st.caption(f"The order was changed, so the run does not follow {escaped(picked.name)}.")
    else:
        cuts = ", ".join(f"{100 * cut:g}" for cut in version.criteria.get("level_thresholds", ()))
        told_of = curriculum_words.told(picked.axis, picked.thresholds, picked.pacing).partition(";")[0]
        st.warning(
            f"{escaped(version.name)} {version.number:d} was frozen with levels that begin at {escaped(cuts)} %; "
            f"{escaped(picked.name)} asks: {escaped(told_of)}. Freeze a version with it first.",
            icon=":material/warning:",
        )
        st.page_link("pages/datasets.py", label="Freeze with it", icon=":material/lock:",
                     query_params={"curriculum": str(picked.id)})  # fmt: skip


def _saved() -> dict[int, CurriculumCard]:
    with state.database().reading() as session:
        return {card.id: card for card in curricula.listing(session)}
