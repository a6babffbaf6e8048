"""Overview: one line per step with its counts, and the one thing to do next."""

from __future__ import annotations

import streamlit as st

from db import datasets, evaluations, pairs, runs, videos
from ui import state
from ui.acting import work

STEPS = (
    ("pages/library.py", "Library", "Videos whose order of events can be disturbed"),
    ("pages/pairs.py", "Pairs", "Responses to the clean and to the perturbed order"),
    ("pages/review.py", "Review", "Decide which pairs may train a model"),
    ("pages/curriculum.py", "Curriculum", "Levels from easy to hard, frozen as a dataset version"),
    ("pages/runs.py", "Runs", "Preference training and fine-tuning"),
    ("pages/evaluate.py", "Evaluate", "Before and after, on held-out videos"),
)


def _counts() -> list[tuple[str, bool]]:
    """What stands at each step, in words, and whether there is something."""
    with state.database().reading() as session:
        found, made = videos.counts(session), pairs.counts(session)
        frozen, trained, measured = datasets.listing(session), runs.listing(session), evaluations.table(session)
    n_videos = sum(n for status, n in found.items() if status != "kept")
    of = made.status
    reviewed = sum(of.get(status, 0) for status in ("accepted", "rejected", "flagged"))
    done = sum(line.run.state == "succeeded" for line in trained)
    return [
        (f"{n_videos:,} videos, {found.get('kept', 0):,} kept", found.get("kept", 0) > 0),
        (f"{made.total:,} pairs, {of.get('filtered', 0):,} refused by a filter", made.total > 0),
        (f"{of.get('accepted', 0):,} accepted, {of.get('pending', 0):,} to review", reviewed > 0),
        (f"{len(frozen)} frozen versions" if len(frozen) != 1 else "1 frozen version", bool(frozen)),
        (f"{len(trained)} runs, {done} done", done > 0),
        (f"{len({(line.run_id, line.moment) for line in measured})} models measured", bool(measured)),
    ]


NEXT = (
    "Choose a folder of videos, or draw the embedded world.",
    "Ask a model about the kept videos on their clean and perturbed order.",
    "Look at some pairs, then accept the rest of a filter in bulk.",
    "Set the levels and freeze what was accepted.",
    "Start the first run on the frozen version.",
    "Measure the base model and the trained one on held-out videos.",
)


def main() -> None:
    st.title("TEMPO Studio")
    st.caption("Teach a Video LLM the order of events with preference pairs that it makes itself.")
    work()
    counts = _counts()
    todo = next((i for i, (_, done) in enumerate(counts) if not done), None)
    if todo is None:
        st.success("Every step has run once. Go back to any of them to go deeper.", icon=":material/check_circle:")
    else:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f"**Next: {STEPS[todo][1]}.** {NEXT[todo]}")
            st.page_link(STEPS[todo][0], label=f"Open {STEPS[todo][1]}", icon=":material/arrow_forward:")
    for (page, title, what), (count, done) in zip(STEPS, counts, strict=True):
        mark, name, stands, about = st.columns([0.4, 2, 4, 5], vertical_alignment="center")
        mark.markdown(":green[:material/check_circle:]" if done else ":gray[:material/radio_button_unchecked:]")
        name.page_link(page, label=title)
        stands.text(count)
        about.caption(what)


main()
