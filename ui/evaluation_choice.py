"""What the views of the evaluate page choose alike: a benchmark asked in one way, and two checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from db import datasets, sheets
from db.sheets import Checkpoint, Sheet
from tempo_core.benchmarks.base import TITLES
from ui import state
from ui.acting import of_address
from ui.text import escaped

MOMENTS = {
    "base": "base",
    "dpo": "DPO",
    "sft": "SFT",
    "dpo+sft": "DPO → SFT",
    "sft+dpo": "SFT → DPO",
    "chosen_only": "chosen only",
    "chosen_only+sft": "chosen only → SFT",
}
"""In the order of their columns."""


def measured() -> list[Sheet]:
    """Every sheet, our own benchmarks first, of one benchmark the newest first; says what to do where there is none."""
    order = list(TITLES)
    with state.database().reading() as session:
        found = sheets.listing(session)
    found.sort(key=lambda sheet: order.index(sheet.benchmark) if sheet.benchmark in order else len(order))
    if not found:
        st.info("Nothing is measured yet. Start a measurement under **Scores**.", icon=":material/fact_check:")
    return found


def sheet(found: Sequence[Sheet]) -> Sheet:
    """The sheet that the address or the visitor chooses; a benchmark without its way of asking is its newest one."""
    named = titles(found)
    asked = st.query_params.get("benchmark", "")
    of_name = [sheet.key for sheet in found if sheet.benchmark == asked]
    if of_name and "benchmark" not in st.session_state:
        st.query_params["benchmark"] = of_name[0]
    of_address("benchmark", list(named))
    chosen = st.selectbox("Benchmark", list(named), format_func=named.__getitem__, key="benchmark")
    return next(sheet for sheet in found if sheet.key == chosen)


def titles(found: Sequence[Sheet]) -> dict[str, str]:
    """Each sheet by its key, as people tell them apart."""
    with state.database().reading() as session:
        versions = {v.content_sha256: f"{v.name} {v.number}" for v in datasets.listing(session)}
    return {sheet.key: f"{title(sheet.benchmark)}, {_asked(sheet, versions)}" for sheet in found}


def title(benchmark: str) -> str:
    return TITLES.get(benchmark, (benchmark, ""))[0]


def _asked(sheet: Sheet, versions: dict[str, str]) -> str:
    settings = sheet.settings
    limit = f", at most {settings['limit']}" if settings.get("limit") else ""
    if found := settings.get("coverage"):
        marks = [word for word in ("contaminated",) if settings.get(word)]
        partial = f"{found['found']:,} of {found['videos']:,} videos"
        return ", ".join((partial, f"{settings.get('pictures', '?')} pictures{limit}", *marks))
    if "dataset" in settings:
        sha = str(settings["dataset"])
        return f"held-out videos of {versions.get(sha, sha[:12])}{limit}"
    return sheet.settings_sha256[:8]


def moment(name: str) -> str:
    return MOMENTS.get(name, name.replace("_", " ").replace("+", " → "))


def named(checkpoint: Checkpoint) -> str:
    """A checkpoint in lists of several models."""
    if checkpoint.run_id is None:
        return f"base ({checkpoint.model})"
    return f"run {checkpoint.run_id}: {moment(checkpoint.moment)}"


def in_columns(found: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Base, DPO, SFT, DPO → SFT, SFT → DPO, then the controls; of one kind the older run first."""
    order = list(MOMENTS)

    def place(checkpoint: Checkpoint) -> tuple[int, int, int]:
        known = checkpoint.moment in MOMENTS
        return order.index(checkpoint.moment) if known else len(order), checkpoint.run_id or 0, checkpoint.model_id

    return sorted(found, key=place)


def newest_of_each(found: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The newest run of each moment, all of the model that was trained last, and its base."""
    whole = [checkpoint for checkpoint in found if "/" not in checkpoint.moment]  # dpo/l1 is after one of its stages
    last = max(whole, key=lambda c: c.run_id or 0)
    own = sorted((c for c in whole if c.model_id == last.model_id), key=lambda c: c.run_id or 0)
    return in_columns(list({checkpoint.moment: checkpoint for checkpoint in own}.values()))


def two(found: Sequence[Checkpoint]) -> tuple[Checkpoint, Checkpoint] | None:
    """A baseline and what is compared with it, by the address where it names them; None where there is only one."""
    options = {checkpoint.key: checkpoint for checkpoint in found}
    if len(options) < 2:
        st.info("Only one checkpoint is measured here: there is nothing to compare yet.", icon=":material/info:")
        return None
    proposed = newest_of_each(found)
    left, right = st.columns(2)
    first = _choose(left, "Baseline", "baseline", options, proposed[0].key)
    others = {key: checkpoint for key, checkpoint in options.items() if key != first}
    last = next((c.key for c in reversed(proposed) if c.key != first), next(iter(others)))
    second = _choose(right, "Compared with it", "run", others, last)
    return options[first], options[second]


def _choose(place: object, label: str, name: str, options: dict[str, Checkpoint], proposed: str) -> str:
    """A choice whose first value comes from the address; a run without its moment is its last one."""
    asked = st.query_params.get(name, "")
    if asked and asked not in options:
        of_run = [key for key in options if key.startswith(f"{asked}-")]
        if not of_run:
            st.warning(f"There is no {escaped(name)} {escaped(asked)} among these.")
        asked = of_run[-1] if of_run else ""
    key = f"chosen_{name}"
    if st.session_state.get(key) not in options:
        st.session_state[key] = asked or proposed
    with place:  # type: ignore[attr-defined]
        chosen = str(st.selectbox(escaped(label), list(options), key=key, format_func=lambda k: named(options[k])))
    st.query_params[name] = chosen
    return chosen
