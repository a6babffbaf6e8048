"""Whether the chosen answers lose likelihood, and how long a run will still take."""

import pytest

from tempo_core.curves import Beat, TimeLeft, is_falling, last_mean, seconds_a_step, time_left, words_for


def line(slope: float, start: float, n: int = 20, noise: float = 0.0) -> list[tuple[int, float]]:
    return [(step, start + slope * step + noise * (-1) ** step) for step in range(n)]


def test_chosen_falls_where_its_reward_is_below_zero_and_goes_down():
    assert is_falling(line(-0.01, -0.1))
    assert is_falling([*line(0.05, 0.0, n=40), *((40 + i, -0.5 - i / 10) for i in range(20))])


@pytest.mark.parametrize(
    "rewards",
    [
        line(-0.01, 5.0),  # falls, but is above 0
        line(0.01, -5.0),  # below 0, but rises
        line(0.0, -1.0, noise=0.3),  # below 0, only noise
        line(-0.001, -1.0, noise=0.5),  # a fall much smaller than the noise
        line(-0.1, -1.0, n=5),  # too few steps to tell
        [(step, None) for step in range(20)],
        [],
    ],
)
def test_chosen_does_not_fall_where_it_is_above_zero_rises_or_cannot_be_told(rewards):
    assert not is_falling(rewards)


def test_a_noisy_fall_is_still_a_fall_and_gaps_do_not_hide_it():
    noisy = line(-0.1, -0.5, noise=0.3)
    assert is_falling(noisy)
    assert is_falling([point if point[0] % 5 else (point[0], None) for point in noisy])


def test_the_pace_is_that_of_the_newest_attempt_and_unknown_before_three_steps():
    first = [Beat(step, 1000 * step, 1) for step in range(1, 11)]
    assert seconds_a_step(first) == 1.0
    resumed = [*first[:5], *(Beat(step, 900_000 + 500 * step, 2) for step in range(6, 9))]
    assert seconds_a_step(resumed) == 0.5
    assert seconds_a_step(resumed[:7]) is None
    assert seconds_a_step(first, from_step=9) is None
    assert seconds_a_step([]) is None


def test_a_clock_that_was_turned_back_makes_no_pace_below_zero():
    beats = [Beat(step, 1000 * step - (3_600_000 if step > 4 else 0)) for step in range(1, 9)]
    assert seconds_a_step(beats) == 1.0


def test_only_the_last_values_count_for_a_mean():
    assert last_mean([(1, 9.0), (2, None), (3, 1.0), (4, 2.0)], window=2) == 1.5
    assert last_mean([(1, None)]) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (89, "89 s"),
        (120, "2 min"),
        (5340, "89 min"),
        (7200, "2 h"),
        (9000, "2.5 h"),
        (259_200, "3.0 days"),
    ],
)
def test_lengths_of_time_are_told_no_more_exactly_than_they_are_known(seconds, words):
    assert words_for(seconds) == words


def test_the_time_left_counts_the_steps_whose_pace_is_known_and_names_the_other_phases():
    beats = [Beat(step, 2000 * step) for step in range(1, 11)]
    stages = [("dpo", 1, 20), ("dpo", 21, 30), ("sft", 31, 80)]
    assert time_left(beats, stages) == TimeLeft(2.0, 40.0, ("sft",))
    assert time_left(beats, stages[:1]) == TimeLeft(2.0, 20.0, ())
    assert time_left(beats[:2], stages) == TimeLeft(then=("sft",))
    assert time_left([], stages) == TimeLeft() == time_left(beats, [])


def test_loading_a_model_between_stages_does_not_count_as_pace_once_the_stage_shows_its_own():
    stages = [("dpo", 1, 5), ("dpo", 6, 20)]
    before = [Beat(step, 1000 * step) for step in range(1, 6)]
    after = [Beat(step, 100_000 + 1000 * step) for step in range(6, 9)]
    assert time_left([*before, *after], stages).a_step_s == 1.0
