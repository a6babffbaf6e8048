"""The rules of temporal richness in words, and their sliders. Codes and order are those of `tempo_core.timeline`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tempo_core.errors import BadThresholds

RULES: Mapping[str, str] = {
    "found": "files found",
    "withdrawn": "not withdrawn",
    "missing": "file is there",
    "unreadable": "could be read",
    "too_few_shots": "enough shots",
    "too_many_shots": "not too many shots",
    "shot_too_long": "no shot too long",
    "too_few_clips": "enough clips",
    "group_dominates": "no look-alike group dominates",
}

LEFT_OUT: Mapping[str, str] = {
    "withdrawn": "withdrawn",
    "missing": "file missing",
    "unreadable": "not readable",
    "too_few_shots": "too few shots",
    "too_many_shots": "too many shots",
    "shot_too_long": "a shot too long",
    "too_few_clips": "too few clips",
    "group_dominates": "one group dominates",
}
"""What fell at a rule, in a few words."""

_FAILED: Mapping[str, str] = {
    "too_few_shots": "{value} shots, at least {limit} are needed",
    "too_many_shots": "{value} shots, at most {limit} are taken",
    "shot_too_long": "the longest shot lasts {value} s, at most {limit} s are allowed",
    "too_few_clips": "{value} clips, at least {limit} are needed",
    "group_dominates": "one group of look-alike shots owns {value} clips, at most {limit} are allowed",
}

Slider = tuple[str, str, float | int, float | int, float | int, float | int, str]

SLIDERS: Sequence[Slider] = (
    ("min_shots", "Fewest shots", 1, 12, 4, 1, "Paper: 4"),
    ("max_shots", "Most shots", 4, 64, 32, 1, "Paper: 32"),
    ("max_shot_s", "Longest shot, s", 1.0, 60.0, 16.0, 1.0, "Paper: 16 s"),
    ("min_shot_s", "Shortest shot, s", 0.0, 2.0, 0.2, 0.1, "Shorter shots are dropped. Paper: 0.2 s"),
    ("likeness", "Likeness", 0.5, 0.99, 0.85, 0.01, "Neighbouring shots more alike than this are one clip"),
    ("min_clips", "Fewest clips", 2, 12, 4, 1, "Paper: 4"),
    ("max_group_clips", "Most clips of one group", 1, 8, 3, 1, "Paper: 3, and no more than a third of the clips"),
    ("blank_contrast", "Blank below contrast", 0, 60, 10, 1, "Shots whose grey values span less are dropped"),
)


SHAPES = ("min_shot_s", "blank_contrast", "likeness")
"""Sliders that change which shots and clips there are, not only which count is too low or too high."""


def told(code: str, value: float | None, limit: float | None) -> str:
    """Why a rule left a video out, with the value and the limit."""
    words = _FAILED.get(code, code + ": {value} (limit {limit})")
    said = words.format(value=_number(value), limit=_number(limit))
    return said.replace("1 shots", "1 shot").replace("1 clips", "1 clip") if value == 1 else said


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:g}"


def check(chosen: Mapping[str, float]) -> None:
    """Refuse limits that no video could pass."""
    low, high = chosen["min_shots"], chosen["max_shots"]
    if low > high:
        raise BadThresholds(
            f"Fewest shots is {low:g} and most shots is {high:g}: no video could pass. Lower the first or raise the "
            "second."
        )


def letter(group: int) -> str:
    """A, B .. Z, AA ..: the second cue beside a group's colour."""
    return chr(65 + group) if group < 26 else letter(group // 26 - 1) + letter(group % 26)
