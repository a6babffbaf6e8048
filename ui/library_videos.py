"""The videos of the library: a filter that stands in the address, pages by key, bulk acts, and one video's card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from db import recounts, timelines, videos, withdrawals
from db.people import ROLES
from db.timelines import StoredTimeline
from db.videos import FunnelStep, VideoCard, VideoDetails
from jobs.payloads import JudgePayload
from ui import library_rules, rules, state, tables
from ui.acting import asked_id, of_address, queue, telling
from ui.text import escaped
from ui.watch import watch

PAGE = 50
CAUSES = {"licence": "licence", "privacy": "privacy", "other": "another reason"}
STATUS_WORDS = {"corrupt": "refused", "missing": "missing", "quarantine": "withdrawn"}


def show(steps: Sequence[FunnelStep]) -> None:
    """Filter, table, bulk bar, and the card of the chosen video."""
    which, wanted = _filter(steps)
    picked = _table(which, wanted)
    _bulk(wanted, picked)
    if len(picked) == 1:
        st.query_params["video"] = str(picked[0].id)
    asked = asked_id("video")
    if asked is not None and len(picked) < 2:
        card(asked)
    elif not picked:
        st.caption("Choose a row to see its shots and what every rule measured; choose several to act on all of them.")


# ---- the filter ------------------------------------------------------------------------------------------------------
def _filter(steps: Sequence[FunnelStep]) -> tuple[str, dict[str, Any]]:
    """All, kept, or those that fell at one rule; a library; a name. All of it stands in the address."""
    names = {"all": f"all {steps[0].remaining:,}", "kept": f"kept {steps[-1].remaining:,}"}
    names |= {s.code: f"{rules.LEFT_OUT.get(s.code, s.code)} {s.left_out:,}" for s in steps if s.left_out}
    of_address("show", list(names))
    shown = st.pills(
        "Show", list(names), required=True, format_func=lambda code: escaped(names[code]), key="show",
        on_change=tables.first_page, args=("videos",), label_visibility="collapsed",
    ) or "all"  # fmt: skip
    library_id, search = _library_and_name()
    by_status = {videos.UNREADABLE: "corrupt", "missing": "missing"}
    wanted: dict[str, Any] = {"library_id": library_id, "search": search}
    if shown == "kept":
        wanted["kept"] = True
    elif shown in by_status:
        wanted["status"] = by_status[shown]
    elif shown != "all":
        wanted["rule"] = shown
    return f"{shown}_{library_id}_{search}", wanted


def _library_and_name() -> tuple[int | None, str]:
    with state.database().reading() as session:
        known = videos.libraries(session)
    names = {"all": "all folders"} | {str(id_): f"{name} ({root})" for id_, name, root in known}
    left, right = st.columns(2)
    of_address("library", list(names))
    picked = left.selectbox("Folder", list(names), format_func=names.__getitem__, key="library",
                            on_change=tables.first_page, args=("videos",))  # fmt: skip
    if "name" not in st.session_state:
        st.session_state["name"] = st.query_params.get("name", "")[:200]
    search = right.text_input("Name contains", key="name", on_change=tables.first_page, args=("videos",)).strip()
    if search:
        st.query_params["name"] = search
    else:
        st.query_params.pop("name", None)
    return None if picked in (None, "all") else int(picked), search


def _table(which: str, wanted: Mapping[str, Any]) -> list[VideoCard]:
    """One page of videos; those that were chosen."""
    start = tables.after("videos") or 0
    with state.database().reading() as session:
        found = videos.listing(session, after_id=start, limit=PAGE + 1, **wanted)
    more, found = len(found) > PAGE, found[:PAGE]
    if not found:
        st.info("No video is in this filter. Choose **all**, another folder, or another name.",
                icon=":material/filter_alt_off:")  # fmt: skip
        return []
    number = st.column_config.NumberColumn
    settings = {
        "why": st.column_config.TextColumn(width="large"), "video": st.column_config.TextColumn(width="medium"),
        "seconds": number(format="%.1f"),
    }  # fmt: skip
    picked = st.dataframe(
        [_row(line) for line in found], hide_index=True, on_select="rerun", selection_mode="multi-row",
        key=f"videos_{which}_{start}", column_config=settings,
    )  # fmt: skip
    tables.turn("videos", found[-1].id if more else None)
    return [found[i] for i in picked["selection"]["rows"] if i < len(found)]


def _row(line: VideoCard) -> dict[str, object]:
    verdict, why = verdict_of(line)
    return {
        "video": line.name, "verdict": verdict, "why": why, "seconds": line.duration_s, "shots": line.n_shots,
        "clips": line.n_clips, "groups": line.n_groups, "pairs": line.n_pairs,
    }  # fmt: skip


def verdict_of(line: VideoCard) -> tuple[str, str]:
    """What became of a video, and which rule with which value said so."""
    if line.status == "quarantine" and line.reason == withdrawals.REASON:
        return "withdrawn", line.message or ""
    if line.status != "ok":
        return STATUS_WORDS.get(line.status, line.status), f"{line.reason}: {line.message}"
    if line.left_out_by:
        return "left out", rules.told(line.left_out_by, line.left_out_value, line.limit)
    return ("kept", "") if line.timeline_id else ("not judged", "Judge it again.")


# ---- acts on several -------------------------------------------------------------------------------------------------
def _bulk(wanted: Mapping[str, Any], picked: Sequence[VideoCard]) -> None:
    """Judge again, withdraw, give back: the chosen ones, or all of the filter."""
    if state.person().role != ROLES[-1]:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        _judge(wanted, picked)
        if picked:
            _withdraw(picked)


def _judge(wanted: Mapping[str, Any], picked: Sequence[VideoCard]) -> None:
    with state.database().reading() as session:
        ids = [line.id for line in picked] or videos.matching(session, **wanted)
        limits = library_rules.chosen(recounts.thresholds_now(session))
    which = f"the {len(ids):,} chosen" if picked else f"all {len(ids):,} of this filter"
    if st.button(f"Judge {which} again", icon=":material/gavel:", disabled=not ids, key="judge_some",
                 help="Under the limits of the Rules view. Nothing is decoded, and no pair is lost."):  # fmt: skip
        queue(JudgePayload(library_rules.differing(limits), tuple(ids)))


def _withdraw(picked: Sequence[VideoCard]) -> None:
    gone = [line for line in picked if line.reason == withdrawals.REASON]
    here = [line for line in picked if line.reason != withdrawals.REASON]
    if here:
        with st.popover(f"Withdraw {len(here):,}", icon=":material/block:"):
            withdraw_form([line.id for line in here], "bulk")
    if gone and st.button(f"Give {len(gone):,} back", icon=":material/undo:", key="give_back_bulk"):
        _give_back([line.id for line in gone])


def withdraw_form(video_ids: Sequence[int], key: str, words: str = "", cause: str = "licence") -> None:
    """Why, what it touches, and the button."""
    with state.database().reading() as session:
        reached = [withdrawals.reach(session, video_id) for video_id in video_ids]
    n_pairs, n_accepted = sum(r.n_pairs for r in reached), sum(r.n_accepted for r in reached)
    most_versions, most_runs = max(r.n_versions for r in reached), max(r.n_runs for r in reached)
    st.markdown(
        f"{n_pairs:,} pairs ({n_accepted:,} accepted) leave every queue and every next version. Up to "
        f"{most_versions:,} frozen versions stay as they are, and up to {most_runs:,} runs will say so. "
        "The files are not touched, and everything can be given back."
    )
    with st.form(f"withdraw_{key}", border=False):
        because = st.radio("Because of", list(CAUSES), index=list(CAUSES).index(cause), horizontal=True,
                           format_func=CAUSES.__getitem__, key=f"cause_{key}")  # fmt: skip
        why = st.text_input("Why", value=words, max_chars=withdrawals.LONGEST_WHY, key=f"why_{key}",
                            placeholder="The owner asked for it on 3 May")  # fmt: skip
        if st.form_submit_button(f"Withdraw {len(video_ids):,}", type="primary"):
            done = False
            with telling(), state.database().session() as session:
                for video_id in video_ids:
                    videos.withdraw(session, state.person(), video_id, why, cause=because or cause)
                done = True
            if done:
                st.rerun()


def _give_back(video_ids: Sequence[int]) -> None:
    done = False
    with telling(), state.database().session() as session:
        for video_id in video_ids:
            videos.give_back(session, state.person(), video_id)
        done = True
    if done:
        st.rerun()


# ---- one video -------------------------------------------------------------------------------------------------------
def card(video_id: int) -> None:
    """One video: its shots and clips, the rule that refused it, every value, its file, its pairs."""
    with telling():
        with state.database().reading() as session:
            line, stored = videos.get(session, video_id), timelines.current(session, video_id)
            file, told = videos.details(session, video_id), withdrawals.history(session, video_id)
            size = line.width, line.height
        st.divider()
        with st.container(key="video_card"):
            left, right = st.columns([3, 2], gap="large")
        with left:
            st.subheader(escaped(line.name))
            _verdict(line)
            usable = line.status == "ok" and any(path.is_file() for path in file.places)
            watch(video_id, stored, f"watch{video_id}", usable=usable,
                  told="" if usable else "Only a usable video whose file is there is played.")  # fmt: skip
            if stored is not None:
                _clips(stored)
        with right:
            _file(file, size, line)
            _pairs(line)
            _withdrawn(line, told)
        if stored is not None:
            _rules(stored)


def _verdict(line: VideoCard) -> None:
    verdict, why = verdict_of(line)
    if verdict == "kept":
        st.badge("kept", icon=":material/check_circle:", color="green")
    elif verdict == "left out":
        st.badge("left out", icon=":material/filter_alt:", color="orange")
        st.markdown(
            f"**{escaped(rules.LEFT_OUT.get(line.left_out_by or '', line.left_out_by or ''))}**: {escaped(why)}"
        )
    else:
        st.badge(escaped(verdict), icon=":material/block:", color="red")
        st.text(why)


def _clips(stored: StoredTimeline) -> None:
    dropped = sum(shot.dropped_by is not None for shot in stored.shots)
    lost = f"; {dropped:,} shots too short or blank are dropped (dashed)" if dropped else ""
    st.caption(
        f"{stored.n_shots:,} shots in {stored.n_groups:,} groups of look-alikes make {stored.n_clips:,} clips{lost}. "
        "One colour and letter = one group. Click a shot or a clip to go there."
    )


def _file(file: VideoDetails, size: tuple[int | None, int | None], line: VideoCard) -> None:
    st.markdown("**File**")
    facts = [
        ("size", "" if file.size_bytes is None else _bytes(file.size_bytes)),
        ("picture", f"{size[0]} x {size[1]}" if size[0] else ""),
        (
            "rate",
            "" if file.fps is None else f"{float(file.fps):.3f} fps" + ("" if file.constant_rate else ", variable"),
        ),
        ("length", "" if line.duration_s is None else f"{line.duration_s:.2f} s, {line.n_frames:,} frames"),
        (
            "codec",
            " ".join(
                part
                for part in (file.codec, file.pix_fmt, (file.container or "").split(",")[0], "HDR" if file.hdr else "")
                if part
            ),
        ),
        ("player", "" if file.playable is None else "plays as it is" if file.playable else "plays a copy"),
        ("sha256", (line.sha256 or "")[:16]),
    ]
    if any(value for _, value in facts):
        st.code("\n".join(f"{name:8} {value}" for name, value in facts if value), language=None, wrap_lines=True)
    for path in file.places:
        st.code(str(path), language=None, wrap_lines=True)
        if not path.is_file():
            st.caption(":material/error: The file is not there. See **Folders** above.")
    if not file.places:
        st.caption(":material/error: No place is known. Scan the folder that holds it, or relink under **Folders**.")


def _bytes(n: int) -> str:
    for unit in ("B", "KB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000  # type: ignore[assignment]
    return f"{n:.3g} GB"


def _pairs(line: VideoCard) -> None:
    if line.n_pairs:
        st.page_link("pages/pairs.py", label=f"{line.n_pairs:,} pairs made from it", icon=":material/table_rows:",
                     query_params=_of_video(line))  # fmt: skip
    else:
        st.caption("No pair was made from it yet.")


def _of_video(line: VideoCard) -> dict[str, str]:
    """The filter of the pairs page; it leaves pairs of withdrawn videos out unless it is asked for them."""
    gone = {"withdrawn": "too"} if line.reason == withdrawals.REASON else {}
    return {"video_id": str(line.id)} | gone


def _withdrawn(line: VideoCard, told: Sequence[withdrawals.Withdrawal]) -> None:
    admin = state.person().role == ROLES[-1]
    for past in told:
        back = f", given back by {past.given_back_by}" if past.given_back_by else ""
        st.text(f"Withdrawn by {past.by} ({past.cause}: {past.why}){back}")
    if not admin:
        return
    if line.reason == withdrawals.REASON:
        if st.button("Give back", icon=":material/undo:", key="give_back"):
            _give_back([line.id])
    else:
        with st.popover("Withdraw", icon=":material/block:", help="Licence, privacy: take it out of what comes next"):
            withdraw_form([line.id], "one")


def _rules(stored: StoredTimeline) -> None:
    """Every rule with its value; the first that failed is the one that refused the video."""
    number = st.column_config.NumberColumn(format="%.2f")
    rows = [
        {
            "rule": rules.RULES.get(rule.code, rule.code), "passed": rule.passed, "value": rule.value,
            "limit": rule.limit, "": "refused the video" if rule.code == stored.left_out_by else "",
        }
        for rule in stored.rules
    ]  # fmt: skip
    st.dataframe(rows, hide_index=True, column_config={"value": number, "limit": number})
