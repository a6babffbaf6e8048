"""The keys of the review desk, in one place: act -> key as JavaScript's `event.key` spells it.

Letters are lower case; what is held comes before, in the order Control, Alt, Shift ("Shift+e", "Control+k"). Signs that
need Shift anyway are written alone ("?"), "" is no key. A reviewer's own keys are kept as what differs from `DEFAULTS`.
"""

from __future__ import annotations

from collections.abc import Mapping

DEFAULTS: Mapping[str, str] = {
    "accept": "a",
    "reject": "r",
    "swap": "s",
    "edit": "e",
    "editRejected": "Shift+e",
    "flag": "f",
    "skip": "n",
    "undo": "u",
    "play": " ",
    "stepBack": "ArrowLeft",
    "stepOn": "ArrowRight",
    "clipBack": "Shift+ArrowLeft",
    "clipOn": "Shift+ArrowRight",
    "slower": "[",
    "faster": "]",
    "loop": "l",
    "lock": "m",
    "diff": "d",
    "frames": "v",
    "guidelines": "g",
    "comment": "c",
    "back": "b",
    "palette": "Control+k",
    "help": "?",
}

WORDS: Mapping[str, str] = {
    "accept": "accept",
    "reject": "reject; then 1-9 says why",
    "swap": "swap sides and accept",
    "edit": "edit chosen",
    "editRejected": "edit rejected",
    "flag": "flag for a second opinion",
    "skip": "skip, decide later",
    "undo": "undo, any depth (Ctrl + Z too)",
    "play": "play / pause both",
    "stepBack": "one frame back",
    "stepOn": "one frame on",
    "clipBack": "previous clip",
    "clipOn": "next clip",
    "slower": "slower",
    "faster": "faster",
    "loop": "loop this clip on both sides",
    "lock": "lock by time / by content",
    "diff": "differences: order / words / off",
    "frames": "frames the model saw",
    "guidelines": "guidelines",
    "comment": "comments",
    "back": "look at earlier pairs",
    "palette": "find a page, a pair or an act",
    "help": "all keys",
}
"""What each act does, for the help of the desk and for the settings."""

BLIND_ACTS = ("skip", "undo", "play", "stepBack", "stepOn", "slower", "faster", "guidelines", "palette", "help")
"""The acts of a blind desk; 1, 2 and 0 give the answer there."""

_SHOWN = {" ": "Space", "ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓", "Control": "Ctrl"}


def merged(own: Mapping[str, str]) -> dict[str, str]:
    """The keys of one reviewer: the defaults with what this reviewer changed. Acts that are gone are left out."""
    return {act: own.get(act, key) for act, key in DEFAULTS.items()}


def shown(key: str) -> str:
    """A key as a person reads it: "Shift+ArrowLeft" -> "Shift + ←"."""
    parts = key.split("+") if len(key) > 1 and not key.endswith("++") else [key]
    if key.endswith("++"):
        parts = [*key[:-2].split("+"), "+"]
    return " + ".join(_SHOWN.get(part, part.upper() if len(part) == 1 else part) for part in parts)
