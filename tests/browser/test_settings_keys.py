"""Keys are set by pressing them, also many in a row, and what clashes is named before it can be saved."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from running import HANG_MS, Studio, wait_for

from db import people, settings


def stored(studio: Studio) -> dict[str, str]:
    with studio.database.reading() as session:
        return settings.keys(session, people.local(session))


def test_keys_pressed_in_their_fields_are_saved_and_a_clash_is_named(page: Page, studio: Studio):
    page.goto(f"{studio.url}/settings?tab=Keys")
    field = page.get_by_label("accept", exact=True)
    expect(field).to_have_value("A", timeout=HANG_MS)
    field.focus()
    for key in ("j", "Tab", "k", "Tab", "Shift+ArrowUp", "Tab", "r"):
        page.keyboard.press(key)
    save = page.get_by_role("button", name="Save keys")
    expect(save).to_be_enabled(timeout=HANG_MS)
    page.get_by_label("flag for a second opinion").focus()
    page.keyboard.press("k")
    expect(page.get_by_text('K is on "reject" and "flag for a second opinion"')).to_be_visible(timeout=HANG_MS)
    expect(save).to_be_disabled()
    page.get_by_label("flag for a second opinion").focus()
    page.keyboard.press("Backspace")
    expect(save).to_be_enabled(timeout=HANG_MS)
    save.click()
    expect(page.get_by_text("The desk uses them from its next pair on")).to_be_visible(timeout=HANG_MS)
    expected = {"accept": "j", "reject": "k", "swap": "Shift+ArrowUp", "edit": "r", "flag": ""}
    wait_for(lambda: stored(studio) == expected, f"{stored(studio)}")
    page.reload()
    expect(page.get_by_label("accept", exact=True)).to_have_value("J", timeout=HANG_MS)
    expect(page.get_by_label("flag for a second opinion")).to_have_value("")
