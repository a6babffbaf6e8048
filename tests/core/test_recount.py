"""Other thresholds counted from stored values say what judging the whole video again would say."""

from dataclasses import replace

import numpy as np
import pytest

from tempo_core import likeness
from tempo_core.recount import KEPT, RULES, UNKNOWN, Counts, Shots, counted, verdicts
from tempo_core.scan import load_measures, scan
from tempo_core.timeline import Richness, judge
from tempo_core.types import Shot
from tests import studio

PAPER = Richness()


def shots(*seconds: float, contrast: float = 90, alike=None) -> Shots:
    n = len(seconds)
    matrix = np.eye(n, dtype=np.float32) if alike is None else np.asarray(alike, np.float32)
    return Shots(np.asarray(seconds, float), np.full(n, float(contrast)), matrix)


def counts(*videos) -> Counts:
    return Counts(*np.asarray(videos, float).T)


def test_neighbouring_look_alikes_are_one_clip_and_a_group_counts_its_clips():
    a_b_a_a = [[1, 0, 0.9, 0.9], [0, 1, 0, 0], [0.9, 0, 1, 0.9], [0.9, 0, 0.9, 1]]
    assert counted(shots(1, 2, 3, 4, alike=a_b_a_a), PAPER) == (4, 4.0, 3, 2)
    assert counted(shots(1, 2, 3, 4, alike=a_b_a_a), replace(PAPER, likeness=0.95)) == (4, 4.0, 4, 1)


def test_short_and_blank_shots_count_for_nothing():
    assert counted(shots(0.1, 2, 3), PAPER)[:3] == (2, 3.0, 2)
    assert counted(shots(1, 2, contrast=5), PAPER) == (0, 0.0, 0, 0)


def test_clips_are_not_known_where_the_likeness_is_not_stored():
    n_shots, longest, n_clips, largest = counted(Shots(np.ones(5), np.full(5, 90.0), None), PAPER)
    assert (n_shots, longest) == (5, 1.0) and np.isnan(n_clips) and np.isnan(largest)


@pytest.mark.parametrize(
    ("video", "said"),
    [
        ((4, 16.0, 4, 1), KEPT),
        ((3, 16.0, 4, 1), "too_few_shots"),
        ((33, 1.0, 33, 1), "too_many_shots"),
        ((4, 16.1, 4, 1), "shot_too_long"),
        ((4, 1.0, 3, 1), "too_few_clips"),
        ((6, 1.0, 5, 2), "group_dominates"),
        ((6, 1.0, 6, 2), KEPT),
        ((3, 20.0, 1, 1), "too_few_shots"),
        ((5, 1.0, np.nan, np.nan), UNKNOWN),
        ((3, 1.0, np.nan, np.nan), "too_few_shots"),
    ],
)
def test_the_first_rule_that_fails_leaves_a_video_out(video, said):
    (found,) = verdicts(counts(video), PAPER)
    assert (RULES[found] if found >= 0 else found) == said


def test_a_recount_says_what_judging_the_video_again_says(tmp_path):
    path = tmp_path / "video.mp4"
    studio.draw(path, [8, 30, 12, 4, 25, 9, 40, 11], seed=3)
    measures = load_measures(scan(path, tmp_path / "cache").measures_path)
    first = judge(measures)
    alike = likeness.matrix(measures, [Shot(shot.start, shot.end) for shot in first.shots])
    stored = Shots(np.asarray([s.seconds for s in first.shots]), np.asarray([s.contrast for s in first.shots]), alike)
    seen = set()
    for likeness_at in (0.0, 0.3, 0.5, 0.7, 0.85, 0.99):
        for min_shot_s in (0.0, 0.2, 0.5, 1.5):
            for limits in ({}, {"max_shot_s": 1.0}, {"min_clips": 2, "min_shots": 2, "max_group_clips": 1}):
                asked = Richness(likeness=likeness_at, min_shot_s=min_shot_s, **limits)
                truth = judge(measures, asked)
                values = counted(stored, asked)
                (found,) = verdicts(counts(values), asked)
                assert (None if found == KEPT else RULES[found]) == truth.left_out_by, asked
                of = {rule.code: rule.value for rule in truth.rules}
                assert values == tuple(of[RULES[i]] for i in (0, 2, 3, 4)), asked
                seen.add(truth.left_out_by)
    assert len(seen) >= 4
