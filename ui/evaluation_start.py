"""Start a measurement: on held-out videos, or on public benchmarks in a folder of files, which is looked at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from db import datasets, runs
from db.people import ROLES
from db.runs import RunCard
from jobs.payloads import EvaluatePayload
from tempo_core import benchmarks
from tempo_core.benchmarks.base import TITLES
from tempo_core.errors import TempoError
from ui import state
from ui.acting import for_role, may_name_files, queue, telling
from ui.text import escaped, untrusted

if TYPE_CHECKING:
    from tempo_core.benchmarks.in_files import Opened

MOST_NAMED = 12


def show() -> None:
    """The run to measure and the two ways; says what is missing where there is no run."""
    with state.database().reading() as session:
        trained = [line.run for line in runs.listing(session) if line.run.state in ("succeeded", "cancelled")]
    if not trained:
        st.info("No trained run yet. Start one on the runs page.", icon=":material/monitoring:")
        st.page_link("pages/runs.py", label="Open Runs", icon=":material/arrow_forward:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        run_id = _run(trained)
        if st.button("Measure before and after", type="primary", icon=":material/fact_check:",
                     **for_role("admin", told="On the held-out videos of the run's dataset version")):  # fmt: skip
            queue(EvaluatePayload(run_id=run_id))
    if state.person().role == ROLES[-1]:
        _in_files(run_id)


def _run(trained: Sequence[RunCard]) -> int:
    named = {run.id: f"{run.id}: {run.recipe.replace('_', ' → ')}, seed {run.config.seed}" for run in trained}
    asked = st.query_params.get("run", "").partition("-")[0]
    known = asked.isdigit() and int(asked) in named
    if asked not in ("", "base") and not known:
        st.warning(f"There is no trained run {escaped(asked)}.")
    first = list(named).index(int(asked)) if known else 0
    return st.selectbox("Run to measure", list(named), first, format_func=named.__getitem__)


def _in_files(run_id: int) -> None:
    """Nothing is queued before the folder was looked at: what is missing is told by name."""
    with st.expander("A public benchmark in a folder of files", icon=":material/folder_open:"):
        st.caption(
            "The official annotation files with their videos, as you have them; nothing is downloaded. "
            "Base and run are asked the same questions."
        )
        if not may_name_files(f"evaluate --run {run_id} --data FOLDER"):
            return
        folder = st.text_input("Folder", placeholder="/data/benchmarks/TempCompass", key="bench_folder")
        left, middle, right = st.columns([3, 1, 1])
        names = left.multiselect(
            "Benchmarks", list(benchmarks.IN_FILES), key="bench_names", format_func=lambda name: TITLES[name][0],
            placeholder="Those it is named after",
        )  # fmt: skip
        pictures = int(middle.number_input("Pictures of a video", 1, 512, 16, key="bench_pictures"))
        limit = right.number_input("At most", 1, None, None, key="bench_limit", placeholder="all questions")
        forced = st.toggle("Also on videos that the run was trained on", key="bench_forced",
                           help="The score is marked as contaminated: it does not tell what was learned")  # fmt: skip
        payload = EvaluatePayload(
            run_id, benchmarks=tuple(names), limit=None if limit is None else int(limit), data=folder.strip() or None,
            pictures=pictures, allow_contaminated=forced,
        )  # fmt: skip
        with st.container(horizontal=True):
            look = st.button("Look into the folder", icon=":material/search:")
            go = st.button("Measure", type="primary", icon=":material/fact_check:", key="bench_go")
        with telling():
            if look or go:
                found = opened(payload)
                trained = _trained_on(run_id, found)
                if go and (forced or not trained):
                    queue(_named(payload, found))
                _told(found)
                _contaminated(trained, forced)


def _named(payload: EvaluatePayload, found: Sequence[Opened]) -> EvaluatePayload:
    """With the benchmarks that were found, so that the job asks what was shown, and no held-out videos."""
    return replace(payload, benchmarks=tuple(one.name for one in found), data=str(_folder(payload.data)))


def opened(payload: EvaluatePayload) -> list[Opened]:
    """What the folder holds of the benchmarks that were chosen, or of those it is named after.

    Raises:
        TempoError: There is no such folder, none of its videos, or a line of its files is not as documented.
    """
    folder = _folder(payload.data)
    names = payload.benchmarks or benchmarks.named_in(folder)
    if not names:
        raise TempoError(f"{folder} is, and holds, no folder named after a benchmark. Choose which ones to look for.")
    return [
        benchmarks.load_in_files(name).open(folder, limit=payload.limit, n_pictures=payload.pictures) for name in names
    ]


def _folder(named: str | None) -> Path:
    if named is None:
        raise TempoError("Type the folder that holds the benchmark's files and videos.")
    path = Path(named).expanduser()
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist on this machine"
        raise TempoError(f"{path} {what}. Type the folder that holds the benchmark's files and videos.")
    return path.resolve()


def _trained_on(run_id: int, found: Sequence[Opened]) -> tuple[str, ...]:
    """Videos of the benchmarks that the run was trained on."""
    with state.database().reading() as session:
        version_id = runs.get(session, run_id).dataset_version_id
        items = () if version_id is None else datasets.items(session, version_id, "train")
    videos = {item.pair.video for item in items}
    return tuple(f"{one.name}: {name}" for one in found for name in one.among(videos))


def _contaminated(trained: Sequence[str], forced: bool) -> None:
    if not trained:
        return
    way = "they are marked as contaminated" if forced else (
        "nothing is queued. Take another benchmark, or switch on to measure it all the same"
    )  # fmt: skip
    st.error(f"{len(trained):,} of these videos were trained on by this run; scores on them do not tell what it "
             f"learned: {way}.", icon=":material/warning:")  # fmt: skip
    untrusted("trained on: " + _listed(trained))


def _listed(names: Sequence[str]) -> str:
    more = f"\nand {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _told(found: Sequence[Opened]) -> None:
    for one in found:
        told = one.told()
        (st.warning if one.missing else st.success)(escaped(told, longest=1000))
        if one.missing:
            untrusted("missing: " + _listed(one.missing))
