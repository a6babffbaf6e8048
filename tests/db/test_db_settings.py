"""What a group agrees on, and each reviewer's own keys: told clearly when it cannot be."""

import pytest
from shelf import Shelf

from db import guidelines, people, settings
from db.tables import UserRow
from tempo_core.errors import BadSettings, NotAllowed, Unknown
from ui import desk_keys

pytestmark = pytest.mark.long_on_postgres

DEFAULTS = {"accept": "a", "reject": "r", "edit": "e", "editRejected": "Shift+e", "play": " ", "stepBack": "ArrowLeft"}


# ---- guidelines -----------------------------------------------------------------------------------------------------
def test_a_changed_text_is_a_new_version_and_the_old_one_stays_readable(shelf, me):
    assert shelf.look(guidelines.current) is None
    first = shelf.do(guidelines.write, me, "Accept what the order tells.")
    second = shelf.do(guidelines.write, me, "  Accept what the order tells.\r\nReject the rest. ")
    assert shelf.look(guidelines.current) == second
    assert second.text == "Accept what the order tells.\nReject the rest."
    assert shelf.look(guidelines.get, first.sha256).text == "Accept what the order tells."
    assert [(text.number, text.by) for text in shelf.look(guidelines.versions)] == [(2, "local"), (1, "local")]


def test_an_earlier_text_can_hold_again(shelf, me):
    first = shelf.do(guidelines.write, me, "one")
    shelf.do(guidelines.write, me, "two")
    assert shelf.do(guidelines.write, me, "one") == first == shelf.look(guidelines.current)
    assert len(shelf.look(guidelines.versions)) == 2


@pytest.mark.parametrize("text", ["", " \n ", "x" * 20_001])
def test_guidelines_say_something_and_can_be_read(shelf, me, text):
    with pytest.raises(BadSettings, match="when to reject"):
        shelf.do(guidelines.write, me, text)


def test_only_an_admin_sets_what_holds_for_all(shelf, ada):
    for verb, value in ((guidelines.write, "x"), (settings.set_reasons, ["x"]), (settings.set_phrasings, ["x"])):
        with pytest.raises(NotAllowed, match="admin"):
            shelf.do(verb, ada, value)
    with pytest.raises(Unknown):
        shelf.look(guidelines.get, "0" * 64)


# ---- reasons and prompts --------------------------------------------------------------------------------------------
def test_reasons_are_the_desks_own_until_a_group_agrees_on_others(shelf, me):
    assert shelf.look(settings.reasons) == settings.REASONS
    assert shelf.do(settings.set_reasons, me, [" too  short", "", "blurred"]) == ("too short", "blurred")
    assert shelf.look(settings.reasons) == ("too short", "blurred")
    assert shelf.look(settings.changed, "reasons").by == "local"
    assert shelf.do(settings.set_reasons, me, []) == settings.REASONS == shelf.look(settings.reasons)


@pytest.mark.parametrize(
    ("reasons", "told"),
    [([str(n) for n in range(10)], "at most 9"), (["x" * 61], "at most 60"), (["Blurred", "blurred "], "twice")],
)
def test_reasons_that_cannot_be_on_keys_are_refused(shelf, me, reasons, told):
    with pytest.raises(BadSettings, match=told):
        shelf.do(settings.set_reasons, me, reasons)
    assert shelf.look(settings.reasons) == settings.REASONS


def test_prompts_of_ones_own_are_kept_in_order_and_can_be_given_up(shelf, me):
    assert shelf.look(settings.phrasings) == ()
    assert shelf.do(settings.set_phrasings, me, ["Tell it.", "", " Say  what happens. "]) == (
        "Tell it.",
        "Say what happens.",
    )
    assert shelf.look(settings.phrasings) == ("Tell it.", "Say what happens.")
    assert shelf.do(settings.set_phrasings, me, []) == shelf.look(settings.phrasings) == ()


@pytest.mark.parametrize("prompt", ["Describe {captions}.", "Describe <|video_pad|>.", "x" * 601])
def test_a_prompt_is_asked_as_it_stands(shelf, me, prompt):
    with pytest.raises(BadSettings):
        shelf.do(settings.set_phrasings, me, ["Tell it.", prompt])
    assert shelf.look(settings.phrasings) == ()


# ---- keys -----------------------------------------------------------------------------------------------------------
def test_keys_are_ones_own_and_only_what_differs_is_kept(shelf, ada, bob):
    stored = shelf.do(settings.set_keys, ada, {"accept": "J", "reject": "r", "play": ""}, defaults=DEFAULTS)
    assert stored == shelf.look(settings.keys, ada) == {"accept": "Shift+j", "play": ""}
    assert shelf.look(settings.keys, bob) == {}
    shelf.do(settings.set_keys, ada, {}, defaults=DEFAULTS)
    assert shelf.look(settings.keys, ada) == {}


def test_two_acts_may_swap_their_keys_but_not_share_one(shelf, ada):
    assert shelf.do(settings.set_keys, ada, {"accept": "r", "reject": "a"}, defaults=DEFAULTS)
    with pytest.raises(BadSettings, match=r"'Shift.e' is on two acts, accept and editRejected"):
        shelf.do(settings.set_keys, ada, {"accept": "E"}, defaults=DEFAULTS)
    assert shelf.look(settings.keys, ada) == {"accept": "r", "reject": "a"}


def test_acts_without_a_key_are_no_conflict():
    off = {act: "" for act, key in DEFAULTS.items() if key[-1].isalpha() and len(key) < 8}
    assert settings.checked_keys(off, DEFAULTS) == {"accept": "", "reject": "", "edit": "", "editRejected": ""}


@pytest.mark.parametrize(
    "key",
    ["Escape", "Enter", "Tab", "F5", "Ctrl+a", "Meta+w", "Alt+d", "3", "Shift+3", "Shift+?", "ab", "\x00", "Shift+"],
)
def test_keys_that_are_not_ours_are_refused(key):
    with pytest.raises(BadSettings):
        settings.checked_keys({"accept": key}, DEFAULTS)


def test_an_unknown_act_is_told():
    with pytest.raises(BadSettings, match="no act 'explode'"):
        settings.checked_keys({"explode": "x"}, DEFAULTS)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("a", "a"), ("A", "Shift+a"), ("shift+a", "Shift+a"), (" ", " "), ("space", " "), ("arrowleft", "ArrowLeft"),
        ("Shift+ArrowLeft", "Shift+ArrowLeft"), ("?", "?"), ("[", "["), ("ö", "ö"), ("+", "+"), ("", ""),
        ("Ctrl+k", "Control+k"), ("control+shift+ArrowUp", "Control+Shift+ArrowUp"), ("Alt+a", "Alt+a"),
    ],
)  # fmt: skip
def test_a_key_is_stored_as_the_desk_reads_it(typed, stored):
    assert settings.spelling(typed) == stored


def test_every_default_of_the_desk_could_be_chosen():
    assert {act: settings.spelling(key) for act, key in desk_keys.DEFAULTS.items()} == desk_keys.DEFAULTS
    for key in settings.BROWSERS_OWN:
        with pytest.raises(BadSettings):
            settings.spelling(key)


def test_other_preferences_of_the_person_stay(shelf: Shelf, ada):
    def remember(session):
        session.get(UserRow, ada.id).preferences = {"theme": "dark"}

    shelf.do(remember)
    shelf.do(settings.set_keys, ada, {"accept": "j"}, defaults=DEFAULTS)
    shelf.do(settings.set_keys, ada, {}, defaults=DEFAULTS)
    with shelf.database.reading() as session:
        assert session.get(UserRow, ada.id).preferences == {"theme": "dark"}
    assert shelf.look(people.get, ada.id) == ada
