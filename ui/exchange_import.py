"""Import: look into a file of this machine before anything is written, then take its pairs in by a job."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import streamlit as st

from db import import_matches, jobs, videos
from db.import_matches import Match, Seen
from db.jobs import Job
from jobs.payloads import ImportPayload
from tempo_core import filters
from tempo_core.exchange import READERS, reading
from ui import state, words
from ui.acting import may_name_files, queue, telling, work
from ui.text import escaped, untrusted

LOOKED = 300
"""Records of a file that are looked at before it is imported."""
SHOWN = 5
"""Pairs of a file whose texts are shown."""
LONGEST = 300
HERE, MISSING = "the pair is here already", "its video is not in the library"
BY_KEYS = "by its keys"
FORMS = (
    "JSONL, JSON or parquet of **ms-swift**, **TRL**, **LLaMA-Factory**, flat **Hugging Face** sets, **LLaVA-Hound** "
    "and **RRPO**, or a folder that this studio exported: then pairs come back with their plan, level and clip map. "
    "Videos are found in the library by their bytes or their name; nothing is fetched."
)


def show() -> None:
    """The form, what the file holds, and what came of the last import."""
    if not state.may("admin"):
        st.info(escaped(state.why_not("admin") or ""), icon=":material/lock:")
        return
    if not may_name_files("import FILE"):
        return
    st.markdown(FORMS)
    payload = _form()
    if payload is not None:
        with telling():
            _look(payload)
    work("import")
    _last()


def _form() -> ImportPayload | None:
    """What was named; None until somebody asked to look at it."""
    left, right = st.columns(2)
    place = left.text_input("File or folder", key="import_place", placeholder="/data/pairs/train.jsonl").strip()
    folder = right.text_input("Folder of its videos", key="import_videos", placeholder="looked up in the library",
                              help="Where the video paths of the file begin; else the library is searched")  # fmt: skip
    form = left.selectbox("Form", [BY_KEYS, *READERS], key="import_form", format_func=words.pair_form)
    right.space("small")
    skip = right.checkbox("Skip pairs without their video", key="import_skip",
                          help="Otherwise the whole file is refused and the videos are named")  # fmt: skip
    if left.button("Look inside", icon=":material/search:", disabled=not place):
        st.session_state["import_looked"] = place
    if not place or st.session_state.get("import_looked") != place:
        return None
    return ImportPayload(place, None if form == BY_KEYS else form, folder.strip() or None, skip)


def _look(payload: ImportPayload) -> None:
    """What the first records of each file are, and where they would belong. Nothing is written."""
    place = Path(payload.path).expanduser()
    with state.database().reading() as session:
        shelf = import_matches.shelf(session)
    n_good, n_missing, cut = 0, 0, False
    for path in reading.files_of(place):
        form = reading.recognised(path, READERS, payload.format)
        some = list(islice(reading.found(path, READERS[form], LOOKED), LOOKED))
        with state.database().reading() as session:
            matches = import_matches.matched(session, shelf, some, Seen())
        _file(path, form, matches, by_bytes=payload.videos is not None)
        n_missing += sum(match.missing for match in matches)
        n_good += sum(not match.reason for match in matches)
        cut = cut or len(matches) >= LOOKED
    if n_missing and not payload.skip_missing:
        st.warning(
            f"{n_missing:,} of these pairs have no video in the library, so the files would be refused. Scan the "
            "folder of the videos first, or choose to skip such pairs.", icon=":material/videocam_off:"
        )  # fmt: skip
    nothing = not (n_good or cut or payload.videos)
    if st.button("Import", icon=":material/download:", type="primary", disabled=nothing):
        st.session_state.pop("import_looked", None)
        queue(payload)


def _file(path: Path, form: str, matches: list[Match], *, by_bytes: bool) -> None:
    st.markdown(f"**{escaped(path.name)}**: {escaped(words.pair_form(form))}")
    good = [match for match in matches if not match.reason]
    n_whole = sum(match.plan is not None for match in good)
    first = f"Of the first {len(matches):,} records" if len(matches) == LOOKED else f"Of {len(matches):,} records"
    whole = f", {n_whole:,} of them with their plan" if n_whole else ""
    n_refused = sum(not filters.passed(match.verdicts) for match in good)
    refused = f" A filter rule would refuse {n_refused:,} of these." if n_refused else ""
    st.caption(f"{first} {len(good):,} would come in{whole}.{refused}")
    if by_bytes:
        st.caption("Names are looked up in the library here; the import itself goes by the bytes in the folder named.")
    _reasons([match for match in matches if match.reason])
    if good:
        _texts(good[:SHOWN])


def _reasons(matches: list[Match]) -> None:
    """Why records would be left out, alike ones together, with the first of each."""
    alike: dict[str, list[Match]] = {}
    for match in matches:
        what = HERE if match.here is not None else MISSING if match.missing else match.reason
        alike.setdefault(what, []).append(match)
    if alike:
        st.dataframe(
            [{"records": len(some), "left out because": what,
              "such as": f"line {some[0].found.line}" + (f": {some[0].reason}" if what != some[0].reason else "")}
             for what, some in sorted(alike.items(), key=lambda item: -len(item[1]))],
            hide_index=True, column_config={"records": st.column_config.NumberColumn(width="small")},
        )  # fmt: skip


def _texts(matches: list[Match]) -> None:
    """The first pairs, with the video that each would be about."""
    with state.database().reading() as session:
        cards = videos.cards(session, [match.video_id for match in matches])
    st.dataframe(
        [{"video of the file": m.pair.video, "in the library": cards[m.video_id].name,
          "prompt": m.pair.prompt[:LONGEST], "chosen": m.pair.chosen[:LONGEST],
          "rejected": m.pair.rejected[:LONGEST]} for m in matches],
        hide_index=True,
    )  # fmt: skip


def _last() -> None:
    with state.database().reading() as session:
        last = jobs.latest(session, 1, kinds=("import",), states=("succeeded",))
    if last:
        _came_of(last[0])


def _came_of(job: Job) -> None:
    result = job.result or {}
    n_read, n_in, n_out = (int(result.get(name, 0)) for name in ("read", "imported", "skipped"))
    st.success(f"{n_read:,} records read: {n_in:,} pairs imported, {n_out:,} skipped.", icon=":material/check_circle:")
    untrusted(str(job.payload.get("path", "")))
    if refused := int(result.get("refused_by_a_rule", 0)):
        st.caption(f"{refused:,} of the imported pairs were refused by a filter rule and are not in the queue.")
    with st.container(horizontal=True):
        st.page_link("pages/pairs.py", label="Imported pairs", icon=":material/table_rows:",
                     query_params={"input": "imported"})  # fmt: skip
        st.page_link("pages/review.py", label="Review", icon=":material/compare:")
        if n_out:
            st.page_link("pages/exchange.py", label="Why the others were skipped", icon=":material/help:",
                         query_params={"part": "History"})  # fmt: skip
