"""Overview: one line per stage with its counts, what is in the way, and the one thing to do next."""

from __future__ import annotations

import streamlit as st

from db import jobs, overview
from db.overview import Stand
from jobs import launch
from ui import health, library_folders, state
from ui.acting import open_jobs, start_worker, telling, work
from ui.next_step import TITLES, Step, next_step, queued_on
from ui.teach import what_a_pair_is
from ui.text import escaped

STAGES = (
    ("pages/library.py", "Library", "Videos whose order of events can be disturbed"),
    ("pages/pairs.py", "Pairs", "Responses to the true and to another order"),
    ("pages/review.py", "Review", "People decide which pairs may train a model"),
    ("pages/curriculum.py", "Curriculum", "Levels from easy to hard, frozen for runs"),
    ("pages/runs.py", "Runs", "Preference training and fine-tuning"),
    ("pages/evaluate.py", "Evaluate", "Before and after, on held-out videos"),
)


def _s(n: int, one: str) -> str:
    return f"{n:,} {one}" if n == 1 else f"{n:,} {one}s"


def _counts(now: Stand) -> list[tuple[str, bool]]:
    """What stands at each of `STAGES`, and whether there is something."""
    refused = now.n_videos - now.n_kept - now.n_missing - now.n_withdrawn
    videos = [f"{now.n_videos:,} videos, {now.n_kept:,} kept", f"{refused:,} left out" if refused else ""]
    videos += [f"{now.n_missing:,} missing" if now.n_missing else ""]
    videos += [f"{now.n_withdrawn:,} withdrawn" if now.n_withdrawn else ""]
    filtered, withdrawn = now.pairs_of("filtered"), now.n_withdrawn_pairs
    made = [_s(now.n_pairs, "pair"), f"{filtered:,} refused by a filter" if filtered else ""]
    made += [f"{withdrawn:,} withdrawn" if withdrawn else ""]
    review = [f"{now.pairs_of('accepted'):,} accepted, {now.pairs_of('pending'):,} to review"]
    review += [f"{now.pairs_of('rejected'):,} rejected" if now.pairs_of("rejected") else ""]
    review += [_s(now.n_campaigns, "open campaign") if now.n_campaigns else ""]
    newest = now.newest_version
    frozen = [_s(now.n_versions, "frozen version"), f"the newest holds {newest[3]:,} pairs" if newest else ""]
    runs = [_s(sum(now.runs.values()), "run"), f"{now.runs_of('succeeded'):,} done" if now.runs else ""]
    runs += [f"{now.runs_of('running', 'queued'):,} under way" if now.runs_of("running", "queued") else ""]
    return [
        (_said(videos), now.n_kept > 0),
        (_said(made), now.n_pairs > 0),
        (_said(review), now.n_decided > 0),
        (_said(frozen), now.n_versions > 0),
        (_said(runs), now.runs_of("succeeded") > 0),
        (f"{_s(now.n_measured, 'model')} measured", now.n_measured > 0),
    ]


def _said(parts: list[str]) -> str:
    return ", ".join(part for part in parts if part)


def _next(step: Step) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**Next.** {escaped(step.why)}", width="stretch")
        if st.button(escaped(step.button), type="primary", icon=":material/arrow_forward:", key="next"):
            st.switch_page(f"pages/{step.page}.py", query_params=dict(step.query))


def _problems(now: Stand) -> None:
    """What is in the way, each with the way out."""
    with state.database().reading() as session:
        newest = jobs.latest(session, 1)
        waiting = any(job.state == "queued" for job in jobs.open_jobs(session))
    if newest and newest[0].state == "failed":
        page = queued_on(newest[0].kind)
        st.page_link(f"pages/{page}.py", label=f"Open {TITLES[page]} to try again", icon=":material/arrow_forward:")
    folders = library_folders.found()
    library_folders.banner(folders)
    if any(folder.n_missing for folder in folders):
        st.page_link("pages/library.py", label="Open Folders", icon=":material/arrow_forward:",
                     query_params={"view": "folders"})  # fmt: skip
    health.on_the_overview()
    health.room()
    if waiting and not launch.worker_alive(state.database()):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.warning("Work is queued, but no worker is there to do it.", icon=":material/engineering:")
            if st.button("Start a worker", key="start_worker"):
                with telling():
                    start_worker()
                    st.rerun()


def _flags(now: Stand) -> None:
    """Pairs that a reviewer was not sure of."""
    flagged = now.pairs_of("flagged")
    if flagged:
        st.page_link("pages/review.py", label=f"{escaped(_s(flagged, 'flagged pair'))} for a second look",
                     icon=":material/flag:", query_params={"status": "flagged"})  # fmt: skip


def main() -> None:
    st.title("TEMPO Studio")
    st.caption("Teach a Video LLM the order of events with preference pairs that it makes itself.")
    work()
    with state.database().reading() as session:
        now = overview.stand(session)
    _problems(now)
    _next(next_step(now, {job.kind for job in open_jobs()}))
    if now.n_pairs == 0:
        what_a_pair_is("teach")
        st.divider()
    for (page, title, what), (count, done) in zip(STAGES, _counts(now), strict=True):
        mark, name, stands, about = st.columns([0.4, 2.6, 5, 5], vertical_alignment="center")
        mark.markdown(":green[:material/check_circle:]" if done else ":gray[:material/radio_button_unchecked:]")
        name.page_link(page, label=title)
        stands.text(count)
        about.caption(what)
    _flags(now)
    if now.n_pairs:
        with st.expander("What is a pair?", icon=":material/school:"):
            what_a_pair_is("teach_again")


main()
