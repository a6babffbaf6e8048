"""The settings page: what is written there is what the desk and the pairing then read; what cannot be is told."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from db import guidelines, people, settings
from tests.pages.test_pages import component, opened, press, texts, widget
from ui import desk_keys, own_keys, state


def stored(verb, *arguments):
    with state.database().reading() as session:
        return verb(session, *arguments)


def test_guidelines_are_written_as_versions_and_an_earlier_one_can_hold_again(home):
    app = opened("settings")
    assert "No guidelines yet" in texts(app)
    for text in ("Accept what tells the order.", "Accept it. ![x](http://evil.test/x)"):
        app.text_area[0].input(text)
        app = press(app, "Save as a new version")
    assert "Saved." in texts(app) and "Version 2, by local" in texts(app) and "0 reviews followed it" in texts(app)
    assert stored(guidelines.current).text == "Accept it. ![x](http://evil.test/x)"
    press(app, "Let this one hold again")
    assert stored(guidelines.current).text == "Accept what tells the order."
    app.text_area[0].input(" ")
    assert "1 to 20,000 characters" in texts(press(app, "Save as a new version"))


def test_the_tab_is_in_the_address_and_reasons_are_kept_in_the_order_of_their_keys(home):
    app = opened("settings", tab="Reasons")
    assert [field.value for field in app.text_input][:6] == list(settings.REASONS)
    widget(app.text_input, "Key 1").input("too blurred")
    widget(app.text_input, "Key 7").input("two events at once")
    app = press(app, "Save reasons")
    assert stored(settings.reasons) == ("too blurred", *settings.REASONS[1:], "two events at once")
    assert "Last changed by local" in texts(app)
    widget(app.text_input, "Key 2").input("Too  blurred")
    assert "is there twice" in texts(press(app, "Save reasons"))
    press(app, "Defaults")
    assert stored(settings.reasons) == settings.REASONS


def test_prompts_tell_which_words_the_embedded_model_cannot_read_before_they_are_saved(home):
    app = opened("settings", tab="Prompts")
    app.text_area[0].input("What happens in this video, step by step?\nSummarise the video.").run()
    table = app.dataframe[0].value.set_index("prompt")["embedded model"]
    assert table.tolist() == ["reads it", "Summarise"]
    assert "1 of 2 cannot be read by the embedded model" in texts(app)
    app = press(app, "Save prompts")
    assert stored(settings.phrasings) == ("What happens in this video, step by step?", "Summarise the video.")
    app.text_area[0].input("Describe {video}.").run()
    assert "nothing is filled in" in texts(app)
    press(app, "The models")
    assert stored(settings.phrasings) == ()


def test_letters_off_leaves_every_act_without_a_single_letter_and_defaults_bring_them_back(home):
    app = press(opened("settings", tab="Keys"), "Letters off")
    assert "not saved yet" in texts(app) or app.session_state["keys_draft"]["accept"] == ""
    press(app, "Save keys")
    with state.database().reading() as session:
        own = settings.keys(session, people.local(session))
    kept = desk_keys.merged(own)
    assert own["accept"] == "" and kept["play"] == " " and kept["palette"] == "Control+k"
    assert not any(own_keys.is_letter(key) for key in kept.values() if key)
    app = press(press(opened("settings", tab="Keys"), "Defaults"), "Save keys")
    with state.database().reading() as session:
        assert settings.keys(session, people.local(session)) == {}


def test_two_acts_on_one_key_are_named_and_cannot_be_saved(home):
    app = opened("settings", tab="Keys")
    component(app, "tempo_keys")
    app.session_state["keys_draft"] = {**desk_keys.DEFAULTS, "accept": "r", "flag": "Escape"}
    app.run()
    assert 'R is on "accept" and "reject". Give one of them another key.' in texts(app)
    assert "'Escape' cannot be a key here" in texts(app)
    assert next(b for b in app.button if b.label == "Save keys").disabled


def test_who_is_no_admin_reads_what_holds_for_all_and_sets_only_own_keys(home, monkeypatch):
    opened("settings")
    with state.database().session() as session:
        ada = people.add(session, "test|ada", "Ada", "reviewer")
    monkeypatch.setattr(state, "person", lambda: ada)
    for tab in ("Guidelines", "Reasons", "Prompts"):
        app: AppTest = opened("settings", tab=tab)
        assert "an admin changes them" in texts(app)
        assert all(b.disabled for b in app.button if "Save" in b.label)
    press(press(opened("settings", tab="Keys"), "Letters off"), "Save keys")
    assert stored(settings.keys, ada)["accept"] == ""
