"""A line of the table in docs/trust.md: what was done to the studio, what had to hold, and what was seen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measured line. `held` is decided by the code that measured, never by hand."""

    what: str
    """What was done, with its counts: "kill -9 of a writer, 100 rounds"."""
    target: str
    """As TRUST states it: "0 acknowledged lost"."""
    measured: str
    """The figures of this run: "0 of 9,412 lost"."""
    held: bool


def at_most(what: str, value: float, limit: float, unit: str = "", *, digits: int = 1) -> Row:
    """A figure with an upper limit."""
    return Row(what, f"<= {limit:g}{unit}", f"{value:.{digits}f}{unit}", value <= limit)


def none_of(what: str, bad: int, of: int, of_what: str) -> Row:
    """A count that has to be 0 among `of` things that were really tried; nothing tried does not hold."""
    return Row(what, f"0 of the {of_what}", f"{bad:,} of {of:,}", bad == 0 and of > 0)
