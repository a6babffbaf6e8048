"""Frozen data: what was accepted, as it was accepted, and any later change shows."""

import sqlite3

import pytest

from db import bulk, curricula, datasets, difficulties, reviews, sft_sets
from db.pair_filters import PairFilter
from db.reviews import ReviewItem
from db.sft_sets import SftDraft
from jobs.starting import pair_ref
from tempo_core.errors import BadThresholds, DatasetDrift, NotAllowed, TooFew, Unknown

VIDEOS = "abcdefghij"


def test_nothing_accepted_is_nothing_to_freeze(shelf, me):
    shelf.pairs(2)
    with pytest.raises(TooFew, match="Accept some"):
        shelf.do(datasets.freeze, me, "empty")


def test_whole_videos_are_held_out_the_same_ones_for_the_same_seed(shelf, me, frozen):
    train, held_out = (shelf.look(datasets.items, frozen, split) for split in ("train", "held_out"))
    assert (len(train), len(held_out)) == (16, 4)
    assert {item.video_id for item in train} & {item.video_id for item in held_out} == set()
    card = shelf.look(datasets.get, frozen)
    assert (card.n_pairs, card.n_held_out, card.n_videos) == (20, 4, 10)
    again = shelf.do(datasets.freeze, me, "again", held_out_share=0.2)
    other = shelf.do(datasets.freeze, me, "other", held_out_share=0.2, seed=1)
    assert shelf.look(datasets.get, again).content_sha256 == card.content_sha256
    assert shelf.look(datasets.get, other).content_sha256 != card.content_sha256


@pytest.mark.parametrize(
    ("n", "share", "expected"), [(4, 0.5, 0), (5, 0.01, 1), (5, 0.99, 4), (5, 0.0, 0), (6, 0.5, 3)]
)
def test_at_least_one_video_is_held_out_where_there_are_five_and_one_is_always_left(shelf, me, n, share, expected):
    for video in VIDEOS[:n]:
        shelf.pair(video)
    shelf.do(bulk.decide, me, PairFilter(), "accepted", token="all")
    version = shelf.do(datasets.freeze, me, "v", held_out_share=share)
    assert len(shelf.look(datasets.items, version, "held_out")) == expected


def test_a_frozen_pair_holds_all_that_training_reads(shelf, me):
    pair_id = shelf.pair("a", 3, magnitude=8, difficulty=0.25, chosen="red, green", rejected="green, red")
    shelf.do(reviews.decide, me, ReviewItem("s", pair_id, 1, "swap"))
    (item,) = shelf.look(datasets.items, shelf.do(datasets.freeze, me, "v"))
    assert (item.pair.chosen, item.pair.rejected) == ("green, red", "red, green")
    assert item.pair.clip_key_frames == ((3, 6), (13, 16), (23, 26), (33, 36))
    assert (item.pair.magnitude, item.pair.difficulty, item.pair.level, item.order) == (8, 0.25, 1, (3, 2, 1, 0))
    assert item.pair.video.path == (shelf.folder / "a.mp4").resolve()
    assert item.pair.prompt == "Describe the events in order."


def test_levels_are_those_that_were_shown(shelf, me):
    for number in range(5):
        shelf.pair("a", number)
    shelf.do(bulk.decide, me, PairFilter(), "accepted", token="all")
    levels = [item.pair.level for item in shelf.look(datasets.items, shelf.do(datasets.freeze, me, "v"))]
    assert levels == [1, 2, 3, 4, 4]
    paper = shelf.do(datasets.freeze, me, "paper", axis="paper")
    assert {item.pair.level for item in shelf.look(datasets.items, paper)} == {3}
    with pytest.raises(BadThresholds):
        shelf.do(datasets.freeze, me, "wrong", thresholds=(0.9, 0.5, 0.1))


def test_later_reviews_change_the_next_version_and_never_this_one(shelf, me, frozen):
    before = shelf.look(datasets.items, frozen)
    first, second = before[0].pair.pair_id, before[1].pair.pair_id
    shelf.do(reviews.decide, me, ReviewItem("r", first, 2, "reject"))
    shelf.do(reviews.decide, me, ReviewItem("e", second, 2, "edit", chosen="another text"))
    assert shelf.look(datasets.items, frozen) == before
    assert shelf.look(datasets.verify, frozen) == shelf.look(datasets.get, frozen).content_sha256
    following = shelf.do(datasets.freeze, me, "first", held_out_share=0.2)
    assert shelf.look(datasets.get, following).number == 2
    after = {item.pair.pair_id: item.pair.chosen for item in shelf.look(datasets.items, following)}
    assert first not in after
    assert after[second] == "another text"


def test_freezing_the_same_again_is_the_same_version(shelf, me, frozen):
    assert shelf.do(datasets.freeze, me, "first", held_out_share=0.2) == frozen
    assert len(shelf.look(datasets.listing)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE dataset_version SET n_pairs = 1",
        "DELETE FROM dataset_version",
        "INSERT OR REPLACE INTO dataset_version SELECT * FROM dataset_version",
        "UPDATE dataset_item SET split = 'train'",
        "DELETE FROM dataset_item",
        "INSERT OR REPLACE INTO dataset_item SELECT * FROM dataset_item",
    ],
)
def test_a_frozen_version_cannot_be_changed(shelf, me, database, statement):
    shelf.do(reviews.decide, me, ReviewItem("a", shelf.pair(), 1, "accept"))
    shelf.do(datasets.freeze, me, "v")
    connection = sqlite3.connect(database.path, isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError, match="frozen"):
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE pair SET chosen = 'X' || substr(chosen, 2) WHERE id = 1",
        "UPDATE pair SET prompt = upper(prompt) WHERE id = 3",
        "UPDATE pair SET difficulty = 0.7 WHERE id = 2",
        "UPDATE video SET times_sha256 = 'y' WHERE id = 2",
        "UPDATE timeline SET clips = replace(clips, '[3,6]', '[3,7]') WHERE id = 1",
        "UPDATE plan SET clip_order = '[3,1,2,0]' WHERE id = 1",
    ],
)
def test_one_changed_byte_anywhere_in_what_training_reads_is_drift(shelf, frozen, database, change):
    connection = sqlite3.connect(database.path)
    assert connection.execute(change).rowcount == 1
    connection.commit()
    connection.close()
    with pytest.raises(DatasetDrift, match="Freeze a new version, or restore a backup"):
        shelf.look(datasets.verify, frozen)


def test_a_video_that_moved_is_no_drift(shelf, frozen, database):
    connection = sqlite3.connect(database.path)
    connection.execute("UPDATE location SET rel_path = 'moved/' || rel_path")
    connection.commit()
    connection.close()
    shelf.look(datasets.verify, frozen)


def test_only_an_admin_freezes(shelf, ada):
    with pytest.raises(NotAllowed):
        shelf.do(datasets.freeze, ada, "hers")


# ---- SFT sets and curricula -----------------------------------------------------------------------------------------
def drafts(shelf):
    shelf.pair("a")
    return [SftDraft(f"e{n}", shelf.ids["a"], 1, f"Which event is number {n}?", f"event {n}") for n in range(3)]


def test_an_sft_set_is_known_by_its_content(shelf, me):
    first = shelf.do(sft_sets.create, me, "questions", "world", drafts(shelf))
    assert shelf.do(sft_sets.create, me, "another name", "world", drafts(shelf)) == first
    assert shelf.do(sft_sets.create, me, "fewer", "world", drafts(shelf)[:2]) != first
    example = shelf.look(sft_sets.items, first)[1]
    assert (example.example_id, example.question, example.answer) == ("e1", "Which event is number 1?", "event 1")
    assert example.clip_key_frames == ((3, 6), (13, 16), (23, 26), (33, 36))


def test_a_changed_answer_is_drift(shelf, me, database):
    set_id = shelf.do(sft_sets.create, me, "questions", "world", drafts(shelf))
    shelf.look(sft_sets.verify, set_id)
    connection = sqlite3.connect(database.path)
    connection.execute("UPDATE sft_item SET answer = 'event 9' WHERE ordinal = 2")
    connection.commit()
    connection.close()
    with pytest.raises(DatasetDrift, match="questions"):
        shelf.look(sft_sets.verify, set_id)


def test_an_sft_set_needs_examples_of_known_timelines(shelf, me):
    with pytest.raises(TooFew):
        shelf.do(sft_sets.create, me, "none", "jsonl", [])
    with pytest.raises(Unknown, match="timeline 9"):
        shelf.do(sft_sets.create, me, "lost", "jsonl", [SftDraft("e", 1, 9, "q", "a")])


def test_a_curriculum_is_known_by_its_settings(shelf, me):
    first = shelf.do(curricula.save, me, "mine", (0.2, 0.5, 0.8), "measured", "mixed")
    assert shelf.do(curricula.save, me, "twin", (0.2, 0.5, 0.8), "measured", "mixed") == first
    card = shelf.look(curricula.get, first)
    assert (card.name, card.thresholds, card.pacing) == ("mine", (0.2, 0.5, 0.8), "mixed")
    with pytest.raises(BadThresholds):
        shelf.do(curricula.save, me, "wrong", (0.5, 0.2, 0.8))


def test_what_is_shown_before_freezing_is_what_a_version_then_holds(shelf, me):
    """The curriculum page plans these; training plans the frozen ones. Swapped and edited answers have new lengths."""
    made = [shelf.pair(video, n, chosen="red, green, red", rejected="blue") for video in VIDEOS for n in (0, 1)]
    shelf.do(reviews.decide, me, ReviewItem("s", made[0], 1, "swap"))
    shelf.do(reviews.decide, me, ReviewItem("e", made[1], 1, "edit", chosen="grün", rejected="blau und rot"))
    shelf.do(bulk.decide, me, PairFilter(), "accepted", token="all")
    cuts = (0.3, 0.3, 0.9)
    shown = shelf.look(difficulties.refs, cuts, "measured", PairFilter(status="accepted"))
    kept_back = datasets.held_out({ref.video_key for ref in shown}, 0.2, 3)
    version = shelf.do(datasets.freeze, me, "v", thresholds=cuts, seed=3)
    frozen = [pair_ref(item.pair) for item in shelf.look(datasets.items, version, "train")]
    assert [ref for ref in shown if ref.video_key not in kept_back] == frozen
    assert [(ref.n_chosen, ref.n_rejected) for ref in shown[:3]] == [(4, 15), (4, 12), (15, 4)]
