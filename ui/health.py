"""The studio's health as the pages show it: findings as rows, what an admin can do, and one line on the overview."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from db import backup, people
from db.health import Finding
from jobs import launch
from jobs.health import disk, findings
from jobs.payloads import CheckPayload
from ui import server, state
from ui.acting import open_jobs, queue, start_worker, telling
from ui.text import escaped

MARKS = {
    "ok": ":green[:material/check_circle:]", "amber": ":orange[:material/warning:]", "red": ":red[:material/error:]",
}  # fmt: skip
_TOLD_BY_THE_OVERVIEW = {"disk", "queue", "video folders"}


def found() -> list[Finding]:
    """What `doctor` says too, and who can reach this server, which only it knows."""
    return [*findings(state.home(), state.database()), _reach()]


def _reach() -> Finding:
    if state.login_configured():
        return Finding("who gets in", "ok", "People on the list, after they have signed in.")
    if server.only_this_machine():
        return Finding("who gets in", "ok", "This machine alone; nobody has to sign in.")
    way_out = "That holds only if something in front keeps others out; else configure a login ([auth] and [tempo])."
    return Finding("who gets in", "amber", "Everybody who reaches this server, by TEMPO_INSECURE=1.", way_out)


def on_the_overview() -> None:
    """One calm line, if anything is red that the overview does not tell by itself."""
    reds = [one.what for one in found() if one.level == "red" and one.what not in _TOLD_BY_THE_OVERVIEW]
    if reds:
        st.page_link("pages/doctor.py", label=f"Health has something for you: {escaped(', '.join(reds))}",
                     icon=":material/monitor_heart:")  # fmt: skip


def room() -> None:
    """A warning where the disk is nearly full."""
    found = disk(state.home())
    if found.level != "ok":
        st.warning(escaped(f"{found.fact} {found.way_out}", longest=400), icon=":material/hard_drive:")


def headline(all_found: Sequence[Finding]) -> None:
    """How it stands, in one line."""
    n_red, n_amber = (sum(one.level == level for one in all_found) for level in ("red", "amber"))
    if n_red:
        st.markdown(f"{MARKS['red']} **{n_red:d}** to mend, {n_amber:d} to keep an eye on.")
    elif n_amber:
        st.markdown(f"{MARKS['amber']} **{n_amber:d}** to keep an eye on, nothing to mend.")
    else:
        st.markdown(f"{MARKS['ok']} All is well.")


def rows(all_found: Sequence[Finding]) -> None:
    """The gravest first, each with its way out."""
    for finding in sorted(all_found, key=lambda one: ("red", "amber", "ok").index(one.level)):
        mark, what, said = st.columns([0.4, 2.4, 10], vertical_alignment="top")
        mark.markdown(MARKS[finding.level])
        what.markdown(f"**{escaped(finding.what[0].upper() + finding.what[1:])}**")
        with said:
            st.text(finding.fact)
            if finding.way_out:
                st.caption(escaped(finding.way_out, longest=500))
            if finding.page:
                st.page_link(f"pages/{finding.page}.py", label=f"Open {escaped(finding.page.capitalize())}",
                             icon=":material/arrow_forward:")  # fmt: skip


def acts() -> None:
    """What an admin can do from here; who may not is told why."""
    why_not = state.why_not("admin")
    with st.container(horizontal=True):
        ours = state.database().is_sqlite
        back_up = ours and st.button("Back up now", icon=":material/save:", type="primary", disabled=bool(why_not))
        check = st.button("Check now", icon=":material/fact_check:", disabled=bool(why_not or open_jobs("check")))
        deep = st.button("Check files too", icon=":material/rule:", disabled=bool(why_not or open_jobs("check")),
                         help="Also reads every adapter, checkpoint and export and compares its hash")  # fmt: skip
        leads = launch.worker_alive(state.database())
        start = st.button("Start a worker", icon=":material/engineering:", disabled=bool(why_not or leads))
    if why_not:
        st.caption(escaped(why_not))
    if check or deep:
        queue(CheckPayload(deep=deep))
    if start:
        with telling():
            start_worker()
            st.rerun()
    if back_up:
        _back_up()


def _back_up() -> None:
    with telling(), st.spinner("Writing a backup and reading it back"):
        people.require(state.person(), "admin")
        backup.refuse_server(state.home())
        made = backup.make(state.home().database, state.home().backups, backup.BY_HAND)
        st.success(f"{escaped(made.name)} is written, read back and whole.", icon=":material/save:")
