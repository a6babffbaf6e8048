"""Cuts from stored scores are PySceneDetect's cuts."""

import numpy as np
import pytest
from scenedetect import AdaptiveDetector, FrameTimecode

from tempo_core import media, scan, scan_pass, shots
from tempo_core.types import Shot
from tests.videos import SIX_CUTS, write_cards


def test_drawn_cuts_are_found_to_the_frame(cards, tmp_path):
    stored = scan.load_measures(scan.scan(cards, tmp_path).measures_path)
    found = shots.shots(stored)
    assert tuple(shot.start for shot in found[1:]) == SIX_CUTS
    assert found[0] == Shot(0, 40) and found[-1] == Shot(180, 210)


def test_a_video_without_a_cut_is_one_shot(one_scene, tmp_path):
    stored = scan.load_measures(scan.scan(one_scene, tmp_path).measures_path)
    assert shots.shots(stored) == (Shot(0, 60),)


@pytest.mark.parametrize("seed", range(4))
def test_scores_and_cuts_equal_those_of_the_untouched_detector(seed, tmp_path):
    """The canary for a new scenedetect: our detector computes its score in one call and reads a private field."""
    rng = np.random.default_rng(seed)
    path = tmp_path / "drawn.mp4"
    write_cards(path, [(int(rng.integers(7)), int(rng.integers(3, 25))) for _ in range(12)])
    theirs, scores, found = _untouched(), [], []
    for number, frame in enumerate(media.decode(path)):
        bgr = scan_pass.small_picture(frame)[1]
        found += [cut.frame_num for cut in theirs.process_frame(FrameTimecode(number, 30.0), bgr)]
        scores.append(theirs._frame_score)
    stored = scan.load_measures(scan.scan(path, tmp_path).measures_path)
    assert np.allclose(stored.score, scores, atol=1e-4)
    assert list(shots.cuts(stored.score, stored.t)) == found
    assert len(found) >= 3


def _untouched():
    return AdaptiveDetector(adaptive_threshold=3.5, min_scene_len="0.25s", window_width=3, min_content_val=15.0)


def scores(n=40, **peaks):
    values = np.ones(n, np.float32)
    for name, value in peaks.items():
        values[int(name[1:])] = value
    return values, np.arange(n) / 30


def test_a_cut_stands_out_from_its_neighbours_and_from_nothing():
    assert shots.cuts(*scores(_20=16.0)) == (20,)
    assert shots.cuts(*scores(_20=14.9)) == ()
    assert shots.cuts(*scores(_20=60.0, _21=60.0, _19=60.0)) == ()
    still = np.zeros(40, np.float32)
    still[20] = 15.0
    assert shots.cuts(still, np.arange(40) / 30) == (20,)


def test_the_first_and_last_frames_cannot_be_cuts_and_scenes_last_a_quarter_second():
    assert shots.cuts(*scores(_2=90.0, _38=90.0)) == ()
    assert shots.cuts(*scores(_7=90.0, _20=90.0, _24=90.0, _30=90.0)) == (20, 30)
    assert shots.cuts(np.ones(6, np.float32), np.arange(6) / 30) == ()


def test_the_content_detector_takes_every_high_score(cards, tmp_path):
    stored = scan.load_measures(scan.scan(cards, tmp_path).measures_path)
    content = shots.DetectorConfig(kind="content", threshold=15.0)
    assert tuple(shot.start for shot in shots.shots(stored, content))[1:] == SIX_CUTS
    deaf = shots.DetectorConfig(kind="content", threshold=255.0)
    assert len(shots.shots(stored, deaf)) == 1
