"""The colours that carry meaning, once for light and once for dark.

Colour is never the only cue: difficulty also has a four-bar meter and a word, clips have their number, diffs have
underlines. Difficulty colours were chosen for contrast and for the three kinds of colour blindness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEVEL_WORDS: Mapping[int, str] = {1: "easy", 2: "medium", 3: "hard", 4: "hardest"}
"""Difficulty levels, 1 (easiest) .. 4 (hardest)."""

LEVEL_DASHES: Mapping[int, str] = {1: "solid", 2: "dash", 3: "dot", 4: "dashdot"}
"""Plotly line patterns: the second cue in charts."""

CLIP_RAMP: Sequence[str] = ("#442d7a", "#40538b", "#32758e", "#26968b", "#3fb676", "#87cf4e", "#deda28")
"""First clip to last clip of the clean video, light enough apart to read as an order in grey too."""


@dataclass(frozen=True, slots=True)
class Palette:
    """One theme's colours."""

    levels: Mapping[int, str]
    accept: str
    reject: str
    warn: str


LIGHT = Palette(
    levels={1: "#19927f", 2: "#2b62b8", 3: "#b86b00", 4: "#6d1346"},
    accept="#1b7f5c",
    reject="#b3402a",
    warn="#946200",
)
DARK = Palette(
    levels={1: "#8df0d0", 2: "#4f9bff", 3: "#ffcf5c", 4: "#ff5f8f"},
    accept="#5fd3a5",
    reject="#ff9a85",
    warn="#f2c45a",
)


def palette(theme: str | None) -> Palette:
    """The colours for Streamlit's theme type ("light", "dark" or not known yet)."""
    return DARK if theme == "dark" else LIGHT


def level_word(level: int | None) -> str:
    """ "easy" .. "hardest", or "imported" for a pair without a plan."""
    return "imported" if level is None else LEVEL_WORDS[level]


def clip_colour(index: int, n_clips: int) -> str:
    """The colour of a clip of the clean video, interpolated on the ramp."""
    place = (index / (n_clips - 1) if n_clips > 1 else 0.0) * (len(CLIP_RAMP) - 1)
    low = min(int(place), len(CLIP_RAMP) - 2)
    share = place - low
    mixed = [round(a + (b - a) * share) for a, b in zip(_rgb(CLIP_RAMP[low]), _rgb(CLIP_RAMP[low + 1]), strict=True)]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def text_on(colour: str) -> str:
    """White or nearly black, whichever can be read on this colour."""
    red, green, blue = _rgb(colour)
    return "#ffffff" if (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255 < 0.45 else "#111111"


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
