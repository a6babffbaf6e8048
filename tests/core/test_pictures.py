"""Frames come from the cache where they can, and are never somebody else's."""

import numpy as np
import pytest

from tempo_core import media, scan
from tempo_core.errors import FrameTimesChanged
from tempo_core.pictures import Pictures
from tests.videos import number_of


@pytest.fixture
def scanned(cards, tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes(cards.read_bytes())
    return scan.scan(path, tmp_path)


def test_small_pictures_are_the_same_on_a_miss_and_on_a_hit(scanned, tmp_path):
    pictures = Pictures(tmp_path, 48)
    missed = pictures.get(scanned.video, scanned.times_sha256, [100, 5, 100])
    scanned.video.path.unlink()
    hit = pictures.get(scanned.video, scanned.times_sha256, [100, 5, 100])
    assert missed.shape == (3, 36, 48, 3) and missed.dtype == np.uint8
    assert np.array_equal(missed, hit) and np.array_equal(hit[0], hit[2]) and not np.array_equal(hit[0], hit[1])


def test_small_pictures_lose_nothing(scanned, tmp_path):
    stored = scan.load_measures(scanned.measures_path)
    true = media.frames(scanned.video.path, [33, 7], stored.pts, stored.time_base, long_side=48)
    assert np.array_equal(Pictures(tmp_path, 48).get(scanned.video, scanned.times_sha256, [33, 7]), true)


def test_large_pictures_show_the_frame_that_was_asked(scanned, tmp_path):
    pictures = Pictures(tmp_path, None)
    got = pictures.get(scanned.video, scanned.times_sha256, [40, 39, 181])
    assert got.shape == (3, 240, 320, 3) and [number_of(image) for image in got] == [40, 39, 181]
    assert np.array_equal(got, pictures.get(scanned.video, scanned.times_sha256, [40, 39, 181]))
    assert len(list((tmp_path / "pictures").rglob("*.jpg"))) == 3


def test_only_missing_frames_are_decoded_and_in_one_go(scanned, tmp_path, monkeypatch):
    asked = []
    real = media.frames
    monkeypatch.setattr(
        media,
        "frames",
        lambda path, numbers, *rest, **named: asked.append(list(numbers)) or real(path, numbers, *rest, **named),
    )
    pictures = Pictures(tmp_path, 48)
    pictures.get(scanned.video, scanned.times_sha256, [9, 3])
    pictures.get(scanned.video, scanned.times_sha256, [3, 9, 4])
    assert asked == [[3, 9], [4]]


def test_other_bytes_or_other_times_are_refused(scanned, tmp_path, one_scene):
    with pytest.raises(FrameTimesChanged, match="other frame times"):
        Pictures(tmp_path, 48).get(scanned.video, "0" * 64, [3])
    scanned.video.path.write_bytes(one_scene.read_bytes())
    with pytest.raises(FrameTimesChanged, match="other bytes"):
        Pictures(tmp_path, 48).get(scanned.video, scanned.times_sha256, [3])


def test_a_cleared_cache_is_filled_again(scanned, tmp_path):
    scanned.measures_path.unlink()
    got = Pictures(tmp_path, 48).get(scanned.video, scanned.times_sha256, [3])
    assert got.shape == (1, 36, 48, 3) and scanned.measures_path.exists()


def test_no_numbers_give_no_pictures(scanned, tmp_path):
    assert Pictures(tmp_path, 48).get(scanned.video, scanned.times_sha256, []).shape == (0, 0, 0, 3)
