"""The table of keys on the settings page: a field per act that takes the key which is pressed in it.

The browser holds what is not saved yet and sends it whole; Python says which keys clash. `revision` counts what Python
sets (saved, reset): a higher one replaces what the browser holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from db import settings
from tempo_core.errors import BadSettings
from ui import desk_keys, state
from ui.acting import telling
from ui.text import escaped

_HERE = Path(__file__).parent
_NOTHING: dict[str, Any] = {"revision": -1, "keys": {}}
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Decide": ("accept", "reject", "swap", "edit", "editRejected", "flag", "skip", "undo", "comment", "back"),
    "Play": ("play", "stepBack", "stepOn", "clipBack", "clipOn", "slower", "faster", "loop", "lock"),
    "Look": (),
}
"""Acts by what they are for; those that no group names stand in the last."""

_component = st.components.v2.component(
    "tempo_keys",
    html='<div class="mount"></div>',
    css=(_HERE / "own_keys.css").read_text(encoding="utf-8"),
    js=(_HERE / "own_keys.js").read_text(encoding="utf-8"),
)


def show() -> None:
    """The keys of the person who looks, with the ways to save them and to leave them."""
    person = state.person()
    with state.database().reading() as session:
        stored = desk_keys.merged(settings.keys(session, person))
    if "keys_draft" not in st.session_state:
        _replace(stored)
    draft: dict[str, str] = st.session_state["keys_draft"]
    wrong = _wrong(draft)
    st.caption("Click a field and press the key. Backspace leaves the act without one: its button stays.")
    _acts(draft, stored, wrong)
    _component(key="keys", data=_data(draft, wrong), default={"keys": _NOTHING}, on_keys_change=_take)
    if st.session_state.pop("keys_saved", False):
        st.success("Saved. The desk uses them from its next pair on.", icon=":material/check:")


def _acts(draft: Mapping[str, str], stored: Mapping[str, str], wrong: Mapping[str, str]) -> None:
    letters = {act: "" for act, key in draft.items() if is_letter(key)}
    with st.container(horizontal=True, vertical_alignment="center"):
        save = st.button("Save keys", type="primary", icon=":material/save:", disabled=bool(wrong) or draft == stored)
        off = st.button("Letters off", disabled=not letters, icon=":material/keyboard_off:",
                        help="No act is on a single letter: for speech input, and for hands that rest on the keys. "
                             "Digits and arrows stay.")  # fmt: skip
        reset = st.button("Defaults", icon=":material/restart_alt:", disabled=dict(draft) == dict(desk_keys.DEFAULTS))
        if wrong:
            st.badge(f"{len(wrong):,} to mend", icon=":material/warning:", color="orange")
        elif dict(draft) != dict(stored):
            st.badge("not saved yet", icon=":material/edit:", color="blue")
    for reason in dict.fromkeys(wrong.values()):
        st.warning(escaped(reason, longest=400), icon=":material/warning:")
    if off or reset:
        _replace({**draft, **letters} if off else dict(desk_keys.DEFAULTS))
        st.rerun()
    if save:
        _save(draft)


def _save(draft: Mapping[str, str]) -> None:
    with telling():
        with state.database().session() as session:
            settings.set_keys(session, state.person(), draft, defaults=desk_keys.DEFAULTS)
        st.session_state["keys_saved"] = True
        _replace(dict(draft))
        st.rerun()


def is_letter(key: str) -> bool:
    """Whether a key is a letter or sign alone: what speech input and stray fingers press."""
    bare = key.removeprefix("Shift+")
    return len(bare) == 1 and bare != " "


def _replace(keys: Mapping[str, str]) -> None:
    st.session_state["keys_draft"] = dict(keys)
    st.session_state["keys_revision"] = st.session_state.get("keys_revision", 0) + 1


def _take() -> None:
    """What the browser holds now, as far as it has the right shape: it is input like any other."""
    sent = st.session_state["keys"].get("keys") or _NOTHING
    if sent.get("revision") != st.session_state.get("keys_revision") or not isinstance(sent.get("keys"), Mapping):
        return
    keys = {act: str(key)[:40] for act, key in sent["keys"].items() if act in desk_keys.DEFAULTS}
    st.session_state["keys_draft"] = {**st.session_state.get("keys_draft", desk_keys.DEFAULTS), **keys}


def _wrong(draft: Mapping[str, str]) -> dict[str, str]:
    """Why a key cannot be, by act."""
    told: dict[str, str] = {}
    for act, key in draft.items():
        try:
            settings.spelling(key)
        except BadSettings as error:
            told[act] = str(error)
    for key, acts in settings.conflicts(draft).items():
        words = " and ".join(f'"{desk_keys.WORDS[act].partition(";")[0]}"' for act in acts)
        told |= {act: f"{desk_keys.shown(key)} is on {words}. Give one of them another key." for act in acts}
    return told


def _data(draft: Mapping[str, str], wrong: Mapping[str, str]) -> dict[str, Any]:
    named = {act for acts in GROUPS.values() for act in acts}
    rest = tuple(act for act in desk_keys.DEFAULTS if act not in named)
    groups = [
        {
            "name": name,
            "acts": [
                {"act": act, "words": desk_keys.WORDS[act], "key": draft[act], "shown": desk_keys.shown(draft[act]),
                 "usual": desk_keys.shown(desk_keys.DEFAULTS[act]), "own": draft[act] != desk_keys.DEFAULTS[act],
                 "wrong": wrong.get(act, "")}
                for act in (acts or rest)
            ],
        }
        for name, acts in GROUPS.items()
    ]  # fmt: skip
    return {"revision": st.session_state["keys_revision"], "groups": groups}
