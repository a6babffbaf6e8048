"""What probes say of a trained model, judged: fine, a warning (amber) or a fault (red), with the way out in words.

The one thing to know: the limits are our choice and stand in the text of every finding, so that nobody has to believe
a colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from tempo_core import statistics
from tempo_core.types import ItemScore

Level = Literal["fine", "amber", "red"]

SEEN = 0.95
"""More than this share of answers must move with other pictures."""
FALL, UNPARSED, LONGER = -0.02, 0.02, 3.0
"""Short answers: the lower bound of the difference, more unparsed answers, and times the median length."""

_REMEDY = "Train SFT on ordinary short answers after DPO (recipe dpo_sft, or more of its steps)."


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    text: str


def short_answers(before: Sequence[ItemScore], after: Sequence[ItemScore], seed: int = 0) -> Finding:
    """Whether answers to the same short questions got worse, fell out of form, or grew long.

    Raises:
        TooFew: All questions are about one video.
        ValueError: They are not the same questions in the same order.
    """
    if [item.item for item in before] != [item.item for item in after]:
        raise ValueError("Short answers are compared question by question.")
    values = [[item.correct or 0.0 for item in items] for items in (before, after)]
    change = statistics.paired_bootstrap(values[0], values[1], [item.group for item in before], seed)
    unparsed = [sum(item.correct is None for item in items) / len(items) for items in (before, after)]
    words = [float(median(len(item.response.split()) for item in items)) for items in (before, after)]
    told = (
        f"short answers {100 * change.difference:+.1f} points [{100 * change.low:+.1f}, {100 * change.high:+.1f}] on "
        f"{len(before)} questions; unparsed {unparsed[0]:.1%} to {unparsed[1]:.1%}; median length {words[0]:g} to "
        f"{words[1]:g} words"
    )
    if change.high < 0:
        return Finding("red", f"{told}. They got worse. {_REMEDY}")
    reasons = [
        (
            change.low < FALL,
            f"a loss of more than {-100 * FALL:g} points is not ruled out (more held-out videos would tell)",
        ),
        (unparsed[1] - unparsed[0] >= UNPARSED, f"{100 * UNPARSED:g} points more are unparsed"),
        (words[1] >= LONGER * max(words[0], 1.0), f"they are {LONGER:g} times as long"),
    ]
    found = [text for here, text in reasons if here]
    if found:
        return Finding("amber", f"{told}. Take care: {', and '.join(found)}. {_REMEDY}")
    return Finding("fine", f"{told}. No sign of a loss.")


def canary(shares: dict[str, float]) -> Finding:
    """Whether the model sees the video.

    Args:
        shares: For other pictures of each kind the share of answers whose likelihood moved, 0..1.
    """
    told = ", ".join(f"{share:.0%} with {name.replace('_', ' ')}" for name, share in shares.items())
    if min(shares.values()) > SEEN:
        return Finding("fine", f"answers move with the pictures: {told} (more than {SEEN:.0%} must).")
    return Finding(
        "red",
        f"This model does not see the video: of its answers move only {told}, and more than {SEEN:.0%} must. Check "
        "that the processor and the weights belong together, and trust no other figure of this model until they do.",
    )
