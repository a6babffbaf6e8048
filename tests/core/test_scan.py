"""One decode per video, ever; what it measured answers everything later."""

import json
from dataclasses import replace

import av
import cv2
import numpy as np
import psutil
import pytest

from tempo_core import media, scan, scan_pass, timeline
from tempo_core.errors import MediaError, NoSpace
from tempo_core.measures import load_measures, save_measures, strip_jpeg
from tests.videos import COLOURS, card


@pytest.fixture
def decodes(monkeypatch):
    """Counts what the real decoder hands out."""
    counted = []
    real = media.decode

    def counting(path):
        for frame in real(path):
            counted.append(path)
            yield frame

    monkeypatch.setattr(media, "decode", counting)
    return counted


def test_a_video_is_decoded_once_and_found_stored_after_that(cards, tmp_path, decodes):
    first = scan.scan(cards, tmp_path)
    assert len(decodes) == first.n_decoded == first.video.n_frames == 210
    copy = tmp_path / "the same bytes.mp4"
    copy.write_bytes(cards.read_bytes())
    again = scan.scan(copy, tmp_path)
    assert len(decodes) == 210 and again.n_decoded == 0
    assert again.video == replace(first.video, path=copy)
    assert again.times_sha256 == first.times_sha256


def test_every_threshold_works_with_the_video_deleted(cards, tmp_path):
    path = tmp_path / "gone.mp4"
    path.write_bytes(cards.read_bytes())
    stored = load_measures(scan.scan(path, tmp_path).measures_path)
    path.unlink()
    assert timeline.judge(stored).kept
    assert not timeline.judge(stored, timeline.Richness(min_shots=7)).kept
    assert strip_jpeg(stored, 100).startswith(b"\xff\xd8")


def test_stored_measures_come_back_as_they_were(cards, tmp_path):
    stored = scan.scan(cards, tmp_path).measures_path
    measures = load_measures(stored)
    again = tmp_path / "again.npz"
    save_measures(measures, again)
    for name in ("pts", "score", "sharpness", "motion", "lo", "hi", "like_at", "like", "strip_at", "strip"):
        one, other = getattr(measures, name), getattr(load_measures(again), name)
        assert one.dtype == other.dtype and np.array_equal(one, other)
    assert load_measures(again).probe == measures.probe == json.loads(json.dumps(measures.probe))


def test_a_torn_or_lost_file_of_measures_says_what_to_do(tmp_path):
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 torn")
    for name, code in (("torn.npz", "torn"), ("lost.npz", "missing")):
        with pytest.raises(MediaError) as error:
            load_measures(tmp_path / name)
        assert error.value.code == code
        assert "scan" in str(error.value).lower()


def test_samples_lie_on_their_grid_and_thumbnails_show_their_frame(cards, tmp_path):
    stored = load_measures(scan.scan(cards, tmp_path).measures_path)
    assert stored.like_at.tolist() == list(range(0, 210, 6))
    assert stored.strip_at.tolist() == list(range(0, 210, 15))
    thumbnail = cv2.imdecode(np.frombuffer(strip_jpeg(stored, 91), np.uint8), cv2.IMREAD_COLOR)
    true = cv2.cvtColor(cv2.resize(card(0, 90), thumbnail.shape[1::-1]), cv2.COLOR_RGB2BGR)
    assert thumbnail.shape == (192, 256, 3)
    assert np.abs(thumbnail.astype(int) - true).mean() < 12


def test_the_small_picture_has_the_colours_of_the_frame(cards):
    frame = next(media.decode(cards))
    luma, bgr = scan_pass.small_picture(frame)
    assert luma.shape == (192, 256) and bgr.shape == (192, 256, 3)
    ground = np.median(bgr[100:].reshape(-1, 3), axis=0)[::-1]
    assert np.abs(ground - COLOURS[0]).max() <= 6


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv422p", "yuv420p10le", "nv12", "gray", "rgb24"])
def test_every_pixel_format_gives_about_the_same_small_picture(pix_fmt):
    grey = np.full((240, 320, 3), 120, np.uint8)
    grey[:, :160] = 60
    reference = scan_pass.small_picture(av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format="yuv420p"))[1]
    frame = av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format=pix_fmt)
    # On average: scalers differ by some levels at the edge in the middle.
    assert np.abs(scan_pass.small_picture(frame)[1].astype(int) - reference).mean() <= 2.5


@pytest.mark.parametrize("size", [(2, 2), (321, 241), (33, 500), (17, 9)])
def test_odd_and_tiny_sizes_are_measured(size):
    image = np.full((size[1], size[0], 3), 200, np.uint8)
    frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")
    luma, bgr = scan_pass.small_picture(frame)
    assert bgr.shape[:2] == luma.shape and max(luma.shape) <= 256
    assert abs(int(bgr.mean()) - 200) <= 3


def test_a_sharp_picture_measures_sharper_than_its_blur_and_a_flat_one_nothing():
    one_pass = scan_pass._Pass()
    sharp = card(1, 5)[:, :, 0]
    for image in (sharp, cv2.GaussianBlur(sharp, (9, 9), 4), np.full_like(sharp, 90)):
        one_pass._luma_measures(np.ascontiguousarray(image))
    assert one_pass.sharpness[0] > 3 * one_pass.sharpness[1] > 0 == one_pass.sharpness[2]
    assert (one_pass.lo[2], one_pass.hi[2]) == (90, 90)
    assert one_pass.motion[0] == 0 < one_pass.motion[1]


def test_sharpness_is_the_mean_absolute_laplacian():
    image = np.zeros((8, 8), np.uint8)
    image[4, 4] = 100
    one_pass = scan_pass._Pass()
    one_pass._luma_measures(image)
    assert one_pass.sharpness == [(400 + 4 * 100) / 64]


def test_many_videos_come_back_once_each_from_two_children(cards, one_scene, variable_rate, tmp_path):
    paths = [cards, one_scene, variable_rate, tmp_path / "missing.mp4"]
    results = list(scan.scan_many(paths, tmp_path, processes=2))
    assert sorted(path for path, _ in results) == sorted(paths)
    by_path = dict(results)
    assert by_path[cards].video == scan.scan(cards, tmp_path / "other").video
    assert by_path[paths[3]].code == "missing"
    assert list(scan.scan_many([], tmp_path)) == []


def test_a_scan_given_up_half_way_leaves_no_child(cards, one_scene, tmp_path):
    before = set(psutil.Process().children())
    answers = scan.scan_many([cards, one_scene], tmp_path)
    next(answers)
    assert set(psutil.Process().children()) - before
    answers.close()
    assert not set(psutil.Process().children()) - before


def test_an_mpeg_ts_that_starts_at_1000_s_starts_at_0(late_stream, tmp_path):
    stored = load_measures(scan.scan(late_stream, tmp_path).measures_path)
    assert float(stored.pts[0] * stored.time_base) > 999
    assert stored.t[0] == 0 and stored.edges_s[-1] == pytest.approx(7.0, abs=0.01)


def test_a_variable_rate_is_told_from_a_constant_one(cards, variable_rate, tmp_path):
    assert scan.scan(cards, tmp_path).probe["constant_rate"]
    assert not scan.scan(variable_rate, tmp_path).probe["constant_rate"]


def test_a_full_disk_is_said_as_such(cards, tmp_path, monkeypatch):
    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(NoSpace, match="full"):
        scan.scan(cards, tmp_path)
    assert not list(tmp_path.rglob("*.part"))
