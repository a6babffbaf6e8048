"""Samples of strata: drawn once, read blind, no verdict before the end, and the rest decided by what they say."""

from itertools import count

import pytest
from shelf import Shelf

from db import bulk, campaigns, opinions, pairs, reviews, settling, strata, verdicts, withdrawals
from db.campaigns import left_is_chosen
from db.pair_filters import NO_FILTER, PairFilter
from db.reviews import Conflict, ReviewItem
from db.settling import NoVerdict
from db.strata import Asked
from tempo_core import acceptance
from tempo_core.errors import NotAllowed, TooFew

pytestmark = pytest.mark.long_on_postgres
TOKENS = count()
LOOSE = Asked(tolerated=0.3, confidence=0.9, expected_bad=0.0, max_bad=1)
"""Samples small enough for a test: 8 or so of 40 pairs."""


def forty(shelf, kind="shuffle"):
    """Forty pairs of one kind on one level, of five videos."""
    offset = {"shuffle": 0, "reverse": 100}[kind]
    return [
        shelf.pair(video, offset + number, kind=kind, difficulty=0.5) for video in "abcde" for number in range(8)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def forty_pairs(engine, tmp_path_factory):
    """Forty pairs are prepared as "forty"; the shelf that made them."""
    made = []

    def fill(database):
        made.append(Shelf(database, tmp_path_factory.mktemp("forty")))
        forty(made[0])

    engine.fill("forty", fill, "empty")
    return made[0]


@pytest.fixture
def base(request):
    if "filled" in request.fixturenames:
        request.getfixturevalue("forty_pairs")
        return "forty"
    return "empty"


@pytest.fixture
def filled(forty_pairs, shelf):
    """The shelf's database has forty pairs."""
    shelf.recipe, shelf.folder, shelf.ids = forty_pairs.recipe, forty_pairs.folder, dict(forty_pairs.ids)


@pytest.fixture
def campaign(shelf, me, filled):
    return shelf.do(campaigns.sample, me, "sample", NO_FILTER, LOOSE, seed=7)


def judge(shelf, person, campaign, pair_id, verdict):
    side = left_is_chosen(campaign, pair_id, person.id)
    act = {"good": "left" if side else "right", "bad": "right" if side else "left", "unsure": "tie"}[verdict]
    token = f"s{next(TOKENS)}"
    shelf.do(opinions.give, person, campaign, ReviewItem(token, pair_id, 1, act, dwell_ms=2000), left_is_chosen=side)
    return token


def read(shelf, person, campaign, verdict_of, n=None, step=8):
    """Read on until nothing is asked any more, or for `n` pairs; what was read."""
    found = []
    while n is None or len(found) < n:
        mine = shelf.do(campaigns.claim, person, campaign, step)
        if not mine:
            break
        for pair_id, _ in mine[: None if n is None else n - len(found)]:
            judge(shelf, person, campaign, pair_id, verdict_of(len(found)))
            found.append(pair_id)
    return found


def only(shelf, campaign):
    (state,) = shelf.look(verdicts.states, campaign)
    return state


def statuses(shelf, ids):
    return [shelf.look(pairs.get, pair_id).status for pair_id in ids]


def test_strata_are_kind_level_and_model(shelf, me):
    for number in range(8):
        shelf.pair("a", number, kind="shuffle")
        shelf.pair("b", number, kind="drop", difficulty=0.5)
    found = shelf.look(strata.preview, NO_FILTER, Asked())
    assert [(s.kind, s.level, s.model, s.n_pairs) for s in found] == [
        ("drop", 1, "tiny", 8), ("shuffle", 1, "tiny", 2), ("shuffle", 2, "tiny", 2), ("shuffle", 3, "tiny", 2),
        ("shuffle", 4, "tiny", 2),
    ]  # fmt: skip
    assert all(s.plan.n_sample == s.n_pairs for s in found)
    made = shelf.do(campaigns.sample, me, "all", NO_FILTER, Asked())
    assert [(s.kind, s.level, s.n_pairs) for s in shelf.look(verdicts.states, made)] == [
        (s.kind, s.level, s.n_pairs) for s in found
    ]
    assert shelf.look(strata.sizes, NO_FILTER) == {}


def test_the_sample_is_the_beginning_of_a_stored_random_order(shelf, me, bob, campaign):
    state = only(shelf, campaign)
    assert (state.n_pairs, state.n_sample) == (40, acceptance.plan(40, 0.3, 0.9, max_bad=1).n_sample)
    read_in_order = read(shelf, bob, campaign, lambda _: "good")
    expected = acceptance.drawn_order(sorted(range(1, 41)), 7)[: state.n_sample]
    assert read_in_order == expected


def test_nothing_of_good_and_bad_is_told_before_the_sample_is_complete(shelf, me, bob, campaign):
    n_sample = only(shelf, campaign).n_sample
    read(shelf, bob, campaign, lambda i: "bad" if i == 0 else "good", n_sample - 1)
    state = only(shelf, campaign)
    assert (state.verdict, state.bad, state.bound, state.n_read) == ("reading", None, None, n_sample - 1)
    with pytest.raises(NoVerdict, match="no verdict yet"):
        shelf.do(settling.settle, me, state.id, "accepted")
    read(shelf, bob, campaign, lambda _: "good")
    state = only(shelf, campaign)
    assert (state.verdict, state.bad) == ("accepted", 1)
    assert state.bound == acceptance.bound(40, n_sample, 1, 0.9)


def test_a_stratum_fails_as_soon_as_it_must_and_is_read_no_further(shelf, me, bob, campaign):
    before = only(shelf, campaign)
    seen = read(shelf, bob, campaign, lambda _: "bad", step=1)
    state = only(shelf, campaign)
    assert (state.verdict, len(seen)) == ("refused", before.max_bad + 1)
    assert shelf.do(campaigns.claim, bob, campaign, 8) == []
    card = shelf.look(campaigns.card, campaign)
    assert (card.n_asked, card.n_done) == (before.max_bad + 1, before.max_bad + 1)
    with pytest.raises(NoVerdict, match="Reject the rest"):
        shelf.do(settling.settle, me, state.id, "accepted")


def test_a_pair_that_cannot_be_called_counts_as_bad(shelf, bob, campaign):
    read(shelf, bob, campaign, lambda _: "unsure")
    assert only(shelf, campaign).verdict == "refused"


def test_accepting_the_rest_decides_exactly_the_frozen_members_that_are_pending(shelf, me, ada, bob, campaign):
    later = shelf.pair("z", 0, kind="shuffle", difficulty=0.5)
    seen = read(shelf, bob, campaign, lambda i: "bad" if i == 0 else "good")
    rest = [pair_id for pair_id in range(1, 41) if pair_id not in seen]
    shelf.do(reviews.decide, ada, ReviewItem("mine", rest[0], 1, "reject"))
    done = shelf.do(settling.settle, me, only(shelf, campaign).id, "accepted")
    assert (done.n_read, done.n_rest, done.n_held) == (len(seen), len(rest) - 1, 0)
    assert statuses(shelf, seen) == ["rejected"] + ["accepted"] * (len(seen) - 1)
    assert statuses(shelf, rest) == ["rejected"] + ["accepted"] * (len(rest) - 1)
    assert statuses(shelf, [later]) == ["pending"]
    told = shelf.look(reviews.history, seen[1])[-1]
    assert (told.by, told.act) == ("Bob", "accept")
    assert shelf.look(reviews.history, rest[1])[-1].act == "bulk_accept"
    assert shelf.look(campaigns.card, campaign).closed_ms is not None


def test_what_was_decided_is_taken_back_as_one(shelf, me, bob, campaign):
    seen = read(shelf, bob, campaign, lambda _: "good")
    stratum = only(shelf, campaign).id
    done = shelf.do(settling.settle, me, stratum, "accepted")
    with pytest.raises(NoVerdict, match="decided already"):
        shelf.do(settling.settle, me, stratum, "rejected")
    assert shelf.do(settling.undo, me, stratum) == done.n_rest == 40 - len(seen)
    assert only(shelf, campaign).done is None
    assert statuses(shelf, range(1, 41)).count("pending") == done.n_rest
    assert shelf.do(settling.settle, me, stratum, "rejected").n_rest == done.n_rest
    assert shelf.look(campaigns.bounds, list(range(1, 41))) == []


def test_pairs_that_somebody_looks_at_are_left_to_them(shelf, me, ada, bob, campaign):
    from db import claims

    seen = read(shelf, bob, campaign, lambda _: "good")
    held = [pair_id for pair_id, _ in shelf.do(claims.claim, ada, 40) if pair_id not in seen][:40]
    done = shelf.do(settling.settle, me, only(shelf, campaign).id, "accepted")
    assert (done.n_rest, done.n_held) == (0, len(held))


def test_a_version_carries_the_bound_of_what_nobody_read(shelf, me, ada, bob, campaign):
    seen = read(shelf, bob, campaign, lambda i: "bad" if i == 0 else "good")
    rest = [pair_id for pair_id in range(1, 41) if pair_id not in seen]
    shelf.do(settling.settle, me, only(shelf, campaign).id, "accepted")
    shelf.do(reviews.decide, ada, ReviewItem("over", rest[0], 2, "accept"))
    (told,) = shelf.look(campaigns.bounds, list(range(1, 41)))
    exact = acceptance.bound(40, len(seen), 1, 0.9)
    assert (told["n_pairs"], told["n_read"], told["bad"], told["bound"]) == (40, len(seen), 1, exact.share)
    assert told["n_here"] == len(rest) - 1
    assert told["at_most_here"] == exact.n_bad - 1
    assert told["text"].startswith("shuffle, level 1, tiny: at most ")
    assert told["text"].endswith(f" % bad, 90 %, {len(seen)} of 40 read")
    assert shelf.look(campaigns.bounds, seen) == []
    assert shelf.look(campaigns.bounds, []) == []


def test_the_stated_share_is_never_rounded_down():
    assert verdicts.bound_text(397 / 9400, 0.95, 180, 9400) == "at most 4.3 % bad, 95 %, 180 of 9,400 read"
    assert verdicts.bound_text(0.042, 0.95, 180, 9400) == "at most 4.2 % bad, 95 %, 180 of 9,400 read"


def test_an_opinion_can_be_taken_back_until_the_stratum_is_decided(shelf, me, bob, campaign):
    tokens = {}
    n_sample = only(shelf, campaign).n_sample
    while len(tokens) < n_sample:
        ((pair_id, _),) = shelf.do(campaigns.claim, bob, campaign, 1)
        tokens[pair_id] = judge(shelf, bob, campaign, pair_id, "good")
    (first, token), (last, other), *_ = tokens.items()
    shelf.do(opinions.give, bob, campaign, ReviewItem("u1", first, 1, "undo", of=token))
    assert only(shelf, campaign).verdict == "reading"
    judge(shelf, bob, campaign, first, "good")
    shelf.do(settling.settle, me, only(shelf, campaign).id, "read")
    late = shelf.do(opinions.give, bob, campaign, ReviewItem("u2", last, 1, "undo", of=other))
    assert isinstance(late, Conflict)


def test_several_strata_are_corrected_and_never_pass_too_early(shelf, me, bob, filled):
    """Two strata with more bad than passes for sure: the second must wait for the first, and Holm decides."""
    forty(shelf, "reverse")
    half = Asked(tolerated=0.5, confidence=0.8, expected_bad=0.0, max_bad=3)
    made = shelf.do(campaigns.sample, me, "two", NO_FILTER, half, seed=3)
    states = {s.kind: s for s in shelf.look(verdicts.states, made)}
    n = states["shuffle"].n_sample
    assert n == acceptance.plan(40, 0.5, 0.8, max_bad=3, n_strata=2).n_sample
    sure = acceptance.allowed(40, n, 0.5, 0.8, n_strata=2)
    assert states["shuffle"].max_bad == acceptance.allowed(40, n, 0.5, 0.8) > sure
    kinds = {pair_id: shelf.look(pairs.get, pair_id).kind for pair_id in range(1, 81)}
    bad = {"shuffle": 0, "reverse": 0}
    asked = [pair_id for pair_id, _ in shelf.do(campaigns.claim, bob, made, 80)]
    for pair_id in [i for i in asked if kinds[i] == "shuffle"]:
        verdict = "bad" if bad["shuffle"] < states["shuffle"].max_bad else "good"
        bad["shuffle"] += verdict == "bad"
        judge(shelf, bob, made, pair_id, verdict)
    now = {s.kind: s for s in shelf.look(verdicts.states, made)}
    assert (now["shuffle"].verdict, now["shuffle"].bad) == ("waiting", None)
    for pair_id in [i for i in asked if kinds[i] == "reverse"]:
        judge(shelf, bob, made, pair_id, "good")
    now = {s.kind: s for s in shelf.look(verdicts.states, made)}
    assert {kind: s.verdict for kind, s in now.items()} == {"shuffle": "accepted", "reverse": "accepted"}
    assert now["shuffle"].bound == acceptance.bound(40, n, bad["shuffle"], 0.8, n_strata=2)


def test_small_strata_are_read_to_the_last_pair_and_known(shelf, me, bob):
    shelf.pairs(4)
    made = shelf.do(campaigns.sample, me, "small", NO_FILTER, Asked(tolerated=0.5))
    read(shelf, bob, made, lambda _: "good")
    found = shelf.look(verdicts.states, made)
    assert all((s.verdict, s.bound.n_bad, s.n_read) == ("accepted", 0, s.n_pairs) for s in found)


def test_pairs_of_a_stratum_are_not_sampled_a_second_time_unless_asked(shelf, me, bob, campaign):
    with pytest.raises(TooFew, match="being read"):
        shelf.do(campaigns.sample, me, "again", NO_FILTER, LOOSE)
    read(shelf, bob, campaign, lambda _: "bad")
    shelf.do(settling.settle, me, only(shelf, campaign).id, "read")
    with pytest.raises(TooFew, match="was read before"):
        shelf.do(campaigns.sample, me, "again", NO_FILTER, LOOSE)
    twice = shelf.do(campaigns.sample, me, "again", NO_FILTER, LOOSE, again=True)
    n_read = shelf.look(campaigns.card, campaign).n_done
    assert only(shelf, twice).n_pairs == 40 - n_read
    assert shelf.look(campaigns.card, twice).settings["again"]


def test_a_withdrawn_video_leaves_the_stratum_and_the_next_pairs_are_drawn(shelf, me, bob, campaign):
    n_sample = only(shelf, campaign).n_sample
    seen = read(shelf, bob, campaign, lambda _: "good", 3)
    shelf.do(withdrawals.withdraw, me, shelf.ids["a"], "no licence")
    more = read(shelf, bob, campaign, lambda _: "good")
    of_a = set(range(1, 9))
    state = only(shelf, campaign)
    assert not set(more) & of_a
    assert (state.n_pairs, state.n_read, state.n_sample) == (32, n_sample, n_sample)
    order = [i for i in acceptance.drawn_order(list(range(1, 41)), 7) if i not in of_a]
    assert set(order[:n_sample]) == set(seen + more) - of_a
    assert state.bound == acceptance.bound(32, n_sample, 0, 0.9)
    shelf.do(settling.settle, me, state.id, "accepted")
    assert set(statuses(shelf, of_a)) == {"pending"}
    told = shelf.look(campaigns.bounds, list(range(1, 41)))
    shelf.do(withdrawals.withdraw, me, shelf.ids["b"], "no licence")
    assert shelf.look(campaigns.bounds, list(range(1, 41))) == told
    assert (told[0]["n_pairs"], told[0]["n_read"]) == (32, n_sample)
    shelf.do(settling.undo, me, state.id)
    assert only(shelf, campaign).n_pairs == 24


def test_only_an_admin_draws_and_decides(shelf, bob, campaign):
    with pytest.raises(NotAllowed):
        shelf.do(campaigns.sample, bob, "mine", NO_FILTER, LOOSE)
    read(shelf, bob, campaign, lambda _: "good")
    with pytest.raises(NotAllowed):
        shelf.do(settling.settle, bob, only(shelf, campaign).id, "accepted")


def test_a_search_narrows_the_strata(shelf, me):
    shelf.pair("a", 0, chosen="a zebra runs")
    shelf.pair("a", 1)
    assert shelf.look(strata.sizes, PairFilter(search="zebra")) == {("shuffle", 1, 1): 1}
    made = shelf.do(campaigns.sample, me, "zebras", PairFilter(search="zebra"), Asked())
    assert only(shelf, made).n_pairs == 1


def test_decided_pairs_are_no_part_of_a_stratum(shelf, me, filled):
    ids = range(1, 41)
    shelf.do(bulk.decide, me, PairFilter(ids=tuple(ids[:10])), "accepted", token="x")
    made = shelf.do(campaigns.sample, me, "rest", NO_FILTER, LOOSE)
    assert only(shelf, made).n_pairs == 30
