"""Settings: what reviewers are asked to do, why they may reject, their keys, and prompts of one's own."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from db import guidelines, settings
from db.guidelines import Guideline
from db.settings import MOST_REASONS
from tempo_core.errors import TempoError
from tempo_core.prompts import PROMPT_SETS
from tempo_core.worlds import vocabulary
from ui import own_keys, state, when
from ui.acting import of_address, telling
from ui.text import escaped, untrusted

EXAMPLE = """Accept a pair when the chosen response tells the events of the clean video in their order.

Reject it when
- the perturbed video looks the same, or both responses say the same
- the chosen response is wrong about what happens

Flag what you are not sure about: somebody else looks at it."""


def _may() -> bool:
    """Whether the person sets what holds for everybody; said where not."""
    if state.may("admin"):
        return True
    st.caption("These hold for everybody, so an admin changes them.")
    return False


def _written(store: Callable[[], object]) -> None:
    """Store what a button asked for and draw the page anew, or say why it cannot be."""
    with telling():
        store()
        st.session_state["settings_saved"] = True
        st.rerun()


def _last_changed(name: str) -> None:
    with state.database().reading() as session:
        last = settings.changed(session, name)
    if last is not None:
        st.caption(f"Last changed by {escaped(last.by)}, {escaped(when.told(last.at_ms))}.")


# ---- guidelines -----------------------------------------------------------------------------------------------------
def _guidelines() -> None:
    with state.database().reading() as session:
        texts, now, n_reviews = guidelines.versions(session), guidelines.current(session), guidelines.followed(session)
    st.caption("The desk shows them beside each pair (key G), and every review keeps which text it followed.")
    may = _may()
    if now is None:
        st.info("No guidelines yet. Write what to look for, when to reject and when to flag: two reviewers who read "
                "the same sentences agree more often.", icon=":material/menu_book:")  # fmt: skip
    text = st.text_area("Guidelines", now.text if now else "", height=280, placeholder=EXAMPLE, disabled=not may,
                        key=f"guidelines_{now.sha256[:12] if now else ''}")  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center"):
        save = st.button("Save as a new version", type="primary", icon=":material/save:", disabled=not may)
        if now is not None:
            _about(now, n_reviews)
    if save:
        _written(lambda: _store_guidelines(text))
    _earlier([old for old in texts if now is None or old.sha256 != now.sha256], n_reviews, may)


def _about(text: Guideline, n_reviews: dict[str, int]) -> None:
    n = n_reviews.get(text.sha256, 0)
    reviews = "review" if n == 1 else "reviews"
    by = f"Version {text.number:d}, by {escaped(text.by)}, {escaped(when.told(text.created_ms))}"
    st.caption(f"{by}. {n:,} {reviews} followed it.")


def _earlier(texts: list[Guideline], n_reviews: dict[str, int], may: bool) -> None:
    if not texts:
        return
    with st.expander(f"Earlier versions ({len(texts):,})", icon=":material/history:"):
        named = {text.sha256: f"version {text.number}, {when.told(text.created_ms)}" for text in texts}
        chosen = st.selectbox("Version", list(named), format_func=named.__getitem__, key="guidelines_earlier")
        old = next(text for text in texts if text.sha256 == chosen)
        _about(old, n_reviews)
        untrusted(old.text)
        if may and st.button("Let this one hold again", icon=":material/restore:"):
            _written(lambda: _store_guidelines(old.text))


def _store_guidelines(text: str) -> None:
    with state.database().session() as session:
        guidelines.write(session, state.person(), text)


# ---- reasons --------------------------------------------------------------------------------------------------------
def _reasons() -> None:
    with state.database().reading() as session:
        reasons = settings.reasons(session)
    st.caption("After a rejection the desk asks why, with the keys 1 to 9. Reviews keep the words they were given, "
               "so a change here rewrites nothing.")  # fmt: skip
    may = _may()
    stamp = hash(reasons)
    with st.form("reasons", border=False):
        # Row by row, so that the Tab key follows the numbers.
        places = [column for _ in range(3) for column in st.columns(3)]
        asked = [
            place.text_input(
                f"Key {i + 1:d}", reasons[i] if i < len(reasons) else "", key=f"reason{i}_{stamp}", disabled=not may,
                max_chars=settings.LONGEST_REASON, placeholder="none",
            )
            for i, place in enumerate(places[:MOST_REASONS])
        ]  # fmt: skip
        with st.container(horizontal=True):
            save = st.form_submit_button("Save reasons", type="primary", icon=":material/save:", disabled=not may)
            usual = st.form_submit_button("Defaults", icon=":material/restart_alt:", disabled=not may)
    _last_changed("reasons")
    if save or usual:
        _written(lambda: _store_reasons([] if usual else asked))


def _store_reasons(reasons: list[str]) -> None:
    with state.database().session() as session:
        settings.set_reasons(session, state.person(), reasons)


# ---- prompts --------------------------------------------------------------------------------------------------------
def _prompts() -> None:
    with state.database().reading() as session:
        phrasings = settings.phrasings(session)
    st.caption("How a model is asked for the whole video, when pairs are made. Each pair draws one of them and keeps "
               "the prompt it was asked with. Without own ones, the model's own set is used.")  # fmt: skip
    may = _may()
    text = st.text_area("Prompts, one a line", "\n".join(phrasings), height=190, disabled=not may,
                        placeholder="\n".join(PROMPT_SETS["general"].describe[:3]),
                        key=f"phrasings_{hash(phrasings)}")  # fmt: skip
    _checked(text)
    with st.container(horizontal=True):
        save = st.button("Save prompts", type="primary", icon=":material/save:", disabled=not may)
        usual = st.button("The models' own", icon=":material/restart_alt:", disabled=not (may and phrasings))
    _last_changed("phrasings")
    if save or usual:
        _written(lambda: _store_phrasings("" if usual else text))
    with st.expander("What the models' own sets ask", icon=":material/list:"):
        for name, prompts in PROMPT_SETS.items():
            st.caption(f"Set {escaped(name)}")
            untrusted("\n".join(prompts.describe))


def _checked(text: str) -> None:
    """Each prompt with what the embedded model makes of it; the drawn world has a vocabulary of its own."""
    try:
        asked = settings.checked_phrasings(text.splitlines())
    except TempoError as error:
        st.error(escaped(str(error), longest=400), icon=":material/error:")
        return
    unknown = [vocabulary.unknown(prompt) for prompt in asked]
    if not asked:
        return
    if any(unknown):
        n = sum(bool(words) for words in unknown)
        st.warning(f"{n:,} of {len(asked):,} cannot be read by the embedded model, which knows "
                   f"{len(vocabulary.WORDS):,} words: it would refuse them. Other models read any text.",
                   icon=":material/warning:")  # fmt: skip
    st.dataframe(
        [{"prompt": prompt, "characters": len(prompt), "embedded model": ", ".join(words) or "reads it"}
         for prompt, words in zip(asked, unknown, strict=True)],
        hide_index=True,
        column_config={"embedded model": st.column_config.TextColumn("embedded model does not know", width="medium")},
    )  # fmt: skip


def _store_phrasings(text: str) -> None:
    with state.database().session() as session:
        settings.set_phrasings(session, state.person(), text.splitlines())


TABS: dict[str, Callable[[], None]] = {
    "Guidelines": _guidelines,
    "Reasons": _reasons,
    "Keys": own_keys.show,
    "Prompts": _prompts,
}


def main() -> None:
    st.title("Settings")
    st.caption("What a group agrees on, and your own keys.")
    of_address("tab", list(TABS))
    tab = st.segmented_control("Settings of", list(TABS), key="tab", required=True, label_visibility="collapsed")
    if st.session_state.pop("settings_saved", False):
        st.success("Saved.", icon=":material/check:")
    TABS[tab or "Guidelines"]()


main()
