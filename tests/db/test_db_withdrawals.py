"""A withdrawn video leaves what comes next, stays in what was frozen, and comes back as it was."""

import pytest
from shelf import sha

from db import datasets, run_notes, runs, timelines, videos, withdrawals
from db.tables import VideoRow
from db.withdrawals import NotWithdrawn
from tempo_core.errors import NotAllowed, Unknown
from tempo_core.recipes import RunConfig

pytestmark = pytest.mark.long_on_postgres


def withdrawn(shelf, person, video_id, why="The owner asked for it.", cause="privacy"):
    shelf.do(videos.withdraw, person, video_id, why, cause=cause)


def ids(shelf):
    with shelf.database.reading() as session:
        return sorted(session.execute(videos.withdrawn_ids()).scalars())


def test_a_withdrawn_video_is_kept_no_more_says_why_and_keeps_its_file(shelf, me):
    video_id, other = shelf.video("a"), shelf.video("b")
    shelf.timeline(video_id), shelf.timeline(other)
    path = shelf.look(videos.path_of, video_id)
    before = path.read_bytes()
    withdrawn(shelf, me, video_id)
    card = shelf.look(videos.get, video_id)
    assert (card.status, card.reason) == ("quarantine", "withdrawn")
    assert card.message == "privacy: The owner asked for it."
    assert ids(shelf) == [video_id]
    assert [kept.video_id for kept in shelf.look(timelines.kept)] == [other]
    assert path.read_bytes() == before


def test_a_video_that_is_given_back_has_the_status_it_had_and_its_history(shelf, me):
    good = shelf.video("a")
    library = shelf.do(videos.library, shelf.folder)
    bad = shelf.do(videos.record_failure, library, "bad.mp4", None, "no_video", "bad.mp4 holds no video stream.")
    for video_id in (good, bad):
        withdrawn(shelf, me, video_id)
    assert [shelf.do(videos.give_back, me, video_id) for video_id in (good, bad)] == ["ok", "corrupt"]
    card = shelf.look(videos.get, bad)
    assert (card.reason, card.message) == ("no_video", "bad.mp4 holds no video stream.")
    withdrawn(shelf, me, good, "Licence ran out", cause="licence")
    told = shelf.look(withdrawals.history, good)
    assert [(w.cause, w.why, w.by, w.given_back_by) for w in told] == [
        ("privacy", "The owner asked for it.", "local", "local"),
        ("licence", "Licence ran out", "local", None),
    ]


def test_scanning_again_neither_brings_a_withdrawn_video_back_nor_loses_what_it_was(shelf, me):
    video_id = shelf.video("a")
    withdrawn(shelf, me, video_id)
    assert shelf.video("a", n_frames=500) == video_id
    assert ids(shelf) == [video_id]
    library = shelf.do(videos.library, shelf.folder)
    shelf.do(videos.record_failure, library, "a.mp4", sha("a"), "timeout", "took too long")
    assert shelf.do(videos.give_back, me, video_id) == "ok"
    assert shelf.look(videos.get, video_id).n_frames == 500
    shelf.video("a")
    assert len(shelf.look(withdrawals.history, video_id)) == 1


def test_a_withdrawn_video_whose_file_goes_stays_withdrawn_and_is_missing_when_given_back(shelf, me):
    video_id = shelf.video("a")
    withdrawn(shelf, me, video_id)
    library = shelf.do(videos.library, shelf.folder)
    shelf.do(videos.mark_absent, library, [])
    assert ids(shelf) == [video_id]
    assert shelf.do(videos.give_back, me, video_id) == "missing"
    shelf.video("a")
    assert shelf.look(videos.get, video_id).status == "ok"


def test_withdrawing_twice_keeps_the_first_reason(shelf, me):
    video_id = shelf.video("a")
    withdrawn(shelf, me, video_id, "first")
    withdrawn(shelf, me, video_id, "second")
    assert [w.why for w in shelf.look(withdrawals.history, video_id)] == ["first"]


@pytest.mark.parametrize(
    ("why", "cause", "said"),
    [("  ", "licence", "Say why"), ("x" * 501, "licence", "now 501"), ("x", "boredom", "licence, privacy, other")],
)
def test_a_withdrawal_without_a_reason_is_refused(shelf, me, why, cause, said):
    video_id = shelf.video("a")
    with pytest.raises(NotWithdrawn, match=said):
        withdrawn(shelf, me, video_id, why, cause)
    assert ids(shelf) == []


def test_only_an_admin_withdraws_and_gives_back_and_only_what_is_there(shelf, me, ada):
    video_id = shelf.video("a")
    for verb, arguments in ((videos.withdraw, ("why",)), (videos.give_back, ())):
        with pytest.raises(NotAllowed, match="needs admin"):
            shelf.do(verb, ada, video_id, *arguments)
    with pytest.raises(Unknown, match="404"):
        withdrawn(shelf, me, 404)
    with pytest.raises(NotWithdrawn, match=r"a\.mp4 is not withdrawn"):
        shelf.do(videos.give_back, me, video_id)


def test_frozen_versions_stay_what_they_were_and_they_and_their_runs_say_so(shelf, me, frozen):
    with shelf.database.reading() as session:
        item = next(item for item in datasets.items(session, frozen) if item.split == "train")
        base = session.get_one(VideoRow, item.video_id).name
    model, _, _ = shelf.asked()
    run_id = shelf.do(runs.create, me, RunConfig(recipe="dpo"), model, dataset_version_id=frozen)
    reach = shelf.look(withdrawals.reach, item.video_id)
    assert (reach.n_pairs, reach.n_accepted, reach.n_versions, reach.n_runs) == (2, 2, 1, 1)
    withdrawn(shelf, me, item.video_id)
    assert shelf.look(datasets.verify, frozen)
    assert shelf.look(withdrawals.of_versions) == {frozen: 2}
    expected = [(item.video_id, base, "privacy: The owner asked for it.")]
    assert shelf.look(withdrawals.in_version, frozen) == shelf.look(withdrawals.in_run, run_id) == expected
    (note,) = shelf.look(run_notes.listing, run_id)
    assert note.kind == "withdrawn" and f"{base} was withdrawn" in note.text and "this run used it" in note.text
    shelf.do(videos.give_back, me, item.video_id)
    assert shelf.look(withdrawals.of_versions) == {} and shelf.look(withdrawals.in_run, run_id) == []
    assert "given back" in shelf.look(run_notes.listing, run_id)[-1].text


def test_a_run_does_not_claim_a_video_that_its_version_only_held_out(shelf, me, frozen):
    with shelf.database.reading() as session:
        held = next(item.video_id for item in datasets.items(session, frozen) if item.split == "held_out")
    model, _, _ = shelf.asked()
    run_id = shelf.do(runs.create, me, RunConfig(recipe="dpo"), model, dataset_version_id=frozen)
    withdrawn(shelf, me, held)
    assert shelf.look(run_notes.listing, run_id) == () and shelf.look(withdrawals.in_run, run_id) == []
