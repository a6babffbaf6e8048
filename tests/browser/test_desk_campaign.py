"""The desk inside a campaign: a blind look tells no side, a second opinion no first one, and both change no pair."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from at_desk import number_shown, of_desk, open_desk, pair_shown, saved
from playwright.sync_api import Page, expect
from running import HANG_MS, Studio
from sqlalchemy import select

from db import campaigns, pairs, people, reviews
from db.pair_filters import PairFilter
from db.reviews import ReviewItem
from db.strata import Asked
from db.tables import OpinionRow

TELLING = r"chosen|rejected|accept|swap|shuffle|reverse|drop|diff|order kept|magnitude|level|perturb|check"


@pytest.fixture(scope="module")
def campaign(looked_at: Studio) -> dict[str, int]:
    """A sample of the pending drop pairs, and a second look at what Ada decided."""
    with looked_at.database.session() as session:
        me = people.local(session)
        ada = people.add(session, "x|ada", "Ada", "reviewer")
        lines = [
            line for line in pairs.page(session, PairFilter(kinds=("reverse",)), limit=50) if line.status == "pending"
        ]
        for line in lines[:3]:
            done = reviews.decide(session, ada, ReviewItem(f"ada-{line.id}", line.id, line.version, "reject"))
            assert isinstance(done, reviews.Saved)
        sample = campaigns.sample(session, me, "blind one", PairFilter(kinds=("drop",)), Asked())
        return {"sample": sample, "second": campaigns.second(session, me, "second look"), "person": me.id}


@pytest.fixture
def sent(page: Page) -> Iterator[list[str]]:
    """Everything that came to the browser as text."""
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: frames.append(_text(data))))
    yield frames


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.decode("utf-8", "replace")


def opinions_of(studio: Studio, campaign_id: int) -> list[tuple[int, str, str]]:
    with studio.database.reading() as session:
        o = OpinionRow
        rows = session.execute(select(o.pair_id, o.act, o.verdict).where(o.campaign_id == campaign_id).order_by(o.id))
        return [(pair_id, act, verdict) for pair_id, act, verdict in rows]


def test_a_blind_desk_tells_no_side_and_keeps_its_votes(page: Page, looked_at: Studio, campaign, sent: list[str]):
    open_desk(page, looked_at, f"?campaign={campaign['sample']}")
    data = of_desk(page, "desk.data")
    assert data["mode"] == "blind" and data["campaign"]["name"] == "blind one"
    allowed = {"id", "version", "prompt", "ranges", "order", "fps", "n_frames", "frame_s", "url", "responses", "edit"}
    for pair in data["queue"]:
        assert set(pair) <= allowed and pair["order"] == [0] and len(pair["ranges"]) == 1
    # Neither the data, nor what a person or a screen reader sees, nor what came over the wire beside the two texts.
    shown = of_desk(
        page,
        """desk.el.innerText + [...desk.el.querySelectorAll('*')].map((e) =>
        [e.className.baseVal ?? e.className, e.title, e.ariaLabel, JSON.stringify(e.dataset)].join(' ')).join(' ')""",
    )
    for told in (json.dumps({**data, "queue": []}), shown):
        assert not re.search(TELLING, told, re.IGNORECASE), re.search(f".{{40}}({TELLING}).{{40}}", told, re.IGNORECASE)
    payloads = [text for text in sent if '"responses"' in text]
    assert payloads and not any(
        re.search(r'"(kind|diff|checks|chosen|rejected|difficulty)"', text) for text in payloads
    )
    assert of_desk(page, "desk.el.querySelectorAll('video').length") == 2
    votes = []
    for key, act in (("1", "left"), ("2", "right"), ("0", "tie")):
        votes.append((number_shown(page), act))
        page.keyboard.press(key)
    page.keyboard.press("a")  # no act of this desk
    page.keyboard.press("c")
    skipped = pair_shown(page)
    page.keyboard.press("n")
    assert pair_shown(page) != skipped
    page.keyboard.press("u")
    assert pair_shown(page) == skipped
    page.keyboard.press("u")
    assert number_shown(page) == votes[-1][0]
    saved(page)
    given = opinions_of(looked_at, campaign["sample"])
    assert [(pair_id, act) for pair_id, act, _ in given] == [*votes, (votes[-1][0], "undo")]
    for pair_id, act, verdict in given[:2]:
        chosen_left = campaigns.left_is_chosen(campaign["sample"], pair_id, campaign["person"])
        assert verdict == ("good" if (act == "left") == chosen_left else "bad")
    with looked_at.database.reading() as session:
        assert {pairs.get(session, pair_id).status for pair_id, _ in votes} == {"pending"}


def test_the_two_responses_stand_on_the_sides_that_were_drawn(page: Page, looked_at: Studio, campaign):
    open_desk(page, looked_at, f"?campaign={campaign['sample']}")
    for pair in [of_desk(page, "desk.pair"), *of_desk(page, "desk.queue")]:
        with looked_at.database.reading() as session:
            card = pairs.get(session, pair["id"])
        both = [card.chosen, card.rejected]
        left_first = campaigns.left_is_chosen(campaign["sample"], pair["id"], campaign["person"])
        assert pair["responses"] == (both if left_first else both[::-1])
    texts = page.get_by_role("region", name=re.compile("Response [12]"))
    expect(texts).to_have_count(2)
    page.get_by_role("button", name="About equal 0").click()
    saved(page)


def test_a_second_opinion_knows_no_first_one_and_changes_no_pair(page: Page, looked_at: Studio, campaign):
    open_desk(page, looked_at, f"?campaign={campaign['second']}")
    pair_id = number_shown(page)
    assert of_desk(page, "[desk.pair.kind, desk.pair.standing, desk.pair.history, desk.pair.margin]") == [
        "reverse",
        None,
        None,
        None,
    ]
    expect(page.get_by_text("Ada")).to_have_count(0)
    expect(page.get_by_role("button", name="Edit")).to_have_count(0)
    page.keyboard.press("e")
    page.keyboard.press("r")
    page.keyboard.press("2")
    page.keyboard.press("a")
    saved(page)
    acts = [(act, verdict) for _, act, verdict in opinions_of(looked_at, campaign["second"])]
    assert acts == [("reject", "bad"), ("reason", "bad"), ("accept", "good")]
    with looked_at.database.reading() as session:
        assert pairs.get(session, pair_id).status == "rejected"
        assert [line.by for line in reviews.history(session, pair_id)] == ["Ada"]


def test_an_unknown_campaign_is_named(page: Page, looked_at: Studio):
    page.goto(f"{looked_at.review_url}?campaign=4040")
    expect(page.get_by_text("There is no campaign 4040.")).to_be_visible(timeout=HANG_MS)
