"""A question about a video, answered by the embedded model as the job does it."""

from __future__ import annotations

import pytest

from db import jobs, models, people
from jobs.payloads import AskPayload
from jobs.tasks import JobRef, ask
from tempo_core import trying
from tempo_core.errors import Unknown
from tempo_core.settings import EMBEDDED_MODEL, Home
from tempo_core.trying import Trial
from tempo_core.video_llms import checkpoints
from tests import studio


class Told:
    """What the task says of its progress."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, progress) -> None:
        self.texts.append(progress.text)

    tell = __call__

    def should_stop(self) -> bool:
        return False


def test_questions_are_answered_token_by_token_on_models_that_stay_loaded(tmp_path, monkeypatch):
    home = Home(tmp_path / "home")
    database = studio.fill(home, n_videos=1)
    found = checkpoints.inspect(EMBEDDED_MODEL)
    with database.session() as session:
        model = models.register(session, found.path, found.family, found.files_sha256, found.name)
        job = jobs.enqueue(session, "ask", {}, created_by=people.local(session).id, needs="gpu")
        jobs.claim(session, "gpu:0", lease_ms=60_000)
    payload, folder = AskPayload((f"base-{model}",)), home.runs / "jobs" / str(job.id)
    first = trying.ask(folder, Trial(1, "List what you see from beginning to end."))
    refused = trying.ask(folder, Trial(1, "Who is the guest?"))
    assert trying.waiting(folder, 1) == [first, refused]
    said, say = [], trying.say
    monkeypatch.setattr(trying, "say", lambda *what: (said.append(what[3]), say(*what)))
    monkeypatch.setattr(ask, "IDLE_S", 0.0)
    told = Told()
    assert ask.run(database, JobRef(job.id, "ask", payload, 1, "t", folder, home), told) == {"answered": 2}
    seen, other = trying.look(folder, first, 1), trying.look(folder, refused, 1)
    assert seen.done and seen.said[0].finish in ("stop", "length") and seen.strip.startswith(b"\xff\xd8")
    assert len(seen.frames) == 16
    growing = [one.n_tokens for one in said if not one.finish]
    assert growing == list(range(1, seen.said[0].n_tokens + 1))
    assert other.said[0].finish == "error" and "guest" in other.said[0].text
    with pytest.raises(Unknown, match="no run 9"):
        ask.checkpoint(database, "9-dpo")
    database.close()
