"""What a person is told of the levels before anything is frozen."""

from tempo_core.level_checks import held_out_warning, level_counts, level_warnings
from tempo_core.types import PairRef


def refs(level, n, kind="shuffle", videos=10, longer=0.5, start=0):
    return [
        PairRef(start + i, f"v{i % videos}", kind if i % 2 else "reverse", level, 0.5, 4, 9 if i < longer * n else 5, 7)
        for i in range(n)
    ]


def told(pairs):
    return "\n".join(level_warnings(level_counts(pairs)))


def whole(**changes):
    return [pair for level in (1, 2, 3, 4) for pair in refs(level, 40, start=100 * level, **changes)]


def test_levels_with_enough_of_everything_are_not_warned_of():
    assert told(whole()) == ""
    counts = level_counts(whole())
    assert [(c.level, c.n_pairs, c.n_videos, c.n_of_one_video) for c in counts] == [
        (n, 40, 10, 4) for n in (1, 2, 3, 4)
    ]
    assert counts[0].kinds == {"reverse": 20, "shuffle": 20}


def test_an_empty_level_and_one_of_few_videos_are_named():
    said = told([pair for pair in whole(videos=4) if pair.level != 2])
    assert "l2 holds no pair" in said and "l1 has pairs of 4 videos only" in said
    assert "of 1 video only" in told(whole(videos=1))


def test_a_level_of_one_kind_is_named_with_its_share():
    assert "l1 is 100% reverse" in told(whole(kind="reverse"))


def test_lengths_that_tell_the_answer_are_named_on_either_side_and_never_from_a_handful():
    assert "the longer answer is the chosen one in 90%" in told(whole(longer=0.9))
    assert "the shorter answer is the chosen one in 100%" in told(whole(longer=0))
    assert "answer is the chosen one" not in told(whole(longer=0.8))
    assert "answer is the chosen one" not in told([p for level in (1, 2, 3, 4) for p in refs(level, 19, longer=1)])


def test_imported_pairs_are_counted_as_a_level_of_their_own():
    assert [count.level for count in level_counts(refs(None, 3))] == [1, 2, 3, 4, None]


def test_a_small_held_out_side_is_said_with_what_it_means():
    assert held_out_warning(8, 40) is None
    assert "Only 1 video is held out of 5" in held_out_warning(1, 5)
    assert "No video is held out of 4" in held_out_warning(0, 4)
