"""Which figures the comparison of held-out pairs gives."""

from dataclasses import dataclass

from tempo_core.benchmarks.held_out_preference import HeldOutPreference
from tempo_core.types import ItemScore


@dataclass(frozen=True)
class Levelled:
    """What the figures read of a pair."""

    level: int | None


def test_a_level_that_only_one_video_has_is_left_out_and_the_other_figures_stand():
    pairs = [Levelled(1), Levelled(1), Levelled(2), Levelled(None)]
    items = [ItemScore(str(i), group, 1.0) for i, group in enumerate(("dog", "cat", "dog", "cat"))]
    found = HeldOutPreference()._scores(pairs, items, items, items, seed=0)
    whole = ["accuracy", "accuracy_per_token", "longer_wins"]
    assert [score.metric for score in found] == [*whole, "l1/accuracy_per_token"]
