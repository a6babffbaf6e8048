"""Which shots look alike, and how they are merged."""

import cv2
import numpy as np
import pytest

from tempo_core import likeness, scan, scan_pass, shots
from tests.videos import card


def symmetric(upper):
    full = np.eye(len(upper) + 1, dtype=np.float32)
    for i, row in enumerate(upper):
        full[i, i + 1 :] = row
    return np.maximum(full, full.T)


def test_a_returning_scene_is_like_itself_and_unlike_the_others(cards, tmp_path):
    stored = scan.load_measures(scan.scan(cards, tmp_path).measures_path)
    found = shots.shots(stored)
    alike = likeness.matrix(stored, found)
    assert alike.shape == (6, 6) and np.allclose(np.diag(alike), 1, atol=1e-3) and np.allclose(alike, alike.T)
    assert alike[0, 2] > 0.9
    assert max(alike[i, j] for i in range(6) for j in range(i) if (j, i) != (0, 2)) < 0.7
    assert likeness.groups(alike, 0.85) == (0, 1, 0, 3, 4, 5)


def test_merging_takes_the_plain_mean_and_not_one_weighted_by_size():
    """0 and 1 merge, then 2; to shot 3 the plain mean of {0, 1} and 2 is .5 * (.5 * .9 + .5 * .9) + .5 * .5 = .70,
    the mean over the three shots would be (.9 + .9 + .5) / 3 = .77."""
    alike = symmetric([[0.99, 0.95, 0.9], [0.95, 0.9], [0.5]])
    assert likeness.groups(alike, 0.75) == (0, 0, 0, 3)
    assert likeness.groups(alike, 0.69) == (0, 0, 0, 0)


def test_of_equal_pairs_the_first_merges_first():
    """With (0, 1) first, 2 is left at (.9 + .1) / 2 = .5; with (1, 2) first, 0 would be."""
    alike = symmetric([[0.9, 0.1], [0.9]])
    assert likeness.groups(alike, 0.8) == (0, 0, 2)


def test_a_group_is_named_by_its_smallest_shot_and_the_threshold_is_exclusive():
    alike = symmetric([[0.1, 0.1, 0.1], [0.2, 0.9], [0.3]])
    assert likeness.groups(alike, 0.5) == (0, 1, 2, 1)
    assert likeness.groups(symmetric([[0.5]]), 0.5) == (0, 1)
    assert likeness.groups(symmetric([[0.51]]), 0.5) == (0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_grouping_equals_a_plain_reading_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    n = 12
    upper = rng.random((n, n))
    alike = np.triu(upper, 1) + np.triu(upper, 1).T + np.eye(n)
    assert likeness.groups(alike.astype(np.float32), 0.5) == _plainly(alike.astype(np.float32).astype(float), 0.5)


def _plainly(alike, threshold):
    clusters = {i: [i] for i in range(len(alike))}
    like = {(i, j): alike[i, j] for i in clusters for j in clusters if i < j}
    while like:
        (i, j), best = max(like.items(), key=lambda item: (item[1], -item[0][0], -item[0][1]))
        if best <= threshold:
            break
        clusters[i] += clusters.pop(j)
        for k in clusters:
            if k != i:
                a, b = tuple(sorted((i, k))), tuple(sorted((j, k)))
                like[a] = (like[a] + like[b]) / 2
        like = {pair: value for pair, value in like.items() if j not in pair}
    group = {shot: name for name, shots_of in clusters.items() for shot in shots_of}
    return tuple(group[i] for i in range(len(alike)))


def test_a_saturated_scene_has_a_histogram_too():
    """Pure colours lie outside a, b 64..191; left out, two blue scenes would share nothing."""
    blue = np.zeros((64, 64, 3), np.uint8)
    blue[:] = (255, 10, 10)
    histogram = scan_pass.lab_histogram(blue)
    assert histogram.max() == 255 and (histogram > 0).sum() == 1
    assert (scan_pass.lab_histogram(cv2.cvtColor(card(0, 0), cv2.COLOR_RGB2BGR)) > 0).sum() > 3


def test_the_sample_of_a_shot_lies_inside_it(cards, tmp_path):
    stored = scan.load_measures(scan.scan(cards, tmp_path).measures_path)
    short = shots.Shot(37, 43)
    assert stored.like_at[likeness._sample_of(stored.like_at, short)] == 42
    assert stored.like_at[likeness._sample_of(stored.like_at, shots.Shot(0, 40))] == 18
