"""The form of a new experiment, with what it would train before it is queued."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from db import datasets, sft_sets
from db.experiments import Asked
from jobs import experimenting
from jobs.experimenting import Ahead
from tempo_core import benchmarks, curves
from tempo_core.benchmarks.base import TITLES
from tempo_core.errors import BadSettings
from tempo_core.experiments import CHOSEN_ONLY, CONTROLS, Design
from tempo_core.recipes import PACINGS, PRESETS, RECIPES
from tempo_core.settings import EMBEDDED_MODEL
from ui import state, words
from ui.acting import start_worker, telling
from ui.text import escaped

OFFERED = [name for name in RECIPES if not name.startswith("chosen") and name not in CHOSEN_ONLY.values()]
SMALL = "Levels with fewer pairs than a step are left out."
WORLD = "the drawn world's own examples"


def form(empty: bool) -> None:
    """Nothing but the way there where nothing is frozen."""
    with state.database().reading() as session:
        frozen = {version.id: version for version in datasets.listing(session)}
        sets = {card.id: card for card in sft_sets.listing(session)}
    if not frozen:
        st.caption("Freeze a dataset version first; then recipes and orders can be compared on it.")
        return
    if not st.toggle("New experiment", empty, key="exp_new"):
        return
    with st.container(border=True):
        left, right = st.columns(2)
        named = {i: f"{v.name} {v.number}: {v.n_pairs - v.n_held_out:,} pairs" for i, v in frozen.items()}
        version = left.selectbox("Dataset version", list(frozen), format_func=named.__getitem__, key="exp_version")
        preset = right.selectbox("Preset", list(PRESETS), list(PRESETS).index("embedded"), key="exp_preset",
                                 help="Every number that no arm changes")  # fmt: skip
        recipes = left.multiselect("Recipes; the first is the reference", OFFERED, ["dpo_sft"], key="exp_recipes",
                                   format_func=words.recipe)  # fmt: skip
        pacings = right.multiselect("Orders; the first is the reference's", PACINGS, [PRESETS[preset].pacing],
                                    format_func=words.pacing, key=f"exp_pacings_{preset}")  # fmt: skip
        controls = left.multiselect("Controls", list(CONTROLS), list(CONTROLS), format_func=CONTROLS.__getitem__,
                                    key="exp_controls")  # fmt: skip
        seeds = right.text_input("Seeds", "0, 1, 2", key="exp_seeds", help="From three on the spread is shown")
        options = [None, *sets]
        told = {None: WORLD, **{number: f"{card.name} {card.number}" for number, card in sets.items()}}
        chosen = left.selectbox("SFT set", options, key="exp_sft", format_func=told.__getitem__)
        titles = {name: title for name, (title, _) in TITLES.items() if name in benchmarks.BENCHMARKS}
        asked = right.multiselect("Measured by", list(titles), key="exp_asked", format_func=titles.__getitem__,
                                  placeholder="all that fit the data")  # fmt: skip
        model = left.text_input("Model folder", str(EMBEDDED_MODEL), key="exp_model")
        name = right.text_input("Name", key="exp_name", max_chars=80, placeholder="such as: does the order help")
        with telling():
            design = Design(PRESETS[preset], tuple(recipes), tuple(pacings), _seeds(seeds), tuple(controls))
            _queue(name, design, Path(model.strip()).expanduser(), version, chosen, Asked(tuple(asked)))


def _seeds(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if wrong := [part for part in parts if not (part.isascii() and part.isdigit() and len(part) < 10)]:
        raise BadSettings(f"Seeds holds {wrong[0]!r}; write whole numbers from 0 on, such as 0, 1, 2.")
    return tuple(int(part) for part in parts)


def _queue(name: str, design: Design, model: Path, version: int, sft_set: int | None, asked: Asked) -> None:
    """What would be queued, and the button that does it."""
    with st.spinner("Planning every arm"):
        ahead = _ahead(design, str(model), version, sft_set)
    st.dataframe(
        [{"arm": arm.name, "what it is for": arm.says, "steps": ahead.n_steps[arm.name]} for arm in ahead.arms],
        hide_index=True, key="exp_arms", height=38 + 35 * min(8, len(ahead.arms)),
    )  # fmt: skip
    takes = "unknown until a run of this model on these data is done"
    if ahead.training_s is not None:
        takes = f"about {curves.words_for(ahead.training_s)}, by earlier runs on these data"
    left, right = st.columns([5, 2], vertical_alignment="center")
    left.caption(escaped(f"{ahead.n_runs} runs. Training takes: {takes}. Measuring comes on top. {SMALL}"))
    if right.button("Queue all", type="primary", icon=":material/science:", width="stretch", disabled=not name.strip(),
                    help=None if name.strip() else "Give it a name first"):  # fmt: skip
        number = experimenting.queue(state.database(), state.person(), name, design, model, version_id=version,
                                     sft_set_id=sft_set, asked=asked)  # fmt: skip
        start_worker()
        st.query_params["experiment"] = str(number)
        st.rerun()


@st.cache_data(ttl=60, max_entries=20, show_spinner=False)
def _ahead(design: Design, model: str, version: int, sft_set: int | None) -> Ahead:
    with state.database().reading() as session:
        return experimenting.preview(session, design, Path(model), version_id=version, sft_set_id=sft_set)
