"""The review desk in a browser: every key writes its row, and no review is ever lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from at_desk import DESK, focused, number_shown, of_desk, open_desk, pair_shown, saved, until
from playwright.sync_api import Browser, Page, expect
from running import HANG_MS, Studio, wait_for

from db import guidelines, pairs, people, reviews, settings
from db.reviews import ReviewItem
from tempo_core.settings import Home
from tests import studio as filled
from ui import desk_keys


@pytest.fixture(scope="module")
def studio(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One server for this file; a test counts what it adds. About 60 pending pairs of six drawn videos."""
    home = Home(tmp_path_factory.mktemp("desk"))
    filled.fill(home, n_videos=6).close()
    running = Studio(home)
    running.start()
    yield running
    running.close()


@pytest.fixture
def before(studio: Studio) -> int:
    """Reviews that earlier tests left."""
    return len(studio.acts())


def test_each_key_writes_its_row(page: Page, studio: Studio, before: int):
    open_desk(page, studio)
    page.keyboard.press("a")
    page.keyboard.press("r")
    page.keyboard.press("3")
    page.keyboard.press("s")
    page.keyboard.press("f")
    skipped = pair_shown(page)
    page.keyboard.press("n")
    assert pair_shown(page) != skipped
    page.keyboard.press("e")
    page.keyboard.press("End")
    page.keyboard.type(" Rare arts, seen fully.")  # every letter is a key of the desk; here they are text
    page.keyboard.press("Control+Enter")
    page.keyboard.press("r")
    page.keyboard.press("u")
    saved(page)
    assert studio.acts(before) == [
        ("accept", "accepted", None),
        ("reject", "rejected", None),
        ("reason", "rejected", "chosen is wrong"),
        ("swap", "accepted", None),
        ("flag", "flagged", None),
        ("edit", "accepted", None),
        ("reject", "rejected", None),
        ("undo", "pending", None),
    ]
    with studio.database.reading() as session:
        cards = [pairs.get(session, line.id) for line in pairs.page(session, limit=100)]
    assert [card.final_chosen for card in cards if card.final_chosen.endswith(" Rare arts, seen fully.")]


def test_buttons_do_what_the_keys_do_and_keep_the_focus(page: Page, studio: Studio, before: int):
    open_desk(page, studio)
    for name in ("Accept A", "Reject R", "Swap S", "Flag F"):
        page.get_by_role("button", name=name, exact=True).click()
        assert focused(page) == name.split()[0].lower()
    page.get_by_role("button", name="Undo U", exact=True).click()
    page.get_by_role("button", name="Reject R", exact=True).click()
    page.get_by_role("button", name="2 responses equivalent", exact=True).click()
    assert focused(page).startswith("desk")  # that button is gone; the keys go on
    saved(page)
    assert [act for act, _, _ in studio.acts(before)] == [
        "accept",
        "reject",
        "swap",
        "flag",
        "undo",
        "reject",
        "reason",
    ]


def test_a_reviewers_own_keys_and_the_letters_as_a_set(page: Page, studio: Studio, before: int):
    with studio.database.session() as session:
        settings.set_keys(session, people.local(session), {"accept": "j", "swap": "a"}, defaults=desk_keys.DEFAULTS)
    open_desk(page, studio)
    page.get_by_role("button", name="Accept J", exact=True).wait_for()
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.keyboard.press("s")  # nothing lies on it now
    page.keyboard.press("?")
    assert "J" in page.get_by_role("dialog", name="Keys").inner_text()
    page.get_by_role("button", name="Switch single letters off").click()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.get_by_role("button", name="Accept", exact=True).wait_for()  # no hint for a key that does nothing
    page.keyboard.press("Control+z")
    saved(page)
    assert [act for act, _, _ in studio.acts(before)] == ["accept", "swap", "undo"]
    with studio.database.session() as session:
        settings.set_keys(session, people.local(session), {}, defaults=desk_keys.DEFAULTS)


def test_a_skip_that_was_undone_comes_first_after_a_reload_and_undo_goes_back_before_it(
    page: Page, studio: Studio, before: int
):
    open_desk(page, studio)
    page.keyboard.press("a")
    skipped = pair_shown(page)
    page.keyboard.press("n")
    page.keyboard.press("u")
    assert pair_shown(page) == skipped
    saved(page)
    open_desk(page, studio)
    assert pair_shown(page) == skipped
    accepted = of_desk(page, "desk.history[desk.history.length - 1].pair")
    page.keyboard.press("u")  # a decision from before this visit
    expect(page.get_by_test_id("pair")).to_have_text(f"Pair {accepted}", timeout=HANG_MS)
    saved(page)
    assert [act for act, _, _ in studio.acts(before)] == ["accept", "undo"]
    open_desk(page, studio)
    assert pair_shown(page) == f"Pair {accepted}"


def test_a_burst_and_a_page_switch_store_every_review_once(page: Page, studio: Studio, before: int):
    open_desk(page, studio)
    for _ in range(20):  # as fast as pairs appear: eight wait in the browser, more come while it saves
        page.wait_for_function(f"() => ({DESK})().pair")
        page.keyboard.press("a")
    page.goto("about:blank")  # leave in the middle of saving
    open_desk(page, studio)
    saved(page)
    given = len(studio.tokens())
    page.keyboard.press("r")
    saved(page)
    assert len(studio.tokens()) == len(set(studio.tokens())) == given + 1
    assert given - before == 20


def test_after_a_restart_the_reviews_given_meanwhile_arrive_and_the_players_go_on(
    page: Page, studio: Studio, before: int
):
    open_desk(page, studio)
    page.keyboard.press("a")
    saved(page)
    studio.kill()
    for key in "arfa":
        page.keyboard.press(key)
    expect(page.get_by_test_id("save")).to_have_text("offline, 4 kept here", timeout=HANG_MS)
    # What the browser has not loaded yet fails now; as if it were a file that it never saw.
    of_desk(page, "(desk.players.pause(), desk.players.a.src += '&again', desk.players.a.currentTime = 1.25)")
    expect(page.get_by_text("Reconnecting …").first).to_be_visible(timeout=HANG_MS)
    page.keyboard.press(" ")
    studio.start()
    saved(page)
    assert sorted(act for act, _, _ in studio.acts(before)) == ["accept", "accept", "accept", "flag", "reject"]
    until(page, "!desk.players.a.error && desk.players.a.currentTime > 1.2 && !desk.players.a.paused")
    expect(page.get_by_text("Reconnecting …").first).to_be_hidden()


def test_reviews_of_a_tab_closed_in_the_outage_arrive_when_the_desk_is_opened_again(
    page: Page, studio: Studio, before: int
):
    open_desk(page, studio)
    studio.kill()
    for key in "aar":
        page.keyboard.press(key)
    again = page.context.new_page()
    page.close()
    studio.start()
    open_desk(again, studio)
    saved(again)
    wait_for(lambda: len(studio.acts(before)) == 3, f"{studio.acts(before)}")
    assert [act for act, _, _ in studio.acts(before)] == ["accept", "accept", "reject"]
    assert again.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('tempo.outbox'))") == []


def test_r_reaches_the_desk_and_not_streamlit(page: Page, studio: Studio, before: int):
    open_desk(page, studio)
    page.evaluate("""() => { window.seen = []; for (const phase of ['keydown', 'keyup'])
        window.addEventListener(phase, (event) => window.seen.push(event.key)); }""")
    for key in ("r", "x", " ", "d"):
        page.keyboard.press(key)
    assert page.evaluate("window.seen") == ["x", "x"]  # ours never arrive behind the desk, a foreign key does
    saved(page)
    assert [act for act, _, _ in studio.acts(before)] == ["reject"]


def test_a_step_is_one_frame_on_both_sides_and_both_orders_stay_locked(page: Page, looked_at: Studio):
    open_desk(page, looked_at)
    page.keyboard.press(" ")
    page.wait_for_function(f"() => !({DESK})().players.playing")
    frames = (
        "[desk.players.edit.frameAt(desk.players.a.currentTime), desk.players.edit.frameAt(desk.players.b.currentTime)]"
    )
    of_desk(page, "desk.players.seek('clean', 0.0)")
    start = of_desk(page, frames)
    order = of_desk(page, "[desk.pair.edit.order, desk.pair.edit.ranges]")
    shown = [k for clip in order[0] for a, b in order[1][clip] for k in range(a, b)]
    assert start == [0, shown[0]]
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    assert of_desk(page, frames) == [30, shown[30]]
    for _ in range(7):
        page.keyboard.press("ArrowLeft")
    assert of_desk(page, frames) == [23, shown[23]]
    page.keyboard.press("m")
    page.keyboard.press("Shift+ArrowRight")
    left, right = of_desk(page, frames)
    assert left == right and of_desk(page, "desk.players.lock") == "content"


@pytest.mark.parametrize("lock", ["time", "content"])
def test_a_loop_shows_the_same_clip_on_both_sides_in_either_lock(page: Page, looked_at: Studio, lock: str):
    open_desk(page, looked_at)
    if lock == "content":
        page.keyboard.press("m")
    of_desk(page, "desk.players.seek('clean', desk.pair.edit.clipStart(2) + 0.1)")
    page.keyboard.press("]")
    page.keyboard.press("l")
    looped, outside = page.evaluate(
        f"""async () => {{
          const desk = ({DESK})(), p = desk.players, ranges = p.edit.ranges[p.loop], outside = [];
          const inside = (k) => ranges[0][0] - 1 <= k && k <= ranges[ranges.length - 1][1];
          let rounds = 0, last = p.b.currentTime;
          while (rounds < 2) {{
            await new Promise(requestAnimationFrame);
            if (p.b.currentTime < last - 0.2) rounds++;
            last = p.b.currentTime;
            const both = [p.edit.frameAt(p.a.currentTime), p.edit.frameAt(p.b.currentTime)];
            if (!p.a.seeking && !p.b.seeking && !both.every(inside)) outside.push(both);
          }}
          return [p.loop, outside];
        }}"""
    )
    assert looped is not None and len(outside) <= 2, outside  # a picture may still be on its way


def test_the_frame_on_the_screen_is_the_frame_that_was_asked_for(page: Page, looked_at: Studio):
    """By the time stamp of the picture that Chromium presented, on both sides."""
    open_desk(page, looked_at)
    page.keyboard.press(" ")
    wrong = page.evaluate(
        f"""async () => {{
          const desk = ({DESK})(), p = desk.players, edit = p.edit, wrong = [];
          // A picture from before the seek may still be presented late; only one of after it counts.
          const shown = (video, k) => new Promise((done) => {{
            const look = (_, frame) => {{
              const got = Math.round(frame.mediaTime / edit.frameLength);
              if (got !== k && video.seeking) video.requestVideoFrameCallback(look);
              else done(got);
            }};
            video.requestVideoFrameCallback(look);
            video.currentTime = edit.middle(k);
          }});
          for (const k of [3, 40, 41, 97, 12, 60, 110, 5]) {{
            for (const video of [p.a, p.b]) {{
              const got = await shown(video, k);
              if (got !== k) wrong.push([k, got]);
            }}
          }}
          return wrong;
        }}"""
    )
    assert wrong == []


def test_hostile_text_is_shown_as_text_and_fetches_nothing(page: Page, browser, tmp_path: Path, listener):
    beacon, asked = listener
    evil = f'<img src="{beacon}/people">![x]({beacon}/md)'
    home = Home(tmp_path / "hostile")
    filled.fill(home, n_videos=1, beacon=beacon).close()
    studio, foreign = Studio(home), []
    page.on("request", lambda request: foreign.append(request.url) if studio.url not in request.url else None)
    try:
        studio.start()
        open_desk(page, studio)
        text = of_desk(page, "desk.responses.sides.chosen.text.textContent")
        assert f'<img src="{beacon}/img"><script src="{beacon}/js"></script>' in re.sub(r"\d+<", "<", text)
        assert of_desk(page, "desk.el.querySelectorAll('img, script, iframe, object').length") == 0
        with studio.database.session() as session:
            guidelines.write(session, people.local(session), evil)
            person = people.add(session, "x|evil", evil, "reviewer")
            pair_id = number_shown(page)
            reviews.decide(session, person, ReviewItem("c", pair_id, 1, "comment", note=evil))
            reviews.decide(session, person, ReviewItem("f", pair_id, 1, "flag"))
        open_desk(page, studio, f"?pair={pair_id}")
        for key in ("d", "d", "?", "Escape", "e", "Escape", "g", "c", "Escape", "Control+k", "Escape", "v"):
            page.keyboard.press(key)
            assert of_desk(page, "desk.el.querySelectorAll('img, script, iframe, object').length") == 0
        page.get_by_role("button", name="flagged by").click()
        page.get_by_text(evil).first.wait_for()
        page.evaluate("fetch('/health')")  # what was asked for earlier has come by now
        assert asked == []
        assert [url for url in foreign if not url.startswith(("blob:", "data:"))] == []
    finally:
        studio.close()


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (820, 1180)])
def test_nothing_is_cut_off_or_needs_sideways_scrolling(page: Page, looked_at: Studio, width: int, height: int):
    page.set_viewport_size({"width": width, "height": height})
    open_desk(page, looked_at)
    page.keyboard.press("r")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    over = of_desk(
        page,
        """[...desk.el.querySelectorAll('.top, .cardhead, .transport, .bar, .acts, .said, .legend, .reasons')]
        .filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.className)""",
    )
    assert over == []
    if width >= 1440:
        assert of_desk(page, "desk.el.getBoundingClientRect().bottom") <= height


def test_the_server_behind_an_open_desk_never_loaded_torch(page: Page, looked_at: Studio):
    open_desk(page, looked_at)
    assert looked_at.process is not None
    mapped = Path(f"/proc/{looked_at.process.pid}/maps").read_text()
    assert "numpy" in mapped and "libtorch" not in mapped


def test_the_desk_never_sets_markup():
    """Data reaches the page as text nodes only."""
    for script in (Path(__file__).parent.parent.parent / "ui").glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", script.read_text()), (
            script
        )
