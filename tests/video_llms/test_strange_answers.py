"""Answers that no model should give make no pair that a person has to read; the row F12 of docs/trust.md."""

from __future__ import annotations

from benchmarks.trust import f12_strange_answers as strange


def test_no_strange_answer_of_a_server_makes_a_pair_in_the_queue():
    took, queued = strange.judged()
    assert queued == [] and took.keys() == strange.STRANGE.keys()


def test_an_ordinary_pair_of_answers_would_be_in_the_queue(monkeypatch):
    """Else the test above could not fail."""
    ordinary = ("A man opens the door, then a dog barks.", "A dog barks, then a man opens the door and leaves.")
    monkeypatch.setattr(strange, "STRANGE", {"ordinary": lambda n: strange._saying(ordinary[n])})
    assert strange.judged()[1] == ["ordinary"]


def test_a_model_whose_logits_are_no_numbers_fills_no_queue():
    assert strange.of_no_numbers().held
