"""Export: a frozen version in a format, with what that format cannot hold said before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import streamlit as st

from db import artifacts, datasets, jobs
from db.datasets import DatasetCard, FrozenPair
from db.jobs import Job
from jobs.payloads import ExportPayload
from tempo_core.exchange import FORMS, ExportPair, Form
from tempo_core.exchange.base import usable
from ui import state, versions
from ui.acting import asked_id, queue, work
from ui.text import escaped, untrusted

GONE = "its video is not where it was last seen"


def show() -> None:
    """Choose a version and a format, see what would be left out, and write it."""
    with state.database().reading() as session:
        frozen = {card.id: card for card in datasets.listing(session)}
    if not frozen:
        st.info("Nothing is frozen yet. Exports are made of frozen versions, so that a file can be traced to what was "
                "reviewed.", icon=":material/lock:")  # fmt: skip
        st.page_link("pages/datasets.py", label="Freeze a version", icon=":material/arrow_forward:")
        return
    card, form = _choose(frozen)
    versions.withdrawn(card.id)
    st.markdown(f"**{escaped(form.title)}**: {escaped(form.leaves_out, longest=600)}")
    _left_out(card, form)
    payload = _payload(card, form)
    why = state.why_not("admin")
    if st.button("Export", icon=":material/upload:", type="primary", disabled=why is not None, help=escaped(why or "")):
        queue(payload)
    work("export")
    _last()
    _made(card)


def _choose(frozen: dict[int, DatasetCard]) -> tuple[DatasetCard, Form]:
    asked = asked_id("version")
    if st.session_state.get("export_version") not in frozen:
        st.session_state["export_version"] = asked if asked in frozen else next(iter(frozen))
    named = {number: f"{card.name} {card.number}: {card.n_pairs:,} pairs" for number, card in frozen.items()}
    left, right = st.columns(2)
    number = left.selectbox("Version", list(named), key="export_version", format_func=named.__getitem__)
    titles = {name: form.title for name, form in FORMS.items()}
    name = right.selectbox("Format", list(titles), key="export_as", format_func=titles.__getitem__)
    st.query_params["version"] = str(number)
    return frozen[number], FORMS[name]


def _left_out(card: DatasetCard, form: Form) -> None:
    """How many pairs could not be written and why, as far as it is known before the videos are read."""
    with state.database().reading() as session:
        frozen = datasets.items(session, card.id)
    pairs = _light(frozen, form)
    kept, skipped = usable(pairs, None, tags_count=form.tags_count)
    n_train = sum(pair.split == "train" for pair in kept)
    st.caption(
        f"{len(kept):,} of {len(frozen):,} pairs can be written, {n_train:,} to train on. Each video is compared with "
        "its hash first."
    )
    if skipped:
        counts = Counter(one.reason for one in skipped)
        st.dataframe([{"pairs": n, "left out because": why} for why, n in counts.most_common()], hide_index=True)


def _light(frozen: Sequence[FrozenPair], form: Form) -> list[ExportPair]:
    """The pairs with what decides whether they can be written, and nothing that takes a query each."""
    there = cache(Path.is_file)
    return [form.checked(_pair(item, there(item.pair.video.path))) for item in frozen]


def _pair(item: FrozenPair, there: bool) -> ExportPair:
    p = item.pair
    rendered = (p.video.path, p.video.path) if item.plan_sha256 is not None else None
    return ExportPair(
        p.uid, p.video.path, p.video.sha256, p.prompt, p.chosen, p.rejected, p.kind, p.magnitude, p.difficulty,
        p.level, item.order, item.split, fault="" if there else GONE, clips=rendered,
    )  # fmt: skip


def _payload(card: DatasetCard, form: Form) -> ExportPayload:
    """The card of a set for the hub says under which licence it stands; only its publisher knows."""
    if form.name != "hub":
        return ExportPayload(card.id, form.name)
    left, right = st.columns([1, 3])
    licence = left.text_input("Licence of the set", "other", key="export_licence", max_chars=60,
                              help="As the hub spells it, such as cc-by-4.0")  # fmt: skip
    videos = right.text_input("Where the videos come from", key="export_videos_from", max_chars=1000,
                              placeholder="source and licence of the videos, for the card")  # fmt: skip
    return ExportPayload(card.id, form.name, None, licence.strip() or "other", videos.strip())


def _last() -> None:
    """What came of the newest export."""
    with state.database().reading() as session:
        last = jobs.latest(session, 1, kinds=("export",), states=("succeeded",))
    if last:
        _came_of(last[0])


def _came_of(job: Job) -> None:
    result = job.result or {}
    n, out = int(result.get("pairs", 0)), int(result.get("left_out", 0))
    st.success(f"Last export: {n:,} pairs written, {out:,} left out.", icon=":material/check_circle:")
    untrusted(str(result.get("folder", "")))
    reasons = result.get("reasons", {})
    if reasons:
        st.dataframe([{"pairs": n, "left out because": why} for why, n in reasons.items()], hide_index=True)


def _made(card: DatasetCard) -> None:
    with state.database().reading() as session:
        made = artifacts.listing(session, "export", dataset_version_id=card.id)
    for artifact in made:
        name = artifact.rel_path.rpartition("/")[2]
        st.link_button(f"Download {escaped(name)}", state.sign("exports", artifact.id), icon=":material/download:")
