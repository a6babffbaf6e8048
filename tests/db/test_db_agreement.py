"""Agreement, disagreements, activity, and rules held to people: what counts and what must not."""

import time
from itertools import count

import pytest

from db import activity, agreement, bulk, campaigns, opinions, pairs, reviews, rule_checks, strata, withdrawals
from db.pair_filters import NO_FILTER, PairFilter
from db.reviews import ReviewItem
from db.strata import Asked
from tempo_core.errors import TooFew
from tempo_core.statistics import exact
from tempo_core.types import FilterVerdict

pytestmark = pytest.mark.long_on_postgres
TOKENS = count()


def item(pair_id, act, version=1, **values):
    return ReviewItem(f"g{next(TOKENS)}", pair_id, version, act, **values)


def decide(shelf, person, pair_id, act, **values):
    version = shelf.look(pairs.get, pair_id).version
    return shelf.do(reviews.decide, person, item(pair_id, act, version, **values))


@pytest.fixture
def second(shelf, me, ada):
    """Four pairs that Ada decided: accepted, rejected, swapped, flagged. Bob is asked about them."""
    for pair_id, act in zip(shelf.pairs(4), ("accept", "reject", "swap", "flag"), strict=True):
        decide(shelf, ada, pair_id, act)
    return shelf.do(campaigns.second, me, "second", seed=1)


def opine(shelf, person, campaign, *acts):
    for pair_id, act in enumerate(acts, 1):
        if act:
            shelf.do(opinions.give, person, campaign, item(pair_id, act))
    time.sleep(0.002)  # a later decision carries a later millisecond


def told(shelf):
    return {c.pair_id: (c.first, c.second, c.differ, c.resolved) for c in shelf.look(agreement.compared)}


def test_verdicts_are_about_the_pair_as_it_was_made(shelf, bob, second):
    opine(shelf, bob, second, "accept", "reject", "swap", "flag")
    assert told(shelf) == {
        1: ("good", "good", False, False),
        2: ("bad", "bad", False, False),
        3: ("bad", "bad", False, False),
        4: ("unsure", "unsure", False, False),
    }


def test_the_last_opinion_of_a_reader_counts(shelf, bob, second):
    opine(shelf, bob, second, "reject")
    opine(shelf, bob, second, "accept")
    assert told(shelf)[1] == ("good", "good", False, False)
    assert len(shelf.look(agreement.compared)) == 1


def test_the_last_decision_of_the_first_reviewer_counts_and_bulk_does_not(shelf, me, ada, bob):
    first, second_pair = shelf.pairs(2)
    shelf.do(bulk.decide, me, PairFilter(ids=(first,)), "accepted", token="b")
    time.sleep(0.002)
    for pair_id in (first, second_pair):
        decide(shelf, ada, pair_id, "accept")
        decide(shelf, ada, pair_id, "reject")
    made = shelf.do(campaigns.second, me, "after bulk")
    opine(shelf, bob, made, "accept", "reject")
    found = {c.pair_id: c for c in shelf.look(agreement.compared)}
    assert (found[1].first_by, found[1].first, found[1].differ) == ("Ada", "bad", True)
    assert found[2].first == "bad"


def test_what_was_taken_back_is_no_first_decision(shelf, me, ada, bob):
    (pair_id,) = shelf.pairs(1)
    saved = item(pair_id, "accept")
    shelf.do(reviews.decide, ada, saved)
    made = shelf.do(campaigns.second, me, "soon")
    shelf.do(reviews.decide, ada, item(pair_id, "undo", 2, of=saved.token))
    opine(shelf, bob, made, "reject")
    assert shelf.look(agreement.compared) == []


def test_a_disagreement_is_open_until_somebody_decides_again_and_still_counts_then(shelf, me, bob, second):
    opine(shelf, bob, second, "reject", "reject")
    (open_one,) = shelf.look(agreement.disagreements)
    assert (open_one.pair_id, open_one.first_by, open_one.second_by) == (1, "Ada", "Bob")
    decide(shelf, me, 1, "reject")
    assert shelf.look(agreement.disagreements) == []
    assert told(shelf)[1] == ("good", "bad", True, True)


def test_opinions_of_samples_are_no_second_opinions(shelf, me, bob, second):
    shelf.pairs(8, "b")
    made = shelf.do(campaigns.sample, me, "sample", NO_FILTER, Asked(tolerated=0.5))
    for pair_id, version in shelf.do(campaigns.claim, bob, made, 8):
        shelf.do(opinions.give, bob, made, item(pair_id, "left", version))
    assert shelf.look(agreement.compared) == []


def test_pairs_of_withdrawn_videos_leave_the_queue(shelf, me, bob, second):
    opine(shelf, bob, second, "reject")
    shelf.do(withdrawals.withdraw, me, shelf.ids["a"], "no licence")
    assert shelf.look(agreement.disagreements) == []


def test_overall_and_between_count_each_pair_once(shelf, bob, second):
    opine(shelf, bob, second, "accept", "accept", "swap", "flag")
    judged = shelf.look(agreement.compared)
    kappa, alpha = agreement.overall(judged)
    assert (kappa.n, alpha.n, kappa.observed) == (4, 4, 0.75)
    (both,) = agreement.between(judged)
    assert (both.first, both.second, both.figure.value) == ("Ada", "Bob", pytest.approx(kappa.value))


# ---- activity -------------------------------------------------------------------------------------------------------
def test_days_hold_decisions_opinions_and_bulk_apart(shelf, me, ada, bob, second):
    opine(shelf, bob, second, "accept")
    shelf.pairs(3, "b")
    shelf.do(bulk.decide, me, PairFilter(), "accepted", token="b")
    last = item(5, "reject", 2, dwell_ms=7000)
    shelf.do(reviews.decide, ada, last)
    shelf.do(reviews.decide, ada, item(5, "undo", 3, of=last.token))
    found = {line.person: line for line in shelf.look(activity.days)}
    assert (found["Ada"].decisions, found["Ada"].undone, found["Ada"].median_dwell_s) == (5, 1, 7.0)
    assert (found["Bob"].opinions, found["local"].bulk, found["local"].decisions) == (1, 3, 0)
    assert shelf.look(activity.median_dwell_s) == 7.0


# ---- rules and difficulty -------------------------------------------------------------------------------------------
FAILED = (FilterVerdict("length", False, 3.0, "ratio at most 1.5"),)


@pytest.fixture
def refused(shelf):
    """Four pairs that pass the rule `length` and six that fail it."""
    return shelf.pairs(4), [shelf.pair("b", number, verdicts=FAILED) for number in range(6)]


def rule(shelf):
    (found,) = shelf.look(rule_checks.rules)
    return found


def test_without_a_check_precision_is_not_known_and_recall_is_over_what_passed(shelf, ada, refused):
    decide(shelf, ada, refused[0][0], "reject")
    decide(shelf, ada, refused[0][1], "accept")
    decide(shelf, ada, refused[0][2], "flag")
    found = rule(shelf)
    assert (found.refused, found.refused_seen, found.precision.value) == (6, 0, None)
    assert (found.precision.low, found.precision.high) == (0.0, 1.0)
    assert (found.recall.n_yes, found.recall.n, found.recall.value) == (0, 1, 0.0)


def test_a_check_asks_blind_about_refused_pairs_and_changes_none(shelf, me, bob, refused):
    made = shelf.do(campaigns.check_rules, me, "check", 4, seed=1)
    card = shelf.look(campaigns.card, made)
    assert (card.blind, card.n_asked, card.n_done) == (True, 8, 0)
    asked = [pair_id for pair_id, _ in shelf.do(campaigns.claim, bob, made, 99)]
    of_refused = [pair_id for pair_id in asked if pair_id in refused[1]]
    assert len(of_refused) == 4
    for number, pair_id in enumerate(of_refused):
        side = campaigns.left_is_chosen(made, pair_id, bob.id)
        good = number == 0
        shelf.do(opinions.give, bob, made, item(pair_id, "left" if side == good else "right"))
    assert {shelf.look(pairs.get, pair_id).status for pair_id in of_refused} == {"filtered"}
    found = rule(shelf)
    assert (found.refused_seen, found.precision.n_yes, found.precision.n) == (4, 3, 4)
    assert (found.precision.low, found.precision.high) == exact(3, 4)
    assert (found.recall.n_yes, found.recall.n, found.weighted) == (3, 3, None)
    for number, pair_id in enumerate(set(asked) - set(of_refused)):
        side = campaigns.left_is_chosen(made, pair_id, bob.id)
        shelf.do(opinions.give, bob, made, item(pair_id, "left" if side == (number > 0) else "right"))
    # 3 of 4 refused pairs that were read are bad, of 6; 1 of 4 that passed, of 4: 4.5 of 5.5.
    assert rule(shelf).weighted == pytest.approx(4.5 / 5.5)
    assert rule(shelf).recall.n == 4
    assert shelf.look(campaigns.card, made).n_done == 8


def test_bulk_decisions_say_nothing_of_a_rule_or_a_level(shelf, me, refused):
    shelf.do(bulk.decide, me, PairFilter(), "rejected", token="b")
    assert rule(shelf).recall.n == 0
    assert all(c.rejected.n == 0 for c in shelf.look(rule_checks.by_level))


def test_levels_are_held_to_what_people_rejected(shelf, ada):
    ids = shelf.pairs(8)
    for number, pair_id in enumerate(ids):
        decide(shelf, ada, pair_id, "reject" if number >= 6 else "accept")
    found = {c.level: (c.rejected.n_yes, c.rejected.n) for c in shelf.look(rule_checks.by_level)}
    assert found == {1: (0, 2), 2: (0, 2), 3: (0, 2), 4: (2, 2)}


def test_there_is_nothing_to_check_where_no_rule_refused_anything(shelf, me):
    shelf.pairs(2)
    with pytest.raises(TooFew, match="nothing to check"):
        shelf.do(campaigns.check_rules, me, "check", 4)


def test_pairs_of_a_rule_check_stay_free_for_samples(shelf, me, refused):
    shelf.do(campaigns.check_rules, me, "check", 4)
    assert sum(shelf.look(strata.sizes, NO_FILTER).values()) == 4
