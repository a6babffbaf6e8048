"""The team page: agreement and the queue of disagreements, activity, rules against people, and roles."""

from __future__ import annotations

import shutil
from itertools import count

import pytest

from db import agreement, campaigns, opinions, people, reviews
from db.pair_filters import PairFilter
from db.reviews import ReviewItem
from db.session import Database
from tempo_core.settings import Home
from tests import studio
from tests.pages.test_pages import button, opened, texts
from ui import state

TOKENS = count()


@pytest.fixture(scope="module")
def judged_once(tmp_path_factory) -> Home:
    """Eight pairs decided by Ada and judged again by Bob, who differs on the first two."""
    made = Home(tmp_path_factory.mktemp("judged") / "home")
    database = studio.fill(made, n_videos=2)
    with database.session() as session:
        me = people.local(session)
        ada = people.add(session, "test|ada", "Ada", "reviewer", "ada@example.org")
        bob = people.add(session, "test|bob", "Bob", "reviewer")
        for pair_id in range(1, 9):
            act = "reject" if pair_id % 3 == 0 else "accept"
            reviews.decide(session, ada, ReviewItem(f"a{pair_id}", pair_id, 1, act, dwell_ms=4000))
        campaign = campaigns.second(session, me, "Second look", seed=1)
    with database.session() as session:
        for pair_id in range(1, 9):
            same = "reject" if pair_id % 3 == 0 else "accept"
            other = {"reject": "accept", "accept": "reject"}[same]
            item = ReviewItem(f"b{pair_id}", pair_id, 2, other if pair_id <= 2 else same, dwell_ms=6000)
            opinions.give(session, bob, campaign, item)
    database.close()
    return made


@pytest.fixture
def database(home, judged_once) -> Database:
    shutil.copytree(judged_once.root, home.root)
    return state.database()


def test_an_empty_studio_says_what_to_do(home):
    page = texts(opened("team"))
    assert "No second opinion yet" in page
    assert "Review some pairs first" in page
    assert "Nobody decided anything" in texts(opened("team", tab="Activity"))
    assert "once people have judged" in texts(opened("team", tab="Rules"))
    assert "no login" in texts(opened("team", tab="People"))


def test_agreement_is_shown_with_its_interval_and_its_base(database):
    with database.reading() as session:
        kappa, alpha = agreement.overall(agreement.compared(session))
    app = opened("team")
    figures = {metric.label: metric.value for metric in app.metric}
    assert figures["Cohen's kappa"] == f"{kappa.value:.2f}"
    assert figures["Krippendorff's alpha"] == f"{alpha.value:.2f}"
    assert figures["Judged alike"] == "6 of 8"
    assert texts(app).count("over 8 pairs") == 2
    assert app.dataframe[0].value["pairs"].tolist() == [8]


def test_disagreements_are_a_queue_that_opens_in_review_and_closes_by_a_decision(database):
    app = opened("team")
    assert "2 open, the newest first" in texts(app)
    assert "Settle 2 in review" in texts(app)
    assert sorted(app.dataframe[1].value["pair"]) == [1, 2]
    with database.session() as session:
        reviews.decide(session, people.local(session), ReviewItem("settled", 1, 2, "accept"))
    assert "1 open, the newest first" in texts(opened("team"))


def test_an_admin_asks_for_second_opinions(database):
    app = opened("team")
    app.number_input(key="second_n").set_value(3).run()
    button(app, "Ask").click().run()
    with database.reading() as session:
        newest = campaigns.listing(session)[0]
    assert (newest.kind, newest.n_asked) == ("second", 3)


def test_activity_counts_what_was_done_one_by_one_apart_from_bulk(database):
    from db import bulk

    with database.session() as session:
        n = bulk.decide(session, people.local(session), PairFilter(kinds=("drop",)), "accepted", token="x").n
    app = opened("team", tab="Activity")
    lines = app.dataframe[0].value.set_index("person")
    assert lines.loc["Ada", ["decisions", "in bulk", "median s a pair"]].tolist() == [8, 0, 4.0]
    assert lines.loc["Bob", ["opinions", "median s a pair"]].tolist() == [8, 6.0]
    assert lines.loc["local", ["decisions", "in bulk"]].tolist() == [0, n]


def test_rules_are_shown_with_their_base(database):
    app = opened("team", tab="Rules")
    assert "Over 8 pairs that people judged alone" in texts(app)
    assert set(app.dataframe[0].value["bad ones it refused"]) == {"0 of 2"}
    assert set(app.dataframe[0].value["precision"]) == {"not known"}


def test_an_admin_changes_the_role_of_others(database):
    app = opened("team", tab="People")
    assert app.dataframe[0].value["role"].tolist() == ["admin", "reviewer", "reviewer"]
    ada = next(p for p in listed(database) if p.name == "Ada")
    app.selectbox(key="person").select(ada.id).run()
    app.selectbox(key=f"role_{ada.id}").select("viewer").run()
    app.button(key="set_role").click().run()
    app.button(key="access").click().run()
    assert {p.name: (p.role, p.active) for p in listed(database)}["Ada"] == ("viewer", False)
    assert "ended" in app.dataframe[0].value["access"].tolist()


def listed(database):
    with database.reading() as session:
        return people.listing(session)


def test_others_see_roles_and_why_they_cannot_change_them(database, monkeypatch):
    with database.session() as session:
        ada = people.add(session, "test|ada", "Ada", "reviewer")
    monkeypatch.setattr(state, "person", lambda: ada)
    app = opened("team", tab="People")
    assert "this needs admin" in texts(app)
    assert not [box for box in app.selectbox if box.key == "person"]


# ---- signing in -----------------------------------------------------------------------------------------------------
class SignedIn(dict):
    """What the login tells of a person."""

    is_logged_in = True


@pytest.fixture
def login(database, monkeypatch):
    """A studio with a login: Root is the first on the list of people."""
    settings = {"auth": {}, "tempo": {"people": ["Root@example.org", "ada@example.org", "new@example.org"]}}

    class Secrets(dict):
        def load_if_toml_exists(self):
            return True

    monkeypatch.setattr(state, "secrets_singleton", Secrets(settings))
    monkeypatch.setattr(state, "find_spec", lambda name: True)

    def sign_in(email, verified=True):
        monkeypatch.setattr(
            state.st,
            "user",
            SignedIn(iss="https://login", sub=email, email=email, email_verified=verified, name=email.split("@")[0]),
        )
        return settings["tempo"]

    return sign_in


def test_the_first_on_the_list_is_admin_and_others_are_reviewers(login):
    login("root@example.org")
    assert (state.person().role, state.person().name) == ("admin", "root")
    login("new@example.org")
    assert state.person().role == "reviewer"


def test_the_settings_name_other_admins_and_another_first_role(login):
    settings = login("new@example.org")
    settings["admins"] = ["new@example.org"]
    settings["role"] = "viewer"
    assert state.person().role == "admin"
    login("root@example.org")
    assert state.person().role == "viewer"


def test_a_role_given_on_the_page_stays(login, database):
    login("new@example.org")
    new = state.person()
    login("root@example.org")
    root = state.person()
    with database.session() as session:
        people.set_role(session, root, new.id, "viewer")
    login("new@example.org")
    assert state.person().role == "viewer"
    assert state.why_not("reviewer").startswith("You are viewer; this needs reviewer.")


@pytest.mark.parametrize(
    ("email", "verified", "said"),
    [("eve@example.org", True, "not on the list"), ("ada@example.org", False, "not on the list"),
     ("ada@example.org", "false", "not on the list")],
)  # fmt: skip
def test_who_is_not_on_the_list_gets_one_sentence(login, email, verified, said, monkeypatch):
    login(email, verified)
    assert said in stopped_at(monkeypatch)


def test_whose_access_ended_gets_one_sentence(login, database, monkeypatch):
    login("new@example.org")
    new = state.person()
    login("root@example.org")
    root = state.person()
    with database.session() as session:
        people.set_active(session, root, new.id, False)
    login("new@example.org")
    assert "access was ended" in stopped_at(monkeypatch)


def test_a_missing_part_of_the_login_is_named(login, monkeypatch):
    login("root@example.org")
    monkeypatch.setattr(state, "find_spec", lambda name: None)
    monkeypatch.setattr(SignedIn, "is_logged_in", False)
    assert "pip install 'streamlit[auth]'" in stopped_at(monkeypatch)


def test_whom_a_proxy_signed_in_needs_nothing_more_and_its_words_count_as_what_they_say(login, monkeypatch):
    """`server.trustedUserHeaders` brings text: "true", and also "false"."""
    monkeypatch.setattr(state, "find_spec", lambda name: None)
    login("root@example.org", verified="true")
    monkeypatch.setattr(SignedIn, "is_logged_in", "true")
    state.require_login()
    monkeypatch.setattr(SignedIn, "is_logged_in", "false")
    assert "Authlib" in stopped_at(monkeypatch)


def stopped_at(monkeypatch) -> str:
    """What the page says before it stops."""
    said = []

    class Stopped(Exception):
        pass

    def stop():
        raise Stopped

    monkeypatch.setattr(state.st, "text", said.append)
    monkeypatch.setattr(state.st, "stop", stop)
    with pytest.raises(Stopped):
        state.require_login()
    return said[0]
