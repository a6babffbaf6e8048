"""The first page: where the studio stands, what is in the way, and the one thing to do next."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from db import jobs, pairs, people, videos
from db.overview import Stand, stand
from db.places import Folder
from tests.pages.test_pages import button, opened, texts
from ui.next_step import next_step

EMPTY = Stand(0, 0, 0, 0, 0, {}, 0, 0, 0, 0, None, {}, None, 0, frozenset())
SCANNED = replace(EMPTY, n_videos=9, n_kept=7)
MADE = replace(SCANNED, pairs={"pending": 50, "filtered": 5})
READ = replace(MADE, pairs={"pending": 40, "accepted": 10})
FROZEN = replace(READ, n_versions=1, newest_version=(1, "demo", 1, 10))
RUNNING = replace(FROZEN, runs={"running": 1})
DONE = replace(FROZEN, runs={"succeeded": 1}, newest_done=4)
MEASURED = replace(DONE, n_measured=2, measured_runs=frozenset({4}))


@pytest.mark.parametrize(
    ("now", "under_way", "page", "said"),
    [
        (EMPTY, (), "library", "Add videos"),
        (EMPTY, ("draw",), "library", "Watch the scan"),
        (replace(EMPTY, n_videos=9), (), "library", "Look at the rules"),
        (replace(EMPTY, n_videos=9, n_missing=9), (), "library", "Find the files"),
        (SCANNED, (), "pairs", "Make pairs"),
        (SCANNED, ("pair",), "pairs", "Watch the pairs"),
        (MADE, (), "review", "Review pairs"),
        (replace(MADE, pairs={"filtered": 5}), (), "pairs", "Look at the pairs"),
        (READ, (), "curriculum", "Set the levels and freeze"),
        (FROZEN, (), "runs", "Start a run"),
        (RUNNING, (), "runs", "Watch the run"),
        (replace(FROZEN, runs={"failed": 2}), (), "runs", "Look at the runs"),
        (DONE, (), "evaluate", "Evaluate the run"),
        (MEASURED, (), "review", "Review more"),
        (replace(MEASURED, pairs={"accepted": 30}), (), "curriculum", "Freeze again"),
        (replace(MEASURED, pairs={"accepted": 10}), (), "pairs", "Make more pairs"),
    ],
)
def test_there_is_one_next_step_wherever_the_studio_stands(now, under_way, page, said):
    step = next_step(now, under_way)
    assert (step.page, step.button) == (page, said) and step.why.endswith((".", "?"))


def test_an_empty_studio_teaches_what_a_pair_is_and_names_the_first_step(home):
    app = opened("overview")
    assert button(app, "Add videos") and "Choose a folder of videos" in texts(app)
    assert "0 videos, 0 kept" in texts(app)
    assert "tempo_teach" in [shown.proto.component_name for shown in app.get("bidi_component")]


def test_the_overview_counts_what_stands_at_each_stage(filled):
    with filled.reading() as session:
        of = pairs.counts(session).status
        total = sum(of.values())
    said = texts(opened("overview"))
    assert "7 videos, 5 kept, 2 left out" in said and f"{total} pairs" in said
    assert f"{of['accepted']} accepted, {of['pending']} to review" in said
    assert f"1 frozen version, the newest holds {of['accepted']} pairs" in said
    assert "1 run, 1 done" in said and "2 models measured" in said
    assert "1 flagged pair for a second look" in said


def test_pairs_of_a_withdrawn_video_are_counted_apart(filled):
    with filled.reading() as session:
        before = stand(session)
    with filled.session() as session:
        videos.withdraw(session, people.local(session), 1, "asked")
    with filled.reading() as session:
        now, n = stand(session), videos.get(session, 1).n_pairs
    assert (now.n_withdrawn, now.n_withdrawn_pairs, now.n_kept) == (1, n, before.n_kept - 1)
    assert now.n_pairs == before.n_pairs - n and n > 0
    assert f"{n} withdrawn" in texts(opened("overview"))


def test_what_is_in_the_way_is_said_with_the_way_out(filled, home, monkeypatch):
    with filled.session() as session:
        person = people.local(session)
        job = jobs.enqueue(session, "scan", {"folder": "/x"}, created_by=person.id, needs="cpu")
        taken = jobs.claim(session, "cpu:0", lease_ms=60_000)
        jobs.fail(session, job.id, taken.token, "bad_input", "/x holds no video.")
        jobs.enqueue(session, "draw", {}, created_by=person.id, needs="cpu")
        root = videos.libraries(session)[0][2]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 3 * 10**9))
    monkeypatch.setattr("ui.library_folders.places.folders", lambda _: [_gone(root)])
    said = texts(opened("overview")).replace("**", "")
    assert "3.0 GB are free where the studio keeps its files. Delete old exports" in said
    assert "is gone: 9 of 9 files are missing" in said and "Open Folders" in said
    assert "Work is queued, but no worker is there" in said


def _gone(root):
    return Folder(1, "drawn", root, False, 9, 9, ("a.mp4",))


@pytest.mark.parametrize(
    ("kind", "page"), [("scan", "Library"), ("export", "Exchange"), ("check", "Health"), ("train", "Runs")]
)
def test_a_failed_job_links_to_the_page_where_it_is_tried_again(filled, kind, page):
    with filled.session() as session:
        job = jobs.enqueue(session, kind, {"folder": "/x"}, created_by=people.local(session).id, needs="cpu")
        taken = jobs.claim(session, "cpu:0", lease_ms=60_000)
        jobs.fail(session, job.id, taken.token, "bad_input", "/x holds no video.")
    said = texts(opened("overview"))
    assert "/x holds no video." in said and f"Open {page} to try again" in said
