"""The sampling page: plan, draw, read (by the verbs the desk calls), see the verdict, decide the rest, take it back."""

from __future__ import annotations

import shutil
from itertools import count

import pytest

from db import campaigns, opinions, pairs, people, verdicts
from db.pair_filters import NO_FILTER, PairFilter
from db.reviews import ReviewItem
from db.session import Database
from db.strata import Asked
from tempo_core.settings import Home
from tests import studio
from tests.pages.test_pages import button, opened, texts, widget
from ui import state

TOKENS = count()


@pytest.fixture(scope="module")
def drawn_once(tmp_path_factory) -> Home:
    made = Home(tmp_path_factory.mktemp("drawn") / "home")
    studio.fill(made, n_videos=2).close()
    return made


@pytest.fixture
def database(home, drawn_once) -> Database:
    shutil.copytree(drawn_once.root, home.root)
    return state.database()


def campaign_of(database, tolerated=0.5) -> int:
    with database.session() as session:
        me = people.local(session)
        return campaigns.sample(session, me, "First sample", NO_FILTER, Asked(tolerated, expected_bad=0.0), seed=1)


def read(database, campaign, verdict="good") -> None:
    """Judge everything that is asked, as the blind desk would."""
    while True:
        with database.session() as session:
            me = people.local(session)
            got = campaigns.claim(session, me, campaign, 8)
            for pair_id, version in got:
                side = campaigns.left_is_chosen(campaign, pair_id, me.id)
                act = "left" if side == (verdict == "good") else "right"
                item = ReviewItem(f"p{next(TOKENS)}", pair_id, version, act, dwell_ms=3000)
                opinions.give(session, me, campaign, item, left_is_chosen=side)
        if not got:
            return


def statuses(database) -> dict[str, int]:
    with database.reading() as session:
        return pairs.counts(session).status


def test_an_empty_studio_says_what_to_do(home):
    page = texts(opened("sampling"))
    assert "There are no pairs yet" in page
    assert "Open Pairs" in page


def test_the_plan_shows_what_is_to_be_read_before_anything_is_drawn(database):
    app = opened("sampling")
    n = statuses(database)["pending"]
    figures = {metric.label: metric.value for metric in app.metric}
    assert (figures["Pairs to read"], figures["Decided by that"]) == (f"{n:,}", f"{n:,}")
    assert "assumed, nobody read yet" in texts(app)
    assert sum(app.dataframe[0].value["pairs"]) == n


def test_the_filter_of_the_address_is_kept_until_somebody_leaves_it(database):
    app = opened("sampling", kinds="drop")
    assert set(app.dataframe[0].value["stratum"].str.split(" ").str[0]) == {"drop"}
    button(app, "Take all pairs").click().run()
    app = opened("sampling")
    assert len(set(app.dataframe[0].value["stratum"].str.split(" ").str[0])) > 1


def test_a_filter_that_makes_no_sense_is_named(database):
    assert "There is no filter 'colour'" in texts(opened("sampling", colour="red"))


def test_drawing_freezes_a_campaign_and_leads_to_the_blind_desk(database):
    app = opened("sampling")
    app.number_input(key="tolerated").set_value(20.0).run()
    button(app, "Draw the samples").click().run()
    assert not app.exception
    with database.reading() as session:
        (card,) = campaigns.listing(session)
        state_ = verdicts.states(session, card.id)
    assert (card.kind, card.n_done, {s.tolerated for s in state_}) == ("sample", 0, {0.2})
    assert "Read blind" in texts(app)
    assert f"0 of {card.n_asked} pairs read" in [bar.proto.text for bar in app.get("progress")]


def test_nothing_of_good_and_bad_is_on_the_page_while_a_sample_is_read(database):
    campaign = campaign_of(database)
    with database.session() as session:
        me = people.local(session)
        ((pair_id, version),) = campaigns.claim(session, me, campaign, 1)
        side = campaigns.left_is_chosen(campaign, pair_id, me.id)
        item = ReviewItem("one", pair_id, version, "right" if side else "left")
        opinions.give(session, me, campaign, item, left_is_chosen=side)
    with database.reading() as session:
        open_ones = [s.verdict for s in verdicts.states(session, campaign)]
    shown = opened("sampling").dataframe[0].value
    for verdict, bad, known in zip(open_ones, shown["bad"], shown["what is known"], strict=True):
        if verdict == "reading":
            assert (bad, known) == ("", "told when the sample is complete")


def test_the_rest_is_decided_after_the_verdict_and_taken_back(database):
    campaign = campaign_of(database)
    read(database, campaign)
    before = statuses(database)["pending"]
    app = opened("sampling")
    assert "✓ passed" in set(app.dataframe[0].value["verdict"])
    n = len(app.selectbox(key=f"stratum_{campaign}").options)
    with database.reading() as session:
        first = verdicts.states(session, campaign)[0]
    button(app, "Decide only what was read").click().run()
    app.button(key="settle_yes").click().run()
    assert not app.exception
    after = statuses(database)
    assert (after["accepted"], after["pending"]) == (first.n_read, before - first.n_read)
    assert n == len(app.selectbox(key=f"stratum_{campaign}").options)
    button(app, "Take it back").click().run()
    with database.reading() as session:
        assert verdicts.states(session, campaign)[0].done is None


def test_all_strata_that_passed_are_decided_at_once(database):
    campaign = campaign_of(database)
    read(database, campaign)
    app = opened("sampling")
    button(app, "that passed").click().run()
    app.button(key="settle_all_yes").click().run()
    assert not app.exception
    with database.reading() as session:
        assert {s.done for s in verdicts.states(session, campaign)} == {"accepted"}
        assert campaigns.card(session, campaign).closed_ms is not None
    assert statuses(database).get("pending", 0) == 0


def test_a_refused_stratum_cannot_be_accepted_unread(database):
    campaign = campaign_of(database, tolerated=0.0)
    read(database, campaign, "bad")
    app = opened("sampling")
    assert "cannot be accepted unread" in texts(app)
    assert not [b for b in app.button if "Accept the rest" in b.label]
    assert "✗ refused" in set(app.dataframe[0].value["verdict"])


def test_a_campaign_that_ended_moves_to_the_history(database):
    campaign = campaign_of(database)
    app = opened("sampling")
    button(app, "End this campaign").click().run()
    assert [e.label for e in app.expander if "Ended campaigns" in e.label] == ["Ended campaigns (1)"]
    with database.reading() as session:
        assert campaigns.card(session, campaign).closed_ms is not None


def test_a_reviewer_sees_the_plan_and_why_it_is_not_theirs_to_draw(database, monkeypatch):
    with database.session() as session:
        ada = people.add(session, "test|ada", "Ada", "reviewer")
    monkeypatch.setattr(state, "person", lambda: ada)
    app = opened("sampling")
    draw = button(app, "Draw the samples")
    assert draw.disabled
    assert "needs admin" in draw.help.replace("\\", "")


def test_expected_bad_pairs_make_samples_larger(database):
    with database.session() as session:
        found = {key: 500 for key in list(campaigns_sizes(session))[:1]}
    (small,) = strata_plans(found, 0.0)
    (large,) = strata_plans(found, 0.02)
    assert small.plan.n_sample < large.plan.n_sample
    assert widget(opened("sampling").number_input, "Bad pairs you expect, %").value == 1.0


def campaigns_sizes(session):
    from db import strata

    return strata.sizes(session, PairFilter())


def strata_plans(found, expected):
    from db import strata

    return strata.plans(found, Asked(expected_bad=expected), {})
