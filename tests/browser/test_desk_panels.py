"""What opens around the desk (comments, guidelines, frames, palette, history), and the desk by keyboard alone."""

from __future__ import annotations

import pytest
from at_desk import focused, number_shown, of_desk, open_desk, pair_shown, saved, until
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from running import HANG_MS, Studio

from db import guidelines, pairs, people, reviews
from db.reviews import ReviewItem


def said(studio: Studio, pair_id: int) -> list[tuple[str, str]]:
    with studio.database.reading() as session:
        return [(author, text) for author, text, _ in reviews.comments(session, pair_id)]


def test_a_comment_is_read_by_the_others_and_counted(page: Page, looked_at: Studio):
    open_desk(page, looked_at)
    pair_id = number_shown(page)
    with looked_at.database.session() as session:
        ada = people.add(session, "x|ada", "Ada", "reviewer")
        reviews.decide(session, ada, ReviewItem("hers", pair_id, 1, "comment", note="Is clip 2 in the right place?"))
    open_desk(page, looked_at)
    expect(page.get_by_role("button", name="Comments (1)")).to_be_visible()
    page.keyboard.press("c")
    thread = page.get_by_role("dialog", name=f"Comments, pair {pair_id}")
    expect(thread.get_by_text("Is clip 2 in the right place?")).to_be_visible()
    page.keyboard.type("It is; a car, far away.")  # letters that are keys of the desk
    page.keyboard.press("Control+Enter")
    expect(thread.get_by_text("It is; a car, far away.")).to_be_visible()
    page.keyboard.type("never sent")
    page.keyboard.press("Escape")
    expect(thread).to_be_hidden()
    saved(page)
    assert said(looked_at, pair_id) == [("Ada", "Is clip 2 in the right place?"), ("local", "It is; a car, far away.")]
    page.keyboard.press("c")
    expect(thread.get_by_role("textbox")).to_have_value("never sent")  # a draft stays with its pair
    assert thread.get_by_role("listitem").count() == 2


def test_guidelines_lie_beside_the_pairs_and_each_review_names_them(page: Page, looked_at: Studio):
    with looked_at.database.session() as session:
        now = guidelines.write(session, people.local(session), "Reject if *nothing* moved.\nFlag what you doubt.")
    open_desk(page, looked_at)
    page.keyboard.press("g")
    drawer = page.get_by_role("dialog", name="Guidelines")
    expect(drawer.get_by_text("Reject if *nothing* moved.")).to_be_visible()
    expect(drawer.get_by_text(f"Version {now.number} ({now.sha256[:8]})")).to_be_visible()
    pair_id = number_shown(page)
    page.keyboard.press("f")  # the keys go on beside it
    page.keyboard.press("g")
    expect(drawer).to_be_hidden()
    saved(page)
    with looked_at.database.reading() as session:
        followed = guidelines.followed(session)
        assert pairs.get(session, pair_id).status == "flagged"
    assert followed[now.sha256] >= 1


def test_the_frames_the_model_saw_stand_in_both_orders_with_their_times(page: Page, looked_at: Studio):
    open_desk(page, looked_at)
    page.keyboard.press("v")
    keys, order = of_desk(page, "[desk.pair.key_frames, desk.pair.order]")
    rows = "[...desk.el.querySelectorAll('.frame[data-row={}]')].map((x) => Number(x.dataset.frame))"
    assert of_desk(page, rows.format("clean")) == [frame for clip in keys for frame in clip]
    assert of_desk(page, rows.format("perturbed")) == [frame for clip in order for frame in keys[clip]]
    until(page, "desk.el.querySelectorAll('canvas').length === desk.el.querySelectorAll('.frame').length")
    # Each picture is its own frame: no two of a moving scene are alike.
    pictures = of_desk(page, "[...desk.el.querySelectorAll('.seen canvas')].map((x) => x.toDataURL())")
    assert len(set(pictures)) == len({frame for clip in keys for frame in clip})
    page.get_by_role("button", name="clip 2, frame at").first.click()
    until(page, f"desk.players.edit.frameAt(desk.players.a.currentTime) === {keys[1][0]}")
    page.keyboard.press("v")
    expect(page.get_by_role("group", name="Which clip went where")).to_be_visible()


def test_the_palette_finds_pages_acts_and_pairs(page: Page, looked_at: Studio):
    open_desk(page, looked_at)
    page.keyboard.press("Control+k")
    finder = page.get_by_role("dialog", name="Find")
    page.keyboard.type("lock by")
    expect(finder.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(finder).to_be_hidden()
    assert of_desk(page, "desk.players.lock") == "content"
    shown = pair_shown(page)
    page.keyboard.press("Control+k")
    page.keyboard.type("31")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("pair")).to_have_text("Pair 31", timeout=HANG_MS)
    page.keyboard.press("Control+k")
    page.keyboard.type("#4040")
    page.keyboard.press("Enter")
    expect(page.get_by_text("There is no pair 4040.")).to_be_visible(timeout=HANG_MS)
    page.keyboard.press("n")
    assert pair_shown(page) == shown  # it waited behind the one that was asked for
    page.keyboard.press("Control+k")
    page.keyboard.type("curric")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Curriculum", exact=True)).to_be_visible(timeout=HANG_MS)


def test_looking_back_decides_nothing_and_undo_takes_back_what_is_looked_at(page: Page, looked_at: Studio):
    open_desk(page, looked_at)
    first = pair_shown(page)
    page.keyboard.press("f")
    second = pair_shown(page)
    page.keyboard.press("f")
    third = pair_shown(page)
    page.keyboard.press("b")
    assert pair_shown(page) == second
    page.keyboard.press("a")  # refused: a look is no decision
    page.keyboard.press("b")
    assert pair_shown(page) == first
    page.keyboard.press("Escape")
    assert pair_shown(page) == third
    page.keyboard.press("b")
    page.keyboard.press("b")
    page.keyboard.press("u")
    assert pair_shown(page) == first
    page.keyboard.press("n")
    assert pair_shown(page) == third
    saved(page)
    with looked_at.database.reading() as session:
        statuses = [pairs.get(session, int(shown.removeprefix("Pair "))).status for shown in (first, second)]
    assert statuses == ["pending", "flagged"]


def test_a_link_to_a_decided_pair_shows_what_stands_and_who_did_what(page: Page, looked_at: Studio):
    with looked_at.database.session() as session:
        bob = people.add(session, "x|bob", "Bob", "reviewer")
        reviews.decide(session, bob, ReviewItem("b1", 30, 1, "reject", reason="bad video"))
        reviews.decide(session, bob, ReviewItem("b2", 30, 2, "undo", of="b1"))
        reviews.decide(session, bob, ReviewItem("b3", 30, 3, "accept"))
    open_desk(page, looked_at, "?pair=30")
    assert pair_shown(page) == "Pair 30"
    page.get_by_role("button", name="accepted by Bob").click()
    lines = page.get_by_role("dialog", name="Who did what, pair 30").get_by_role("listitem")
    expect(lines).to_have_count(3)
    expect(lines.nth(0)).to_contain_text("Bob rejected it (taken back)")
    expect(lines.nth(0)).to_contain_text("bad video")
    expect(lines.nth(2)).to_contain_text("Bob accepted it")


def test_a_whole_review_by_keyboard_alone_with_the_focus_in_sight(page: Page, looked_at: Studio):
    open_desk(page, looked_at)
    page.keyboard.press(" ")
    of_desk(page, "desk.el.focus()")
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(focused(page))
        assert of_desk(
            page,
            """(() => { const e = desk.el.getRootNode().activeElement; if (!e) return true;
            const s = getComputedStyle(e);
            return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2; })()""",
        ), seen
        if seen[-1] == "undo":
            break
    assert {"play", "loop", "lock", "frames", "guidelines", "comment", "palette", "help"} <= set(seen)
    assert {"Chosen response", "Rejected response", "accept", "reject", "skip", "undo"} <= set(seen)
    of_desk(page, "desk.map.cells.querySelector('.cell.clean').focus()")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert focused(page).startswith("clip 3 of")
    page.keyboard.press("Enter")
    until(page, "desk.players.edit.clipAt(desk.players.a.currentTime) === 2")
    page.keyboard.press("ArrowDown")
    assert (
        focused(page).startswith("clip 3 of")
        and of_desk(page, "desk.el.getRootNode().activeElement.dataset.row") == "perturbed"
    )
    page.keyboard.press("?")
    for _ in range(5):  # the focus stays in the dialog
        page.keyboard.press("Tab")
        assert focused(page) in ("help", "letters", "BODY")
    page.keyboard.press("Escape")
    assert focused(page).startswith("clip 3 of")
    shown = pair_shown(page)
    page.keyboard.press("e")
    page.keyboard.press("Escape")
    of_desk(page, "desk.el.querySelector('.acts [data-act=flag]').focus()")
    page.keyboard.press("Enter")
    assert pair_shown(page) != shown and focused(page) == "flag"
    saved(page)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 820)])
def test_axe_finds_nothing_serious(browser: Browser, looked_at: Studio, scheme, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(HANG_MS)
    open_desk(page, looked_at)
    page.keyboard.press(" ")
    page.keyboard.press("r")
    found = {}
    for keys in ([], ["v", "g"], ["c"], ["Escape", "?"], ["Escape", "Control+k"]):
        for key in keys:
            page.keyboard.press(key)
        found["+".join(keys)] = serious(page)
    context.close()
    assert not any(found.values()), found


def serious(page: Page) -> list[str]:
    # The sidebar is Streamlit's own: its list holds the names of the groups as well.
    around = {"exclude": [['[data-testid="stSidebar"]']]}
    told = Axe().run(page, context=around, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in told
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
