"""The command line as a script meets it: exit codes, sentences, and a worker that outlives its starter."""

import os
import signal
import subprocess
import sys

import pytest

from db import jobs
from jobs import commands, doctor, launch
from jobs.__main__ import main, parser
from tempo_core.errors import TempoError
from tempo_core.recipes import PRESETS
from tempo_core.settings import Home
from tempo_core.timeline import Richness

COMMANDS = (
    "draw",
    "scan",
    "judge",
    "relink",
    "copies",
    "captions",
    "pair",
    "accept",
    "freeze",
    "sft",
    "train",
    "evaluate",
    "experiment",
    "import",
    "export",
    "export-model",
    "export-clip",
    "backup",
    "restore",
    "check",
    "setup",
    "worker",
    "doctor",
    "jobs",
    "cancel",
    "run",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"python -m jobs {command}" in capsys.readouterr().out


def test_the_help_names_every_command():
    shown = parser().format_help().splitlines()
    assert all(any(line.split()[:1] == [command] for line in shown) for command in COMMANDS)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["relink", "/never/seen", "/no/such/folder"], "/no/such/folder does not exist"),
        (["relink", "/never/seen", "/tmp"], "No video was seen in /never/seen"),
        (["scan", "/no/such/folder"], "/no/such/folder does not exist"),
        (["scan", "/tmp", "--set", "beauty=3"], "min_clips"),
        (["scan", "/tmp", "--set", "min_clips=many"], "'many' is no number"),
        (["pair", "--model", "/tmp"], "/tmp"),
        (["pair", "--magnitudes", "1"], "at least 2"),
        (["pair", "--input", "clips"], "reads one video a question"),
        (["pair", "--captions-from", "7"], "There is no set of captions 7"),
        (["pair", "--server", "ftp://h/v1", "--served-model", "q"], "http and https are taken"),
        (["pair", "--server", "http://127.0.0.1:1/v1", "--served-model", "q"], "cannot be reached"),
        (["captions", "/no/such.csv"], "/no/such.csv is no file"),
        (["pair", "--phrasing", "Describe {captions}."], "nothing is filled in"),
        (["evaluate"], "either a run or a model folder"),
        (["train", "--resume", "77"], "77"),
        (["export-model", "77"], "There is no run 77"),
        (["export-model", "77", "--max-shard-size", "much"], "write it like 5GB"),
        (["export-clip", "77", "--out", "/tmp/no-such.mp4"], "There is no pair 77"),
        (["export-clip", "77", "--out", "/tmp/no-such.avi"], ".mp4 or .gif"),
        (["cancel", "77"], "No job has the id 77"),
        (["jobs", "77"], "No job has the id 77"),
        (["accept", "--levels", "easy"], "easy"),
        (["freeze"], "No accepted pair"),
        (["freeze", "--view", "mine"], "There is no saved view 'mine'"),
        (["freeze", "--view", "mine", "--kinds", "drop"], "not both"),
        (["freeze", "--curriculum", "gentle"], "There is no curriculum 'gentle'"),
        (["run", "1"], "is for the worker"),
    ],
)
def test_bad_input_is_two_and_a_sentence(shell, capsys, argv, words):
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_an_unknown_option_is_two():
    with pytest.raises(SystemExit) as end:
        main(["draw", "--colour", "red"])
    assert end.value.code == 2


def test_a_list_of_numbers_that_is_none_is_told_with_its_value(capsys):
    with pytest.raises(SystemExit):
        main(["paper", "--runs", "1;2"])
    assert "'1;2' is no list of whole numbers, such as 1,2" in capsys.readouterr().err


def test_a_job_is_followed_to_its_result_by_a_worker_that_outlives_the_command(shell, capsys):
    assert main(["draw", "--videos", "2"]) == 0
    said = capsys.readouterr()
    assert "draw 1 done: " in said.out
    assert "100%" in said.err
    job = shell.job(1)
    assert (job.state, job.result["videos"]) == ("succeeded", 2)
    assert shell.until(lambda: launch.worker_alive(shell.database))


def test_a_job_that_finds_its_input_bad_is_two_with_the_reason_kept(shell, capsys):
    assert main(["copies", "--likeness", "0.2"]) == 2
    job = shell.job(1)
    assert (job.state, job.error_class) == ("failed", "bad_input")
    assert job.error in capsys.readouterr().err


def test_ctrl_c_cancels_the_job_that_is_waited_for(shell):
    # A suite that runs in the background inherits a Ctrl-C that is ignored; a person's shell does not.
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", "draw", "--videos", "5000"],
        stderr=subprocess.PIPE,
        env=os.environ,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    shell.started.append(process)
    shell.until(lambda: shell.started_jobs() and shell.job(1).progress > 0)
    process.send_signal(signal.SIGINT)

    assert process.wait(timeout=300) == 130
    assert "asked to stop" in process.stderr.read()
    assert shell.ended(1).state == "cancelled"


def test_no_wait_only_queues_and_cancel_stops_it(shell, capsys):
    blocker = shell.enqueue(steps=10_000, needs="cpu")
    shell.worker()
    shell.at_step(blocker, 1)
    assert main(["draw", "--videos", "3", "--no-wait"]) == 0
    assert capsys.readouterr().out == "job 2\n"
    assert main(["cancel", "2"]) == 0
    assert "cancelled" in capsys.readouterr().out
    assert main(["jobs"]) == 0
    assert "cancelled" in capsys.readouterr().out


def test_a_cancelled_job_is_three(shell):
    with shell.database.session() as session:
        job = jobs.cancel(session, shell.enqueue_in(session))
    assert commands._exit_code(job) == 3


def test_two_starts_of_the_worker_leave_one_that_leads(shell, monkeypatch):
    monkeypatch.setenv("TEMPO_LEASE_S", "15")
    launch.ensure_worker(shell.database, shell.home)
    # Not by `ensure_worker`, which starts none where the first leads by now.
    shell.rhythm = {**shell.rhythm, "TEMPO_LEASE_S": "15"}
    shell.worker()
    logs = shell.home.runs / "worker.log", shell.home.root / "worker.log"
    shell.until(lambda: any("leads already" in log.read_text() for log in logs))
    pid = shell.leader_pid()
    launch.ensure_worker(shell.database, shell.home)
    assert (shell.leader_pid(), sum(log.read_text().count(" leads, pid ") for log in logs)) == (pid, 1)


def test_settings_take_the_type_of_what_they_change():
    assert commands.changed(Richness(), ["min_clips=3", "max_shot_s=20"]) == {"min_clips": 3, "max_shot_s": 20.0}
    assert commands.changed(PRESETS["paper"], ["gradient_checkpointing=false"]) == {"gradient_checkpointing": False}
    assert commands.changed(PRESETS["paper"], ["ld_alpha=0.5", "positions=hf", "sft_steps=7"]) == {
        "ld_alpha": 0.5, "positions": "hf", "sft_steps": 7,
    }  # fmt: skip
    with pytest.raises(TempoError, match="detector"):
        commands.changed(Richness(), ["detector=mine"])


def test_the_log_is_shown_without_colours_and_with_bars_as_they_ended(shell):
    path = shell.home.runs / "jobs" / "1" / "attempt-1.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x1b[31mred\x1b[0m\n 10%\r 90%\rdone\r\nhalf a li")
    assert launch.log_from(path, 0) == ("red\ndone\n", len(path.read_bytes()) - len("half a li"))
    assert launch.log_tail(shell.home, 1, 1).endswith("half a li")
    assert launch.log_tail(shell.home, 1, 2) == ""


def test_the_doctor_finds_this_machine_fit(yard):
    found = {finding.what: finding for finding in doctor.examine(yard.home)}
    fit = ("Python", "packages", "disk", "database", "video", "torch", "worker", "queue")
    assert {name: found[name].level for name in fit} == dict.fromkeys(fit, "ok")
    assert found["SQLite"].level in ("ok", "amber")


def test_the_doctor_refuses_a_damaged_database(tmp_path):
    home = Home(tmp_path)
    assert doctor.database(home).level == "ok"  # none yet
    home.database.write_bytes(b"no database at all" * 100)
    damaged = doctor.database(home)
    assert damaged.level == "red" and "jobs restore" in damaged.way_out
