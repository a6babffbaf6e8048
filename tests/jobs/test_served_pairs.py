"""Pairs from a server: a thousand answers with the child killed in the middle and a server that fails in between."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter

import pytest
from sqlalchemy import select

from benchmarks.trust.yard import HANG_S
from db import caption_sets, jobs, models, pairs, people
from db.pair_filters import PairFilter
from db.tables import CaptionRow, PlanRow, ResponseRow
from jobs import launch, processes
from jobs.__main__ import main
from jobs.payloads import PairPayload
from jobs.tasks.answering import LOG
from tempo_core import caption_matching, servers
from tempo_core.settings import Home
from tests import studio
from tests.answering import MODEL, Fault, answering
from tests.db.shelf import Shelf, sha

N_CLIPS, N_VIDEOS = 16, 84
KEY = "sk-very-secret-0123456789"


@pytest.fixture
def server():
    with answering() as state:
        yield state


def captioned(yard, tmp_path) -> int:
    """Videos whose every clip has a caption that came with them, so that no picture is decoded; the set's id."""
    shelf = Shelf(yard.database, tmp_path)
    timelines = [shelf.timeline(shelf.video(f"video {i}"), N_CLIPS) for i in range(N_VIDEOS)]
    texts = {timeline: {clip: f"A thing of video {timeline} and clip {clip}." for clip in range(N_CLIPS)}
             for timeline in timelines}  # fmt: skip
    set_id, n_new = shelf.do(caption_sets.record, tmp_path / "c.csv", "given", sha("c"), caption_matching.RULE, texts)
    assert n_new == N_VIDEOS * N_CLIPS
    return set_id


def test_a_thousand_answers_survive_a_kill_and_a_failing_server_and_none_is_asked_for_twice(yard, tmp_path, server):
    set_id = captioned(yard, tmp_path)

    killed = threading.Event()

    def trouble(n: int, request) -> Fault | None:
        if n > 900:
            # However fast the child is, it is killed in the middle.
            killed.wait(HANG_S)
        busy = Fault(503, headers={"Retry-After": "0"})
        return {0: busy, 1: Fault(broken="drop"), 2: Fault(429, headers={"Retry-After": "0"})}.get(n % 97)

    server.trouble = trouble
    worker = yard.worker()
    payload = PairPayload(server=server.url, served_model=MODEL, captions_from=set_id)
    job_id = launch.enqueue(yard.database, payload, yard.person)
    yard.until(lambda: len(server.answered) > 400)

    # The worker stands still meanwhile, so that what was kept is looked at before anybody goes on.
    worker.send_signal(signal.SIGSTOP)
    pid = yard.job(job_id).pid
    os.kill(pid, signal.SIGKILL)
    yard.until(lambda: processes.started(pid) is None)
    killed.set()
    log = yard.home.runs / "jobs" / str(job_id) / LOG
    server.rest()
    kept = {json.loads(line)["question"] for line in log.read_bytes().split(b"\n") if line.endswith(b"}")}
    before = {request.body for request in server.questions}
    n_before, n_answered = len(server.questions), len(server.answered)
    with yard.database.reading() as session:
        stored = len(session.execute(select(ResponseRow.id)).all())
    assert 0 < stored <= len(kept) < 1000
    worker.send_signal(signal.SIGCONT)

    job = yard.ended(job_id)
    assert (job.state, job.attempt, job.result["failed"]) == ("succeeded", 2, {})
    assert not log.exists()

    # Nothing lost, nothing doubled: one row a recipe, each with what the server said to exactly that question.
    with yard.database.reading() as session:
        rows = session.execute(select(ResponseRow.timeline_id, ResponseRow.plan_id, ResponseRow.text)).all()
        n_pairs, n_plans = pairs.count(session, PairFilter()), len(session.execute(select(PlanRow.id)).all())
    expected = N_VIDEOS + n_plans
    assert expected > 1000 and n_pairs == n_plans
    answered = [body for body in server.answered if json.loads(body)["max_tokens"] != 1]
    said = {server.said(body) for body in answered}
    assert len(rows) == len({(timeline, plan) for timeline, plan, _ in rows}) == expected
    assert {text for *_, text in rows} == said and len(said) == expected

    # Nothing asked again that was kept; what was answered twice was on its way when the child died.
    asked_after = [request.body for request in server.questions[n_before:]]
    assert not {sha256(body) for body in asked_after} & kept
    twice = [body for body, n in Counter(answered).items() if n > 1]
    assert len(twice) <= servers.AT_ONCE and set(twice) <= before
    assert n_answered - len(kept) <= servers.AT_ONCE + 1  # one small question comes before the first
    assert len(answered) <= expected + servers.AT_ONCE


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


# -- frames, on real videos ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """One scanned video."""
    home = Home(tmp_path_factory.mktemp("films"))
    database = studio.fill(home, 1)
    yield home, database
    database.close()


def run(films, payload: PairPayload, monkeypatch) -> jobs.Job:
    """One attempt in a process of its own, without a worker."""
    home, database = films
    with database.session() as session:
        job_id = launch.enqueue_in(session, payload, people.local(session))
        job = jobs.claim(session, "cpu:0", lease_ms=60_000)
    assert job is not None and job.id == job_id
    ticket = f"{job.id}.{job.attempt}.{job.token}"
    environment = os.environ | {"TEMPO_HOME": str(home.root), processes.TICKET: ticket}
    done = subprocess.run([sys.executable, "-m", "jobs", "run", str(job.id)], env=environment, capture_output=True,
                          text=True, timeout=120, check=False)  # fmt: skip
    with database.reading() as session:
        ended = jobs.get(session, job.id)
    assert KEY not in done.stdout + done.stderr
    return ended


@pytest.mark.parametrize(("asked_on", "frames_as"), [("captions", "video"), ("clips", "video"), ("video", "images")])
def test_a_server_is_asked_about_frames_and_each_response_says_how(films, server, monkeypatch, asked_on, frames_as):
    monkeypatch.setenv(servers.KEY, KEY)
    payload = PairPayload(server=server.url, served_model=MODEL, input=asked_on, frames_as=frames_as,
                          kinds=("reverse",), magnitudes=(2,), temperature=0.5)  # fmt: skip
    job = run(films, payload, monkeypatch)
    assert (job.state, job.result["failed"], job.needs) == ("succeeded", {}, "cpu")
    _, database = films
    with database.reading() as session:
        (card,) = [pairs.get(session, line.id) for line in pairs.page(session, PairFilter())
                   if pairs.get(session, line.id).from_clean.job_id == job.id]  # fmt: skip
        model = models.get(session, card.from_clean.model_id)
        n_captions = len(session.execute(select(CaptionRow.id).where(CaptionRow.model_id == model.id)).all())
    asked = [request for request in server.questions if request.json["max_tokens"] != 1]
    n_clips = len(card.timeline)
    sent = card.from_clean.sampling
    assert (card.input, model.family, model.name) == (asked_on, "server", MODEL)
    assert (sent["backend"], sent["server"], sent["frames_as"], sent["temperature"], sent["positions"]) == (
        "openai", server.url, frames_as, 0.5, "server"
    )  # fmt: skip
    assert KEY not in json.dumps(sent) + str(model)
    if asked_on == "captions":
        assert [len(request.content) for request in asked[:n_clips]] == [2] * n_clips
        assert all(isinstance(request.content, str) for request in asked[n_clips:])
        assert n_captions == n_clips
    else:
        assert len(asked) == 2 and n_captions == 0
        n_parts = Counter(part["type"] for part in asked[0].content)
        assert n_parts == ({"video_url": n_clips, "text": 1} if asked_on == "clips" else
                           {"image_url": 2 * n_clips, "text": 1})  # fmt: skip
    assert {card.chosen, card.rejected} <= {server.said(request.body) for request in asked}


def test_a_server_that_loses_the_pictures_fails_the_job_before_anything_is_stored(films, server, monkeypatch):
    server.sees = False
    payload = PairPayload(server=server.url, served_model=MODEL, input="video", seed=5)
    job = run(films, payload, monkeypatch)
    assert job.state == "failed" and "does not see the pictures" in job.error
    assert len(server.questions) == 2


def test_the_command_line_tells_a_wrong_name_or_key_before_a_job_is_queued(yard, server, monkeypatch, capsys):
    monkeypatch.setenv("TEMPO_HOME", str(yard.home.root))
    assert main(["pair", "--server", server.url, "--served-model", "nobody"]) == 2
    assert f"serves no model 'nobody'. It serves: {MODEL}" in capsys.readouterr().err
    server.trouble = lambda n, request: Fault(401)
    assert main(["pair", "--server", server.url, "--served-model", MODEL]) == 2
    assert f"Set {servers.KEY}" in capsys.readouterr().err
    with yard.database.reading() as session:
        assert jobs.latest(session, 5) == ()
