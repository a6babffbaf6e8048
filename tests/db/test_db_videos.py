"""Videos and their judgements: identity by bytes, reasons that stay, thresholds that judge again."""

import os

import numpy as np
import pytest
from shelf import clips, sha

from db import people, plans, timelines, videos
from tempo_core.errors import NotAllowed, Unknown
from tempo_core.types import Difficulty, PerturbationPlan, Video


def test_the_same_bytes_at_two_paths_are_one_video_with_two_locations(shelf):
    video_id = shelf.video("a")
    (shelf.folder / "b.mp4").write_bytes(b"a")
    value = shelf.look(videos.value, video_id)
    library = shelf.do(videos.library, shelf.folder)
    assert shelf.do(videos.record, library, "b.mp4", value, sha("times a"), {}) == video_id
    assert {path for _, path in shelf.look(videos.places_of, [video_id])[video_id]} == {"a.mp4", "b.mp4"}


def test_what_is_recorded_comes_back_exactly(shelf):
    video_id = shelf.video("a", duration_s=13.0130130130)
    value = shelf.look(videos.value, video_id)
    assert (value.fps.numerator, value.fps.denominator) == (30000, 1001)
    assert value.duration_s == 13.0130130130
    assert value.path == (shelf.folder / "a.mp4").resolve()


def test_other_bytes_at_a_known_path_are_a_new_video_and_the_old_one_is_missing(shelf):
    old = shelf.video("a")
    value = shelf.look(videos.value, old)
    changed = Video(sha("other"), value.path, value.fps, 10, 0.4, 64, 48)
    library = shelf.do(videos.library, shelf.folder)
    new = shelf.do(videos.record, library, "a.mp4", changed, sha("t"), {})
    assert new != old
    assert shelf.look(videos.get, old).status == "missing"
    assert shelf.look(videos.get, new).status == "ok"


def test_a_file_that_failed_keeps_its_row_and_reason_and_becomes_usable_when_it_is_mended(shelf):
    library = shelf.do(videos.library, shelf.folder)
    failed = shelf.do(videos.record_failure, library, "bad.mp4", None, "no_video", "bad.mp4 holds no video stream.")
    again = shelf.do(videos.record_failure, library, "bad.mp4", None, "empty", "bad.mp4 is empty.")
    card = shelf.look(videos.get, failed)
    assert (again, card.status, card.reason, card.message) == (failed, "corrupt", "empty", "bad.mp4 is empty.")
    path = shelf.folder / "bad.mp4"
    path.write_bytes(b"now whole")
    mended = Video(sha("whole"), path, shelf.look(videos.value, shelf.video("x")).fps, 10, 0.4, 64, 48)
    assert shelf.do(videos.record, library, "bad.mp4", mended, sha("t"), {}) == failed
    assert shelf.look(videos.get, failed).reason is None


def test_a_later_failure_does_not_take_a_good_scan_away(shelf):
    video_id = shelf.video("a")
    library = shelf.do(videos.library, shelf.folder)
    assert shelf.do(videos.record_failure, library, "a.mp4", sha("a"), "timeout", "took too long") == video_id
    assert shelf.look(videos.get, video_id).status == "ok"


def test_a_file_name_that_is_no_utf8_can_be_kept(shelf):
    library = shelf.do(videos.library, shelf.folder)
    video_id = shelf.do(videos.record_failure, library, os.fsdecode(b"bad\xff.mp4"), None, "no_video", "no video")
    assert shelf.look(videos.get, video_id).name == "bad\\xff.mp4"


def test_a_path_that_leaves_its_library_is_never_served(shelf, tmp_path):
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    video_id = shelf.video("a")
    (shelf.folder / "a.mp4").unlink()
    (shelf.folder / "a.mp4").symlink_to(tmp_path / "secret.mp4")
    with pytest.raises(Unknown, match=f"video {video_id}"):
        shelf.look(videos.path_of, video_id)


def test_a_folder_that_lost_a_file_loses_the_video(shelf):
    kept, gone = shelf.video("a"), shelf.video("b")
    library = shelf.do(videos.library, shelf.folder)
    assert shelf.do(videos.mark_absent, library, ["a.mp4"]) == 1
    assert shelf.look(videos.get, kept).status == "ok"
    assert shelf.look(videos.get, gone).status == "missing"


def test_the_funnel_counts_each_video_at_the_first_rule_it_failed(shelf):
    for name, rule in (("a", None), ("b", "too_few_clips"), ("c", "too_few_shots"), ("d", "too_few_clips")):
        shelf.timeline(shelf.video(name), left_out_by=rule)
    library = shelf.do(videos.library, shelf.folder)
    shelf.do(videos.record_failure, library, "e.mp4", None, "empty", "empty")
    steps = [(step.code, step.left_out, step.remaining) for step in shelf.look(videos.funnel)]
    assert steps == [
        ("found", 0, 5),
        ("unreadable", 1, 4),
        ("too_few_shots", 1, 3),
        ("too_many_shots", 0, 3),
        ("too_few_clips", 2, 1),
        ("group_dominates", 0, 1),
    ]


def test_a_page_of_videos_starts_after_the_last_id_and_filters_by_rule(shelf):
    ids = [shelf.video(name) for name in "abcd"]
    for video_id, rule in zip(ids, (None, "too_few_clips", None, "too_few_shots"), strict=True):
        shelf.timeline(video_id, left_out_by=rule)
    assert [card.id for card in shelf.look(videos.listing, after_id=ids[1], limit=2)] == ids[2:]
    assert [card.id for card in shelf.look(videos.listing, rule="too_few_clips")] == [ids[1]]
    assert [card.id for card in shelf.look(videos.listing, kept=True)] == [ids[0], ids[2]]
    assert [card.id for card in shelf.look(videos.listing, kept=False)] == [ids[1], ids[3]]
    left_out = shelf.look(videos.get, ids[1])
    assert (left_out.left_out_by, left_out.left_out_value, left_out.limit) == ("too_few_clips", 3.0, 4.0)
    assert shelf.look(videos.counts) == {"ok": 4, "kept": 2}


def test_a_timeline_comes_back_as_the_values_it_was_made_of(shelf):
    video_id = shelf.video("a")
    shelf.timeline(video_id, n_clips=5)
    found = shelf.look(timelines.current, video_id)
    assert found.timeline == clips(5)
    assert np.array_equal(found.likeness, np.eye(5))
    assert found.clip_frames == (10, 10, 10, 10, 10)
    assert [rule.code for rule in found.rules] == [
        "too_few_shots",
        "too_many_shots",
        "too_few_clips",
        "group_dominates",
    ]


def test_the_same_thresholds_are_judged_once_and_the_last_ones_are_current(shelf):
    video_id = shelf.video("a")
    first = shelf.timeline(video_id)
    assert shelf.timeline(video_id) == first
    second = shelf.timeline(video_id, n_clips=6, likeness=0.5)
    assert shelf.look(timelines.current, video_id).id == second
    assert shelf.timeline(video_id) == first
    assert shelf.look(timelines.current, video_id).id == first
    assert shelf.look(timelines.get, second).n_clips == 6


def test_only_videos_that_passed_and_whose_file_is_there_are_kept_for_pairing(shelf):
    kept, refused, gone = shelf.video("a"), shelf.video("b"), shelf.video("c")
    shelf.timeline(kept)
    shelf.timeline(refused, left_out_by="too_few_clips")
    shelf.timeline(gone)
    (shelf.folder / "c.mp4").unlink()
    found = shelf.look(timelines.kept)
    assert [(k.video_id, k.times_sha256, k.timeline.n_clips) for k in found] == [(kept, sha("times a"), 4)]


def test_two_plans_of_one_order_are_one_plan_but_the_authors_law_may_repeat(shelf):
    video_id = shelf.video("a")
    timeline_id = shelf.timeline(video_id)

    def record(seed, law="tempo"):
        plan = PerturbationPlan("shuffle", 4, seed, (1, 0, 2, 3), law)
        return shelf.do(
            plans.record, video_id, timeline_id, plan, sha(f"{law}{seed}"), Difficulty(0.4, {"broken": 0.5})
        )

    assert record(1) == record(2)
    assert record(1, "authors") != record(2, "authors")
    plan, difficulty = shelf.look(plans.get, record(1))
    assert plan == PerturbationPlan("shuffle", 4, 1, (1, 0, 2, 3))
    assert (difficulty.value, difficulty.measures) == (0.4, {"broken": 0.5})


@pytest.mark.parametrize("verb", [videos.get, videos.value, videos.path_of, timelines.get, plans.get])
def test_an_unknown_id_is_named(shelf, verb):
    with pytest.raises(Unknown, match="404"):
        shelf.look(verb, 404)


def test_a_role_covers_those_below_it(shelf, me, ada):
    people.require(me, "reviewer")
    people.require(ada, "viewer")
    with pytest.raises(NotAllowed, match="Ada is reviewer; this needs admin"):
        people.require(ada, "admin")
