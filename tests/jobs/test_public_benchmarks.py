"""Benchmarks in files from the command line to the evaluation tables, with a very small real Video LLM."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from db import bulk, datasets, evaluations, jobs, people
from db.pair_filters import PairFilter
from jobs import starting
from jobs.__main__ import main
from jobs.payloads import BadPayload, EvaluatePayload
from jobs.tasks import in_files
from tempo_core import benchmarks
from tempo_core.errors import HeldOutLeak, TooFew
from tempo_core.recipes import PRESETS
from tempo_core.settings import EMBEDDED_MODEL, Home
from tests import studio
from tests.checkpoints import qwen_folder

__all__ = ["qwen_folder"]

ROOT = Path(__file__).parent.parent.parent
QUESTION = {"question": "What does it do?\nA. it moves\nB. it stays", "answer": "A. it moves"}


@pytest.fixture
def folder(tmp_path_factory):
    """TempCompass's form with three videos named, one there, one that is no video, one missing."""
    folder = tmp_path_factory.mktemp("benchmarks") / "TempCompass"
    (folder / "videos").mkdir(parents=True)
    studio.draw(folder / "videos" / "7.mp4", (10, 10))
    (folder / "videos" / "8.gif").write_bytes(b"no video")
    questions = {name: {"action": [QUESTION], "order": [QUESTION]} for name in ("7", "8", "9_reverse")}
    (folder / "multi-choice.json").write_text(json.dumps(questions))
    return folder


def test_the_real_forward_and_reversed_pair_is_asked_its_official_questions(shell, qwen_folder, capsys):
    data = Path(os.environ.get("TEMPO_TEST_DATA") or "/nowhere") / "benchmarks"
    if not data.is_dir():
        pytest.skip("TEMPO_TEST_DATA names no folder with benchmarks/: the real pair is not asked about")
    code = main(["evaluate", "--model", str(qwen_folder), "--benchmarks", "tempcompass", "--data", str(data),
                 "--pictures", "4"])  # fmt: skip
    assert code == 0
    out, log = capsys.readouterr()
    assert "tempcompass: 2 of 410 videos found, 24 of 5536 questions are asked" in out
    assert "missing 1034419625, 1034419625_reverse" in log
    missing = shell.home.runs / "jobs" / "1" / "tempcompass_missing.txt"
    assert len(missing.read_text().split()) == 408
    with shell.database.reading() as session:
        found = {line.metric: line for line in evaluations.table(session)}
        answers = evaluations.items(session, found["yes_no"].id)
    assert {name: line.n for name, line in found.items() if "/" not in name} == {
        "multi_choice": 6, "yes_no": 12, "caption_matching": 6
    }  # fmt: skip
    assert len(answers) == 12
    assert {answer.group for answer in answers} == {"1021488277"}
    line = found["multi_choice"]
    assert (line.n_groups, line.settings["coverage"]["found"], line.settings["coverage"]["videos"]) == (1, 2, 410)


def test_bad_input_is_known_before_a_job_is_queued(shell, qwen_folder, folder, tmp_path, capsys):
    def refused(*argv: str) -> str:
        assert main(["evaluate", "--model", str(qwen_folder), *argv]) == 2
        return capsys.readouterr().err

    assert "--data FOLDER" in refused("--benchmarks", "tempcompass")
    assert "There is no benchmark 'tempcompas'" in refused("--benchmarks", "tempcompas", "--data", str(folder))
    assert "does not exist" in refused("--benchmarks", "mlvu", "--data", str(tmp_path / "no"))
    assert "looked for val.csv" in refused("--benchmarks", "next_qa", "--data", str(folder))
    assert "no folder named after a benchmark" in refused("--data", str(qwen_folder))
    assert "at least 1" in refused("--benchmarks", "tempcompass", "--data", str(folder), "--pictures", "0")
    (folder / "multi-choice.json").write_text('{"7":\n {"action": [\n {"question": "Q", "answer": "A"}]}}')
    error = refused("--benchmarks", "tempcompass", "--data", str(folder))
    assert "multi-choice.json, line 3: field 'question'" in error
    assert "Traceback" not in error
    assert shell.started_jobs() == 0
    with pytest.raises(BadPayload, match="limit is 0"):
        EvaluatePayload(run_id=1, limit=0)


def test_a_run_is_not_scored_on_the_videos_that_it_was_trained_on(tmp_path, monkeypatch, capsys):
    home = Home(tmp_path / "home")
    database = studio.fill(home, 5)
    with database.session() as session:
        person = people.local(session)
        bulk.decide(session, person, PairFilter(), "accepted", token="all")
        version_id = datasets.freeze(session, person, "v", held_out_share=0.2)
        splits = {split: {item.pair.video for item in datasets.items(session, version_id, split)}
                  for split in ("train", "held_out")}  # fmt: skip
    folder = tmp_path / "tempcompass"
    folder.mkdir()
    shutil.copy(next(iter(splits["train"])).path, folder / "1.mp4")
    shutil.copy(next(iter(splits["held_out"])).path, folder / "2.mp4")
    (folder / "multi-choice.json").write_text(json.dumps({n: {"action": [QUESTION]} for n in ("1", "2")}))
    monkeypatch.setenv("TEMPO_HOME", str(home.root))
    config = replace(PRESETS["embedded"], recipe="dpo", pairs_per_step=2)
    run_id = starting.start_run(database, person, config, EMBEDDED_MODEL, version_id=version_id)
    asked = ["evaluate", "--run", str(run_id), "--benchmarks", "tempcompass", "--data", str(folder)]
    assert main(asked) == 2 and "1 of its videos were trained on" in capsys.readouterr().err
    with database.reading() as session:
        assert [job.kind for job in jobs.open_jobs(session)] == ["train"]
    (opened,) = in_files.opened(EvaluatePayload(run_id=1, benchmarks=("tempcompass",), data=str(folder)))
    with pytest.raises(HeldOutLeak, match="1 of its videos were trained on, such as 1"):
        in_files.trained_on(database, opened, version_id, allowed=False)
    found = in_files.trained_on(database, opened, version_id, allowed=True)
    assert found == ("1",)
    assert in_files.settings(opened, EvaluatePayload(run_id=1), found)["contaminated"] == ["1"]
    assert in_files.trained_on(database, opened, None, allowed=False) == ()
    database.close()


def test_the_help_names_every_benchmark_and_both_engines(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    told = "".join(capsys.readouterr().out.split())
    for name in (*benchmarks.BENCHMARKS, *benchmarks.IN_FILES, "lmms-eval", "TEMPO_LMMS_EVAL_PYTHON", "--import"):
        assert name in told, name


def test_the_other_engine_is_refused_before_a_job_is_queued(shell, qwen_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("TEMPO_LMMS_EVAL_PYTHON", raising=False)

    def refused(*argv: str) -> str:
        assert main(["evaluate", "--model", str(qwen_folder), *argv]) == 2
        return capsys.readouterr().err

    assert "pip install lmms-eval" in refused("--engine", "lmms-eval", "--tasks", "mvbench")
    assert "needs its tasks" in refused("--engine", "lmms-eval")
    assert "--engine lmms-eval" in refused("--tasks", "mvbench")
    assert "holds no *_results.json" in refused("--import", str(tmp_path))
    assert shell.started_jobs() == 0


def test_a_benchmark_in_files_needs_its_folder():
    with pytest.raises(TooFew, match="--data FOLDER"):
        in_files.opened(EvaluatePayload(run_id=1, benchmarks=("mlvu",)))
    assert in_files.opened(EvaluatePayload(run_id=1)) == []
