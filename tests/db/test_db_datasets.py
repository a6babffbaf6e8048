"""Frozen data: what was accepted, as it was accepted, and any later change shows."""

import hashlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from db import (
    bulk,
    curricula,
    dataset_history,
    datasets,
    difficulties,
    jobs,
    models,
    reviews,
    runs,
    sft_sets,
    splits,
    withdrawals,
)
from db.pair_filters import PairFilter
from db.reviews import ReviewItem
from db.sft_sets import SftDraft
from db.tables import SavedViewRow
from jobs.starting import pair_ref
from tempo_core.errors import BadSettings, BadThresholds, DatasetDrift, NotAllowed, TooFew, Unknown
from tempo_core.recipes import PRESETS

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


@pytest.mark.sqlite
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
    with database.session() as session:
        assert session.execute(text(change)).rowcount == 1
    with pytest.raises(DatasetDrift, match="Freeze a new version, or restore a backup"):
        shelf.look(datasets.verify, frozen)


def test_a_video_that_moved_is_no_drift(shelf, frozen, database):
    with database.session() as session:
        session.execute(text("UPDATE location SET rel_path = 'moved/' || rel_path"))
    shelf.look(datasets.verify, frozen)


def test_only_an_admin_freezes(shelf, ada):
    with pytest.raises(NotAllowed):
        shelf.do(datasets.freeze, ada, "hers")


# ---- before freezing ------------------------------------------------------------------------------------------------
def test_the_preview_counts_what_a_version_then_holds(shelf, me):
    for video in VIDEOS:
        shelf.pair(video, 0, difficulty=0.1)
        shelf.pair(video, 1, difficulty=0.9, kind="drop")
    shelf.do(bulk.decide, me, PairFilter(), "accepted", token="all")
    seen = shelf.look(datasets.preview, held_out_share=0.3, seed=2)
    version = shelf.do(datasets.freeze, me, "v", held_out_share=0.3, seed=2)
    card, held = shelf.look(datasets.get, version), shelf.look(datasets.items, version, "held_out")
    assert (
        (seen.n_pairs, seen.n_held_out, seen.n_videos) == (card.n_pairs, card.n_held_out, card.n_videos) == (20, 6, 10)
    )
    assert seen.n_videos_held_out == len({item.video_id for item in held}) == 3
    assert seen.levels[1] == (14, 6) and seen.levels[None] == (0, 0) and seen.videos_of_level == {1: 7}
    assert seen.kinds == {"drop": (7, 3), "shuffle": (7, 3)}
    assert (seen.n_withdrawn, seen.copies_job, seen.n_together) == (0, None, 0)


def test_pairs_of_a_withdrawn_video_stay_out_of_the_next_version_and_the_last_one_says_so(shelf, me, frozen):
    shelf.do(withdrawals.withdraw, me, 3, "no licence")
    assert shelf.look(datasets.withdrawn, frozen) == 2
    assert shelf.look(datasets.verify, frozen)
    assert shelf.look(datasets.preview).n_withdrawn == 2
    following = shelf.do(datasets.freeze, me, "first", PairFilter(withdrawn="too"))
    assert shelf.look(datasets.get, following).n_pairs == 18 and shelf.look(datasets.withdrawn, following) == 0
    change = shelf.look(dataset_history.difference, frozen, following)
    assert len(change.removed) == 2 and change.added == ()


def test_a_version_keeps_where_its_settings_come_from_and_a_name_is_needed(shelf, me):
    shelf.do(reviews.decide, me, ReviewItem("a", shelf.pair(), 1, "accept"))
    version = shelf.do(datasets.freeze, me, " v ", origin={"curriculum": "gentle", "view": "short ones"})
    card = shelf.look(datasets.get, version)
    assert (card.name, card.criteria["curriculum"], card.criteria["view"]) == ("v", "gentle", "short ones")
    assert card.criteria["sampling"] == [] and card.criteria["copies_job"] is None
    for name in ("", "  ", "x" * 81):
        with pytest.raises(BadSettings, match="name holds 1 to 80"):
            shelf.do(datasets.freeze, me, name)


def test_a_saved_view_of_the_pairs_page_names_the_pairs_of_a_version(shelf, me):
    with shelf.database.session() as session:
        query = {"kinds": "drop,reverse", "order": "hardest", "status": "pending"}
        for page, name in (("pairs", "short"), ("library", "other")):
            session.add(SavedViewRow(page=page, name=name, query=query, created_by=me.id, created_ms=1))
    assert shelf.look(datasets.views) == {"short": query}
    assert shelf.look(datasets.of_view, "short") == PairFilter(kinds=("drop", "reverse"))
    with pytest.raises(Unknown, match="Saved are short"):
        shelf.look(datasets.of_view, "other")


# ---- videos that share footage --------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(12))
def test_videos_that_share_footage_are_held_out_together_or_not_at_all(seed):
    groups = [("a", "b", "c"), ("d", "e"), ("z", "y")]
    kept_back = splits.held_out(set(VIDEOS), 0.4, seed, groups)
    assert 1 <= len(kept_back) <= 4
    assert all(set(group) <= kept_back or not set(group) & kept_back for group in groups)


def test_without_shared_footage_the_draw_is_what_it_was():
    drawn = sorted(VIDEOS, key=lambda sha: hashlib.sha256(f"7|{sha}".encode()).hexdigest())
    assert datasets.held_out(set(VIDEOS), 0.3, 7) == set(drawn[:3])


def test_a_group_larger_than_the_share_is_held_out_only_where_nothing_else_is_left():
    assert splits.held_out(set("abcde"), 0.2, 0, [("a", "b", "c", "d", "e")]) == set()
    assert splits.held_out(set("abcdef"), 0.1, 0, [("a", "b", "c"), ("d", "e", "f")]) in (set("abc"), set("def"))


def test_the_last_search_for_copies_tells_which_videos_stay_together(shelf, me, frozen):
    assert shelf.look(splits.copies) == (None, [])
    with shelf.database.session() as session:
        job = jobs.enqueue(session, "copies", {}, created_by=me.id, needs="cpu")
        session.execute(
            text("UPDATE job SET state = 'succeeded', result = :r WHERE id = :i"),
            {"r": '{"groups": [[1, 2, 3, 4], [5, 6]]}', "i": job.id},
        )
    seen = shelf.look(datasets.preview, held_out_share=0.4)
    assert seen.copies_job and seen.n_together == 6
    version = shelf.do(datasets.freeze, me, "together", held_out_share=0.4)
    held = {item.video_id for item in shelf.look(datasets.items, version, "held_out")}
    assert all(group <= held or not group & held for group in ({1, 2, 3, 4}, {5, 6}))
    assert shelf.look(datasets.get, version).criteria["copies_job"] == seen.copies_job


# ---- between two versions -------------------------------------------------------------------------------------------
def test_the_difference_names_what_came_what_went_and_what_changed_in_each_pair(shelf, me, frozen):
    gone, swapped, edited, *_ = (item.pair.pair_id for item in shelf.look(datasets.items, frozen))
    shelf.do(reviews.decide, me, ReviewItem("r", gone, 2, "reject"))
    shelf.do(reviews.decide, me, ReviewItem("s", swapped, 2, "swap"))
    shelf.do(reviews.decide, me, ReviewItem("e", edited, 2, "edit", rejected="another text"))
    new = shelf.pair("k", 0, difficulty=0.99)
    shelf.do(reviews.decide, me, ReviewItem("n", new, 1, "accept"))
    following = shelf.do(datasets.freeze, me, "first", held_out_share=0.2, thresholds=(0.25, 0.6, 0.97))
    found = shelf.look(dataset_history.difference, frozen, following)
    assert (found.added, found.removed) == ((new,), (gone,))
    what = {change.pair_id: change.what for change in found.changed}
    assert what[swapped][0] == "swapped" and what[edited][0] == "rejected"
    moved = [change for change in found.changed if "split" in change.what]
    assert all(change.splits[0] != change.splits[1] for change in moved)
    levels = [change for change in found.changed if "level" in change.what]
    assert levels and all(change.levels[0] != change.levels[1] for change in levels)
    assert found.n_same + len(found.changed) == 19 and found.counts["swapped"] == 1
    back = shelf.look(dataset_history.difference, following, frozen)
    assert (back.added, back.removed, back.n_same) == (found.removed, found.added, found.n_same)
    same = shelf.look(dataset_history.difference, frozen, frozen)
    assert (same.added, same.removed, same.changed, same.n_same) == ((), (), (), 20)


def test_a_version_tells_which_runs_read_it(shelf, me, frozen):
    assert shelf.look(dataset_history.uses) == {}
    with shelf.database.session() as session:
        model = models.register(session, Path("/models/tiny"), "tiny", "0" * 64, "tiny")
        curriculum = curricula.save(session, me, "gentle", (0.4, 0.6, 0.8))
        config = replace(PRESETS["embedded"], recipe="dpo")
        run = runs.create(session, me, config, model, dataset_version_id=frozen, curriculum_id=curriculum)
    (use,) = shelf.look(dataset_history.uses)[frozen]
    assert (use.run_id, use.recipe, use.n_figures) == (run, "dpo", 0)
    assert shelf.look(curricula.get, curriculum).n_runs == 1
    with pytest.raises(NotAllowed, match="a run names it"):
        shelf.do(curricula.remove, me, curriculum)


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
    with database.session() as session:
        session.execute(text("UPDATE sft_item SET answer = 'event 9' WHERE ordinal = 2"))
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


def test_a_curriculum_is_renamed_and_forgotten_by_who_saved_it(shelf, me, ada, bob):
    hers = shelf.do(curricula.save, ada, " hers  ", (0.2, 0.5, 0.8))
    his = shelf.do(curricula.save, bob, "his", (0.1, 0.5, 0.8))
    assert shelf.look(curricula.same, (0.2, 0.5, 0.8)).name == "hers"
    for verb in (lambda s: curricula.rename(s, bob, hers, "mine"), lambda s: curricula.remove(s, bob, hers)):
        with pytest.raises(NotAllowed, match="is Ada's"):
            shelf.do(verb)
    for name, told in (("his", "called 'his'"), ("", "1 to 80"), ("x" * 81, "1 to 80")):
        with pytest.raises(BadSettings, match=told):
            shelf.do(curricula.rename, ada, hers, name)
    shelf.do(curricula.rename, ada, hers, "gentle")
    shelf.do(curricula.rename, ada, hers, "gentle")
    shelf.do(curricula.remove, me, his)
    assert [(card.name, card.by, card.n_runs) for card in shelf.look(curricula.listing)] == [("gentle", "Ada", 0)]
    with pytest.raises(Unknown):
        shelf.look(curricula.get, his)


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
