"""Which figures the comparison of held-out pairs gives."""

from dataclasses import dataclass

from tempo_core.benchmarks.held_out_preference import HeldOutPreference
from tempo_core.types import ItemScore


@dataclass(frozen=True)
class Video:
    sha256: str
    path: str = ""


@dataclass(frozen=True)
class Levelled:
    """What the figures read of a pair."""

    level: int | None
    video: Video
    chosen: str = "as long as"
    rejected: str = "the other!"
    uid: str = ""
    prompt: str = ""


def test_a_level_that_only_one_video_has_is_left_out_and_the_other_figures_stand():
    animals = ("dog", "cat", "dog", "cat")
    pairs = [Levelled(level, Video(name)) for level, name in zip((1, 1, 2, None), animals, strict=True)]
    items = [ItemScore(str(i), name, 1.0) for i, name in enumerate(animals)]
    found = HeldOutPreference()._scores(pairs, items, items, seed=0)
    whole = ["accuracy", "accuracy_per_token", "longer_wins", "shorter_wins"]
    matched = [f"length_matched/{name}" for name in whole]
    assert [score.metric for score in found] == [*whole, *matched, "l1/accuracy_per_token"]
