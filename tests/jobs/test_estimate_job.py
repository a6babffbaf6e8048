"""What a run would take, asked before it is started: the job behind the button and behind `train --estimate`."""

from dataclasses import replace

import pytest

from db import bulk, datasets, jobs, people, run_notes, runs, videos, withdrawals
from db.pair_filters import PairFilter
from jobs import payloads, starting
from jobs.tasks import JobRef, estimate
from tempo_core import video_llms
from tempo_core.errors import EmptyStage, ModelRefused
from tempo_core.recipes import PRESETS
from tempo_core.settings import EMBEDDED_MODEL, Home
from tempo_core.training import forecast, rows
from tests import studio

CONFIG = replace(PRESETS["embedded"], recipe="dpo", pairs_per_step=2, micro_batch=2)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A studio with a frozen version: home, database, person, version."""
    home = Home(tmp_path_factory.mktemp("home"))
    database = studio.fill(home, 2)
    with database.session() as session:
        person = people.local(session)
        bulk.decide(session, person, PairFilter(), "accepted", token="all")
        version = datasets.freeze(session, person, "demo")
    yield home, database, person, version
    database.close()


def answered(filled, config=CONFIG, **more):
    """Queue the question and do its job in this process, as the worker's child would; the answer."""
    home, database, person, version = filled
    job_id = starting.estimate_run(database, person, config, EMBEDDED_MODEL, version_id=version, **more)
    with database.reading() as session:
        job = jobs.get(session, job_id)
    payload = payloads.parse(job.kind, job.payload)
    return estimate.run(database, JobRef(job_id, "estimate", payload, 1, "", home.runs, home), lambda progress: None)


def test_the_answer_counts_the_steps_that_the_run_would_have_and_makes_no_run(filled):
    home, database, _, version = filled
    found = answered(filled)
    with database.reading() as session:
        plan = starting.preview(session, version, CONFIG)
        assert runs.listing(session) == []
    assert found["n_pairs"] == len(plan.planned) and found["n_too_long"] == 0
    assert found["n_steps"] == 1 + max(place.step for place in plan.planned)
    assert found["seconds"] > 0 and found["memory_bytes"] > 1e8 and found["disk_bytes"] > 1e5
    assert found["text"].startswith("less than a minute, ") and found["warnings"] == []
    assert [place.name for place in home.runs.glob("run-*")] == []


def test_twice_the_epochs_are_twice_the_steps_and_over_long_pairs_are_counted_out(filled, monkeypatch):
    # One speed for both answers: measured, it may be another one a moment later.
    monkeypatch.setattr(forecast, "forward_and_backward", lambda *_: 1.0)
    once, twice = answered(filled), answered(filled, replace(CONFIG, dpo_epochs=2))
    assert twice["n_steps"] == 2 * once["n_steps"] and twice["seconds"] > once["seconds"]
    _, database, _, version = filled
    with database.reading() as session:
        pairs = [item.pair for item in datasets.items(session, version, "train")]
    lengths = sorted(rows.too_long(pairs, video_llms.load(EMBEDDED_MODEL), 0).values())
    shortest = lengths[0]
    # Over-long pairs go, and what remains is planned without them.
    fewer = answered(filled, replace(CONFIG, max_tokens=shortest), skip_small=True, smaller_step=True)
    assert fewer["n_too_long"] == sum(n > shortest for n in lengths) > 0
    assert 0 < fewer["n_pairs"] <= once["n_pairs"] - fewer["n_too_long"]


def test_what_a_start_would_refuse_is_refused_at_once_and_nothing_is_queued(filled, tmp_path):
    _, database, person, version = filled
    with database.reading() as session:
        before = jobs.open_jobs(session)
    with pytest.raises(ModelRefused, match=r"has no config\.json"):
        starting.estimate_run(database, person, CONFIG, tmp_path, version_id=version)
    with pytest.raises(EmptyStage):
        starting.estimate_run(database, person, replace(CONFIG, pairs_per_step=500), EMBEDDED_MODEL, version_id=version)
    with database.reading() as session:
        assert jobs.open_jobs(session) == before


def test_a_run_on_a_version_from_before_a_withdrawal_says_which_video_it_should_not_have_had(filled):
    _, database, person, version = filled
    with database.session() as session:
        card = videos.get(session, datasets.items(session, version, "train")[0].video_id)
        withdrawals.withdraw(session, person, card.id, "asked by its author", cause="privacy")
    run_id = starting.start_run(database, person, CONFIG, EMBEDDED_MODEL, version_id=version)
    with database.session() as session:
        notes = [note.text for note in run_notes.listing(session, run_id) if note.kind == "withdrawn"]
        withdrawals.give_back(session, person, card.id)
    assert len(notes) == 1 and notes[0].startswith(f"{card.name} had been withdrawn")
