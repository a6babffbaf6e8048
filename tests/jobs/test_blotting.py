"""T13: keys of the environment are in no log and no stored error."""

from __future__ import annotations

import logging
import sys

import pytest

from jobs import launch, starting
from jobs.blotting import Blotting, blotted
from tempo_core import servers

KEYS = {
    "HF_TOKEN": "hf_abcdefghijklmnop",
    servers.KEY: "sk-0123456789abcdef",
    "OPENAI_API_KEY": "sk-fedcba9876543210",
    "TEMPO_DATABASE_URL": "postgresql+psycopg://tempo:a-long-password@db/tempo",
}
SAID = "401 for hf_abcdefghijklmnop with sk-0123456789abcdef, sk-fedcba9876543210 and a-long-password"


@pytest.fixture
def keys(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def test_every_key_is_blotted_and_the_rest_of_the_text_stays(keys):
    assert blotted(SAID) == "401 for <HF_TOKEN> with <TEMPO_SERVER_KEY>, <OPENAI_API_KEY> and <TEMPO_DATABASE_URL>"
    assert blotted("nothing of it") == "nothing of it"


def test_a_short_value_is_no_key_and_blots_no_words(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "the")
    assert blotted("the end of the job") == "the end of the job"


def test_what_libraries_print_and_log_is_blotted_on_its_way(keys, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Blotting(sys.stderr))
    print(SAID, file=sys.stderr)
    handler = logging.StreamHandler(sys.stderr)
    handler.emit(logging.makeLogRecord({"msg": SAID}))
    written = capsys.readouterr().err
    assert written.count("<HF_TOKEN>") == 2
    assert not any(value in written for value in ("hf_abc", "sk-0", "sk-f", "a-long-password"))


def test_the_password_of_postgres_own_tools_is_a_key(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "long-enough")
    monkeypatch.setenv("TEMPO_DATABASE_URL", "postgresql+psycopg://tempo:a%2Flong%2Fone@db/tempo")
    assert blotted("as long-enough or a/long/one") == "as <PGPASSWORD> or <TEMPO_DATABASE_URL>"


def test_of_two_keys_that_begin_alike_nothing_is_left(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "beginning")
    monkeypatch.setenv("B_TOKEN", "beginning-and-end")
    assert blotted("beginning-and-end, beginning") == "<B_TOKEN>, <A_TOKEN>"


def test_a_run_keeps_versions_of_its_environment_and_nothing_else(keys):
    assert set(starting.environment()) == {"python", "torch", "transformers", "trl", "peft", "accelerate"}


def test_what_a_library_logs_in_a_real_job_is_blotted(yard, monkeypatch):
    """The key is what SQLAlchemy logs of every heartbeat, if asked to."""
    monkeypatch.setenv("HF_TOKEN", "UPDATE job SET")
    yard.enqueue(steps=1)
    asked = "import logging; logging.getLogger('sqlalchemy.engine').setLevel(logging.INFO)"
    assert yard.child(yard.claimed(), before=asked).wait() == 0
    log = (yard.home.root / "child.log").read_text()
    assert "<HF_TOKEN>" in log and "UPDATE job SET" not in log


def test_a_real_job_that_dies_of_one_stores_and_logs_none_and_runs_nothing_of_its_payload(yard, monkeypatch, tmp_path):
    """The key is what `sleep` says when it fails; T6: what a payload holds reaches no command line."""
    canary = tmp_path / "canary"
    monkeypatch.setenv("HF_TOKEN", "asked to fail at step")
    job_id = yard.enqueue(steps=1, fail_at=0, label=f"--help\n$(touch {canary})`touch {canary}`;touch {canary}\0")
    yard.worker()
    job = yard.ended(job_id)
    log = launch.log_tail(yard.home, job_id, job.attempt)
    assert job.error.startswith("RuntimeError: <HF_TOKEN> 0") and "RuntimeError: <HF_TOKEN> 0" in log
    assert "asked to fail at step" not in log and not canary.exists()
