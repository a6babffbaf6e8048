"""Campaigns: who is asked about which pairs, and opinions that are never lost, never doubled and change no pair."""

import threading
from itertools import count

import pytest

from db import bulk, campaigns, opinions, pairs, people, reviews, withdrawals
from db.pair_filters import NO_FILTER, PairFilter
from db.reviews import Conflict, ReviewItem, Saved
from db.strata import Asked
from tempo_core.errors import BadSettings, NotAllowed, TempoError, TooFew, Unknown

pytestmark = pytest.mark.long_on_postgres

TOKENS = count()


def item(pair_id, act, **values):
    return ReviewItem(values.pop("token", f"o{next(TOKENS)}"), pair_id, values.pop("version", 1), act, **values)


@pytest.fixture
def decided(shelf, ada):
    """Six pairs that Ada decided one by one."""
    ids = shelf.pairs(6)
    for pair_id in ids:
        shelf.do(reviews.decide, ada, item(pair_id, "accept"))
    return ids


@pytest.fixture
def second(shelf, me, decided):
    return shelf.do(campaigns.second, me, "second look", seed=1)


@pytest.fixture
def sample(shelf, me):
    """Eight pending pairs, all to be read blind."""
    shelf.pairs(8)
    return shelf.do(campaigns.sample, me, "first sample", NO_FILTER, Asked(), seed=1)


def claimed(shelf, person, campaign, n=8):
    return [pair_id for pair_id, _ in shelf.do(campaigns.claim, person, campaign, n)]


def test_a_second_opinion_is_asked_of_others_than_the_first_reviewer(shelf, ada, bob, second, decided):
    assert claimed(shelf, ada, second) == []
    assert sorted(claimed(shelf, bob, second)) == decided
    refused = shelf.do(opinions.give, ada, second, item(decided[0], "reject"))
    assert isinstance(refused, Conflict)
    assert "decided this pair yourself" in refused.text


def test_the_order_is_drawn_by_the_seed(shelf, me, bob, decided):
    orders = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        made = shelf.do(campaigns.second, me, name, seed=seed)
        orders.append(claimed(shelf, bob, made))
    assert orders[0] == orders[1] != orders[2]


def test_pairs_decided_in_bulk_are_not_asked_about(shelf, me, decided):
    others = shelf.pairs(3, "b")
    shelf.do(bulk.decide, me, PairFilter(), "accepted", token="all")
    assert shelf.look(campaigns.decided) == decided
    assert not set(others) & set(shelf.look(campaigns.decided))


def test_a_share_is_rounded_up(shelf, me, bob, decided):
    made = shelf.do(campaigns.second, me, "a third", share=0.3)
    assert shelf.look(campaigns.card, made).n_asked == 2


def test_two_readers_hold_different_pairs(shelf, bob, second):
    cyd = shelf.person("Cyd")
    first, later = claimed(shelf, bob, second, 3), claimed(shelf, cyd, second, 8)
    assert len(first) == len(later) == 3
    assert not set(first) & set(later)
    assert claimed(shelf, bob, second, 3) == first


@pytest.mark.parametrize(
    ("act", "verdict"), [("accept", "good"), ("reject", "bad"), ("swap", "bad"), ("flag", "unsure")]
)
def test_an_opinion_changes_no_pair(shelf, bob, second, decided, act, verdict):
    before = shelf.look(pairs.get, decided[0])
    saved = shelf.do(opinions.give, bob, second, item(decided[0], act))
    assert isinstance(saved, Saved)
    after = shelf.look(pairs.get, decided[0])
    assert (after.status, after.version) == (before.status, before.version)
    assert standing_verdicts(shelf, second) == {decided[0]: verdict}


def standing_verdicts(shelf, campaign):
    from db.opinion_standings import standing
    from db.tables import OpinionRow

    with shelf.database.reading() as session:
        rows = session.execute(
            standing(OpinionRow.pair_id, OpinionRow.verdict).where(OpinionRow.campaign_id == campaign)
        )
        return dict(rows.all())


@pytest.mark.parametrize("act", ["left", "right", "tie"])
def test_a_blind_act_is_read_by_the_side_of_that_reader(shelf, bob, sample, act):
    found = {}
    for pair_id in claimed(shelf, bob, sample):
        side = campaigns.left_is_chosen(sample, pair_id, bob.id)
        shelf.do(opinions.give, bob, sample, item(pair_id, act), left_is_chosen=side)
        found[pair_id] = "unsure" if act == "tie" else "good" if (act == "left") == side else "bad"
    assert standing_verdicts(shelf, sample) == found
    assert act == "tie" or len(set(found.values())) == 2


def test_sides_differ_between_readers_and_pairs():
    sides = [[campaigns.left_is_chosen(1, pair, person) for pair in range(400)] for person in (1, 2)]
    assert sides[0] != sides[1]
    assert all(150 < sum(of) < 250 for of in sides)


def test_sides_that_the_desk_showed_otherwise_are_refused(shelf, bob, sample):
    pair_id = claimed(shelf, bob, sample)[0]
    wrong = not campaigns.left_is_chosen(sample, pair_id, bob.id)
    with pytest.raises(TempoError, match="Reload the page"):
        shelf.do(opinions.give, bob, sample, item(pair_id, "left"), left_is_chosen=wrong)


def test_acts_of_the_other_kind_of_campaign_are_refused(shelf, bob, second, decided, me):
    with pytest.raises(TempoError, match="cannot edit"):
        shelf.do(opinions.give, bob, second, item(decided[0], "edit", chosen="better"))
    shelf.pairs(8, "b")
    blind = shelf.do(campaigns.sample, me, "blind", NO_FILTER, Asked())
    with pytest.raises(TempoError, match="knows left, right and tie"):
        shelf.do(opinions.give, bob, blind, item(claimed(shelf, bob, blind)[0], "accept"))


def test_the_same_token_again_is_the_same_opinion(shelf, bob, ada, second, decided):
    once = item(decided[0], "accept", token="once")
    assert not shelf.do(opinions.give, bob, second, once).repeated
    assert shelf.do(opinions.give, bob, second, once).repeated
    assert isinstance(shelf.do(opinions.give, ada, second, once), Conflict)
    assert shelf.look(campaigns.card, second).n_done == 1


def test_the_second_of_two_readers_is_told_who_was_first_but_not_what_was_said(shelf, bob, second, decided):
    cyd = shelf.person("Cyd")
    shelf.do(opinions.give, bob, second, item(decided[0], "reject"))
    lost = shelf.do(opinions.give, cyd, second, item(decided[0], "accept"))
    assert isinstance(lost, Conflict)
    assert (lost.by, lost.verdict) == ("Bob", "judged")
    assert decided[0] not in claimed(shelf, cyd, second)


def test_undo_goes_back_opinion_by_opinion(shelf, bob, second, decided):
    pair_id = decided[0]
    for act, token in (("accept", "a"), ("reject", "b"), ("flag", "c")):
        shelf.do(opinions.give, bob, second, item(pair_id, act, token=token))
    shelf.do(opinions.give, bob, second, item(pair_id, "reason", of="c", reason="other", token="why"))
    for of, left in (("c", "bad"), ("b", "good"), ("a", None)):
        assert isinstance(shelf.do(opinions.give, bob, second, item(pair_id, "undo", of=of)), Saved)
        assert standing_verdicts(shelf, second).get(pair_id) == left
    assert isinstance(shelf.do(opinions.give, bob, second, item(pair_id, "undo", of="a")), Conflict)
    assert pair_id in claimed(shelf, bob, second)


def test_a_skipped_pair_comes_again_at_the_end(shelf, bob, second):
    first = claimed(shelf, bob, second, 2)
    shelf.do(opinions.give, bob, second, item(first[0], "skip"))
    assert claimed(shelf, bob, second)[-1] == first[0]
    assert shelf.look(campaigns.card, second).n_done == 0


def test_a_closed_campaign_asks_nobody_and_takes_nothing(shelf, me, bob, second, decided):
    shelf.do(campaigns.close, me, second)
    assert claimed(shelf, bob, second) == []
    assert isinstance(shelf.do(opinions.give, bob, second, item(decided[0], "accept")), Conflict)


def test_pairs_of_withdrawn_videos_are_not_asked_about(shelf, me, bob, second, decided):
    shelf.do(withdrawals.withdraw, me, shelf.ids["a"], "no licence")
    assert claimed(shelf, bob, second) == []
    assert shelf.look(campaigns.decided) == []
    assert shelf.look(campaigns.card, second).n_asked == 0


def test_progress_counts_what_this_reader_did_and_what_is_left(shelf, bob, second, decided):
    shelf.do(opinions.give, bob, second, item(decided[0], "accept", dwell_ms=4000))
    found = shelf.look(campaigns.progress, second, bob)
    assert (found.done, found.total, found.median_dwell_s) == (1, 6, 4.0)


def test_pairs_that_are_not_asked_about_are_refused(shelf, bob, second):
    other = shelf.pair("b")
    with pytest.raises(Unknown, match="does not ask about"):
        shelf.do(opinions.give, bob, second, item(other, "accept"))
    with pytest.raises(Unknown, match="no campaign 99"):
        shelf.do(campaigns.claim, bob, 99, 1)


def test_campaigns_need_an_admin_a_name_and_pairs(shelf, me, bob, decided):
    with pytest.raises(NotAllowed):
        shelf.do(campaigns.second, bob, "mine")
    with pytest.raises(BadSettings, match="name"):
        shelf.do(campaigns.second, me, "  ")
    shelf.do(campaigns.second, me, "one")
    with pytest.raises(BadSettings, match="already"):
        shelf.do(campaigns.second, me, "one")
    with pytest.raises(TooFew, match="widen the filter"):
        shelf.do(campaigns.second, me, "none", PairFilter(kinds=("drop",)))
    viewer = shelf.do(people.add, "test|eye", "Eye", "viewer")
    with pytest.raises(NotAllowed):
        shelf.do(campaigns.claim, viewer, 1, 8)


@pytest.mark.parametrize("n_readers", [1, 2])
def test_eight_readers_at_once_judge_each_pair_as_often_as_asked(shelf, me, ada, n_readers):
    for video in "bcdefgh":
        for pair_id in shelf.pairs(8, video):
            shelf.do(reviews.decide, ada, item(pair_id, "accept"))
    made = shelf.do(campaigns.second, me, "crowd", readers=n_readers)
    crowd, given, failed = [shelf.person(f"R{i}") for i in range(8)], [], []

    def read(person):
        try:
            while mine := claimed(shelf, person, made, 4):
                for pair_id in mine:
                    done = shelf.do(opinions.give, person, made, item(pair_id, "accept"))
                    if isinstance(done, Saved):
                        given.append((person.id, pair_id))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=read, args=(person,)) for person in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(given) == len(set(given)) == 56 * n_readers
    assert sorted(pair for _, pair in given) == sorted(shelf.look(campaigns.decided) * n_readers)
    assert shelf.look(campaigns.card, made).n_done == 56 * n_readers
