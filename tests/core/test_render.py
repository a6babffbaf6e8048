"""What the browser gets shows the frames of the file: frame k is frame k, checked by the number drawn into each."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from tempo_core import media, render, scan
from tempo_core.clip_export import export_clip
from tempo_core.errors import FrameTimesChanged
from tempo_core.playback import browser_plan
from tempo_core.timeline import judge
from tempo_core.types import Clip, PerturbationPlan
from tests.videos import number_of


def measured(path, cache):
    return scan.load_measures(scan.scan(path, cache).measures_path)


def numbers_in(path):
    return [number_of(media.picture(frame)) for frame in media.decode(path)]


@pytest.mark.parametrize("fixture", ["cards", "variable_rate", "edit_listed", "late_stream"])
def test_frame_k_of_a_proxy_is_frame_k_of_its_source_at_the_same_time(fixture, request, tmp_path):
    path, out = request.getfixturevalue(fixture), tmp_path / "out" / "proxy.mp4"
    source = measured(path, tmp_path)
    render.write_proxy(path, out, source, max_height=180)
    proxy = measured(out, tmp_path)
    assert numbers_in(out) == numbers_in(path)
    assert np.allclose(proxy.t, source.t, atol=0.0011)
    assert proxy.probe["browser"]["source_ok"], proxy.probe["browser"]
    assert (proxy.probe["height"], proxy.probe["gop_max"], proxy.probe["codec"]) == (180, 12, "h264")
    assert proxy.probe["constant_rate"] == source.probe["constant_rate"]
    assert not list(out.parent.glob("*.part"))


def test_a_proxy_of_a_file_with_other_times_is_refused_and_leaves_nothing(cards, one_scene, tmp_path):
    with pytest.raises(FrameTimesChanged):
        render.write_proxy(one_scene, tmp_path / "p" / "proxy.mp4", measured(cards, tmp_path))
    assert not list((tmp_path / "p").iterdir())


PLAYS = {
    "container": "mov,mp4,m4a,3gp,3g2,mj2", "codec": "h264", "profile": "High", "pix_fmt": "yuv420p", "width": 1280,
    "height": 720, "rotation": 0, "first_pts": 0, "edit_list": False, "gop_max": 45, "partial": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ()),
        ({"container": "webm", "codec": "vp8", "profile": ""}, ()),
        ({"codec": "libdav1d"}, ()),
        ({"codec": "hevc"}, ("codec",)),
        ({"container": "matroska"}, ("container",)),
        ({"container": "avi"}, ("container",)),
        ({"pix_fmt": "yuv420p10le"}, ("pixel_format",)),
        ({"profile": "High 4:4:4 Predictive"}, ("profile",)),
        ({"rotation": 90}, ("rotation",)),
        ({"first_pts": 3}, ("starts_late",)),
        ({"edit_list": True}, ("edit_list",)),
        ({"width": 1920, "height": 1080, "gop_max": 12}, ("too_large",)),
        ({"width": 720, "height": 1280}, ()),
        ({"gop_max": 46}, ("slow_steps",)),
        ({"gop_max": 102, "width": 854, "height": 480}, ()),
        ({"gop_max": 250, "width": 640, "height": 360}, ("slow_steps",)),
        ({"partial": True}, ("partial",)),
        ({"rotation": 90, "codec": "hevc"}, ("codec", "rotation")),
    ],
)
def test_the_file_itself_is_played_unless_there_is_a_reason(change, why):
    assert browser_plan({**PLAYS, **change}) == (not why, why)


def test_an_edit_list_gives_the_ranges_of_the_clips_in_plan_order():
    timeline = (
        Clip((0,), ((0, 30),), 0, (10, 20)),
        Clip((1, 3), ((30, 45), (60, 75)), 1, (35, 65)),
        Clip((4,), ((75, 90),), 4, (80, 85)),
    )
    pts = np.arange(90) + 30_000
    assert render.edit_list(timeline, (2, 1), pts, Fraction(1, 30)) == [
        [(pytest.approx(2.5), pytest.approx(3.0))],
        [(pytest.approx(1.0), pytest.approx(1.5)), (pytest.approx(2.0), pytest.approx(2.5))],
    ]


def test_a_sprite_shows_one_thumbnail_a_clip_in_one_row(cards, tmp_path):
    stored = measured(cards, tmp_path)
    timeline = judge(stored).timeline
    image = cv2.imdecode(np.frombuffer(render.sprite(stored, timeline), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (72, 6 * 128, 3)
    cells = [image[20:, i * 128 + 20 : i * 128 + 108].mean(axis=(0, 1)) for i in range(6)]
    assert np.abs(cells[0] - cells[2]).max() < 6 and np.abs(cells[0] - cells[1]).max() > 20
    assert image[:, :10].max() < 40


def test_the_thumbnail_of_a_clip_is_one_of_its_own_frames(cards, tmp_path):
    stored = measured(cards, tmp_path)
    shown = render.thumbnail(stored, Clip((1,), ((100, 106),), 1, (102, 104)))
    assert number_of(shown) == 105


@pytest.mark.parametrize("side_by_side", [False, True])
def test_an_export_holds_the_clips_in_plan_order_frame_by_frame(side_by_side, cards, tmp_path):
    stored = measured(cards, tmp_path)
    timeline = judge(stored).timeline
    plan = PerturbationPlan("drop", 2, 0, (4, 1, 3))
    out = tmp_path / "export.mp4"
    export_clip(cards, stored, timeline, plan, out, side_by_side=side_by_side, titles=False)
    want = [*range(150, 180), *range(40, 75), *range(105, 150)]
    got = [media.picture(frame) for frame in media.decode(out)]
    assert [number_of(image[:, -320:]) for image in got][: len(want)] == want
    if side_by_side:
        assert [number_of(image[:, :320]) for image in got] == list(range(210))
        assert got[-1][:, 320:].max() < 20
    else:
        assert len(got) == len(want)


def test_titles_number_the_clips_and_a_gif_can_be_written(one_scene, tmp_path):
    stored = measured(one_scene, tmp_path)
    timeline = (Clip((0,), ((0, 6),), 0, (1, 2)), Clip((1,), ((6, 12),), 1, (7, 8)))
    plan = PerturbationPlan("reverse", 2, 0, (1, 0))
    plain, titled = tmp_path / "plain.gif", tmp_path / "titled.gif"
    export_clip(one_scene, stored, timeline, plan, plain, titles=False, long_side=160)
    export_clip(one_scene, stored, timeline, plan, titled, long_side=160)
    first, with_title = (next(media.decode(path)).to_ndarray(format="rgb24") for path in (plain, titled))
    assert first.shape == (120, 160, 3)
    assert (np.abs(first.astype(int) - with_title).max(axis=2) > 60).mean() > 0.002
