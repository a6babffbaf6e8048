"""What other thresholds would change, counted from the database alone."""

import numpy as np
import pytest
from shelf import sha

from db import recounts, timelines, videos
from tempo_core.timeline import JudgedShot, Judgement, Richness, RuleResult

pytestmark = pytest.mark.long_on_postgres


def judged(shelf, name, n_shots=6, longest=2.0, n_clips=6, largest=2, left_out_by=None, alike=True, **thresholds):
    """A video whose rules measured these values; its shots are all unlike each other."""
    values = (n_shots, n_shots, longest, n_clips, largest)
    codes = ("too_few_shots", "too_many_shots", "shot_too_long", "too_few_clips", "group_dominates")
    found = Judgement(
        timeline=(),
        shots=tuple(JudgedShot(i * 10, i * 10 + 10, longest if i == 0 else 1.0, 90, None, i) for i in range(n_shots)),
        rules=tuple(RuleResult(c, c != left_out_by, float(v), 4.0) for c, v in zip(codes, values, strict=True)),
        left_out_by=left_out_by,
        left_out_value=None,
        clip_likeness=np.zeros((0, 0), np.float32),
    )
    video_id = shelf.ids.setdefault(name, 0) or shelf.video(name)
    shelf.ids[name] = video_id
    between = np.eye(n_shots, dtype=np.float32) if alike else None
    shelf.do(timelines.record, video_id, Richness(**thresholds), found, sha(f"{name}{thresholds}"), between)
    return video_id


def asked(shelf, **thresholds):
    return shelf.look(recounts.of_thresholds, Richness(**thresholds))


def test_limits_recount_from_the_values_that_each_rule_stored(shelf):
    kept = judged(shelf, "a", n_shots=8, n_clips=8)
    leaves = judged(shelf, "b", n_shots=5, n_clips=5, largest=1)
    comes = judged(shelf, "c", n_shots=8, longest=20.0, n_clips=8, left_out_by="shot_too_long")
    change = asked(shelf, min_shots=6, max_shot_s=30.0)
    assert (change.n_kept, change.leaving, change.coming) == (2, (leaves,), (comes,))
    assert change.n_left_out == (1, 0, 0, 0, 0) and change.n_unknown == 0
    assert asked(shelf).leaving == asked(shelf).coming == ()
    assert kept in shelf.look(recounts.measured).video_ids


def test_pairs_of_leaving_videos_are_counted_and_stay(shelf):
    shelf.ids["a"] = video_id = judged(shelf, "a", n_shots=5, n_clips=5, largest=1)
    shelf.ids["timeline of a"] = shelf.look(timelines.current, video_id).id
    pairs = shelf.pairs(3, "a")
    change = asked(shelf, min_shots=9)
    assert (change.leaving, change.n_leaving_with_pairs, change.n_pairs) == ((video_id,), 1, 3)
    judged(shelf, "a", n_shots=5, n_clips=5, left_out_by="too_few_shots", min_shots=9)
    assert not shelf.look(videos.get, video_id).kept and shelf.look(videos.get, video_id).n_pairs == len(pairs)


def test_a_threshold_that_makes_other_clips_recounts_where_the_likeness_is_stored(shelf):
    known, old = judged(shelf, "a"), judged(shelf, "b", alike=False)
    assert recounts.needs_shots(shelf.look(recounts.measured), Richness(likeness=0.6))
    change = asked(shelf, likeness=0.6)
    assert (change.n_kept, change.n_unknown, change.leaving) == (1, 1, ())
    assert asked(shelf, min_shot_s=1.5).leaving == (known, old)


def test_a_withdrawn_or_missing_video_is_not_counted(shelf, me):
    judged(shelf, "a")
    gone = judged(shelf, "b")
    before = shelf.look(recounts.key)
    shelf.do(videos.withdraw, me, gone, "asked")
    assert asked(shelf).n_kept == 1
    assert shelf.look(recounts.key) != before


def test_only_the_named_videos_are_counted(shelf):
    first, _ = judged(shelf, "a"), judged(shelf, "b")
    assert shelf.look(recounts.of_thresholds, Richness(), [first]).n_kept == 1


def test_an_empty_library_recounts_to_nothing(shelf):
    change = asked(shelf, likeness=0.5)
    assert (change.n_kept, change.leaving, change.coming) == (0, (), ())
    assert shelf.look(recounts.thresholds_now) == Richness()


@pytest.mark.parametrize("n_new", [1, 3])
def test_the_thresholds_in_force_are_those_of_most_videos(shelf, n_new):
    for name in "ab":
        judged(shelf, name)
    for name in "cde"[:n_new]:
        judged(shelf, name, min_clips=2)
    assert shelf.look(recounts.thresholds_now).min_clips == (2 if n_new == 3 else 4)
