"""lmms-eval as a job: a small program in its place checks how it is called and writes what it would write."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from db import bulk, datasets, evaluations, people, runs
from db.pair_filters import PairFilter
from db.runs import StageLine
from jobs import payloads, starting
from jobs.payloads import BadPayload, EvaluatePayload
from jobs.tasks import JobRef, evaluate, lmms_eval, subjects
from tempo_core import statistics
from tempo_core.errors import BadSettings
from tempo_core.recipes import PRESETS
from tempo_core.settings import Home
from tests import studio
from tests.checkpoints import qwen_folder
from tests.links import add_link

__all__ = ["qwen_folder"]

CONFIG = replace(PRESETS["paper"], recipe="dpo", pairs_per_step=2, micro_batch=2)
ENGINE = """#!{python}
import json, os, sys
from pathlib import Path
said = sys.argv[1:]
if said[0] == "-c":
    print("0.7.3")
    raise SystemExit
assert said[:2] == ["-m", "lmms_eval"] and "--log_samples" in said and "HF_HOME" in os.environ
told = {{name: said[said.index(name) + 1] for name in
        ("--model", "--model_args", "--tasks", "--output_path", "--batch_size")}}
assert told["--model"] == "qwen2_5_vl"
model = Path(told["--model_args"].removeprefix("pretrained="))
assert (model / "config.json").is_file() and list(model.glob("*.safetensors"))
if os.environ.get("LMMS_FAILS"):
    print("CUDA out of memory")
    raise SystemExit
trained = model.name == "merged"
output = Path(told["--output_path"]) / "model"
output.mkdir()
tasks = told["--tasks"].split(",")
(output / "20260101_results.json").write_text(json.dumps({{
    "results": {{task: {{"acc,none": 50.0}} for task in tasks}}, "lmms_eval_version": "0.7.3",
    "config": {{"model_args": told["--model_args"], "limit": None}}, "argv": said}}))
for task in tasks:
    rows = [{{"doc_id": i, "doc_hash": "%064d" % i, "filtered_resps": ["A"], "acc": int(trained or i % 2 == 0)}}
            for i in range(40)]
    (output / ("20260101_samples_%s.jsonl" % task)).write_text("".join(json.dumps(row) + "\\n" for row in rows))
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory, qwen_folder):
    """A run on a small Qwen2.5-VL that finished two stages of DPO."""
    home = Home(tmp_path_factory.mktemp("home"))
    database = studio.fill(home, 2)
    with database.session() as session:
        person = people.local(session)
        bulk.decide(session, person, PairFilter(), "accepted", token="all")
        version = datasets.freeze(session, person, "demo")
    run_id = starting.start_run(database, person, CONFIG, qwen_folder, version_id=version)
    made = []
    for n, name in enumerate(("l1", "l2"), start=1):
        made.append(add_link(qwen_folder, home.runs / "run-1" / "chain", made, name, "dpo"))
        with database.session() as session:
            runs.set_stages(session, run_id, [StageLine(n, "dpo", name, (n,), 20, 1, 20)])
            adapter = str(made[-1].path.relative_to(home.root))
            runs.set_stage(session, run_id, n, "succeeded", adapter=adapter, manifest_sha256=made[-1].sha256)
    yield home, database
    database.close()


@pytest.fixture
def engine(tmp_path, monkeypatch):
    program = tmp_path / "lmms-python"
    program.write_text(ENGINE.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("TEMPO_LMMS_EVAL_PYTHON", str(program))
    monkeypatch.setattr(lmms_eval, "_LOOK_S", 0.02)
    return program


def does(shelf, **told):
    home, database = shelf
    payload = EvaluatePayload(run_id=1, engine="lmms-eval", **told)
    folder = home.runs / "jobs" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    return evaluate.run(database, JobRef(1, "evaluate", payload, 1, "token", folder, home), lambda progress: None)


def lines(shelf, benchmark):
    with shelf[1].reading() as session:
        return {line.moment: line for line in evaluations.table(session, benchmark)}


def test_base_and_run_are_asked_and_can_be_compared_answer_by_answer(shelf, engine, capfd):
    done = does(shelf, tasks=("mvbench",))
    assert done["new_figures"] == {"base": 1, "dpo": 1}
    found = lines(shelf, "lmms_eval/mvbench")
    base, dpo = found["base"], found["dpo"]
    assert (base.run_id, base.value, dpo.run_id, dpo.value) == (None, 0.5, 1, 1.0)
    assert base.settings_sha256 == dpo.settings_sha256
    assert (base.settings["engine"], base.settings["engine_version"]) == ("lmms-eval", "0.7.3")
    with shelf[1].reading() as session:
        before, after = (evaluations.items(session, line.id) for line in (base, dpo))
    values = [[item.correct for item in items] for items in (before, after)]
    assert statistics.paired_bootstrap(*values, [item.group for item in before]).verdict == "better"
    told = capfd.readouterr().out
    assert "-m lmms_eval --model qwen2_5_vl" in told and "lmms-eval itself reports 50.0" in told
    assert not (shelf[0].runs / "jobs" / "1" / "merged").exists(), "the merged model is gone with its use"
    assert does(shelf, tasks=("mvbench",))["new_figures"] == {}, "what was measured is not asked again"


def test_an_engine_that_ends_without_a_result_is_an_error(shelf, engine, monkeypatch):
    monkeypatch.setenv("LMMS_FAILS", "1")
    with pytest.raises(lmms_eval.EngineFailed, match="no result"):
        does(shelf, tasks=("videomme",))
    assert lines(shelf, "lmms_eval/videomme") == {}


def test_results_of_another_machine_belong_to_the_last_moment_of_the_run(shelf, tmp_path):
    place = tmp_path / "brought" / "model"
    place.mkdir(parents=True)
    (place / "20260101_results.json").write_text(json.dumps({"results": {"tvbench": {"acc,none": 51.9}}}))
    assert does(shelf, results=str(tmp_path / "brought"))["new_figures"] == {"dpo": 1}
    (line,) = lines(shelf, "lmms_eval/tvbench").values()
    assert (line.moment, line.run_id, line.value) == ("dpo", 1, 0.519)


def test_every_stage_can_be_measured_by_itself(shelf):
    def names(**told):
        return [m.name for m in subjects.of(shelf[1], EvaluatePayload(run_id=1, **told), needs_version=False).moments]

    assert names() == ["base", "dpo"]
    assert names(every_stage=True) == ["base", "dpo/l1", "dpo"]


def test_what_is_missing_is_known_before_a_job_waits(monkeypatch, tmp_path):
    monkeypatch.delenv("TEMPO_LMMS_EVAL_PYTHON", raising=False)
    with pytest.raises(BadSettings, match="TEMPO_LMMS_EVAL_PYTHON is not set"):
        lmms_eval.checked(EvaluatePayload(run_id=1, engine="lmms-eval", tasks=("mvbench",)))
    with pytest.raises(lmms_eval.bridge().BadResults, match="no folder"):
        lmms_eval.checked(EvaluatePayload(run_id=1, engine="lmms-eval", results=str(tmp_path / "none")))
    lmms_eval.checked(EvaluatePayload(run_id=1))


@pytest.mark.parametrize(
    ("told", "words"),
    [({"engine": "lmms-eval"}, "needs its tasks"),
     ({"tasks": ("mvbench",)}, "--engine lmms-eval"),
     ({"engine": "lmms-eval", "tasks": ("a,b",)}, "no name of a task"),
     ({"engine": "lmms-eval", "tasks": ("--x",)}, "no name of a task"),
     ({"engine": "lmms-eval", "tasks": ("t",), "data": "/d"}, "of its own"),
     ({"engine": "lmms-eval", "tasks": ("t",), "benchmarks": ("mlvu",)}, "of its own")],
)  # fmt: skip
def test_a_question_to_the_wrong_engine_is_refused(told, words):
    with pytest.raises(BadPayload, match=words):
        EvaluatePayload(run_id=1, **told)
    assert payloads.parse("evaluate", payloads.as_json(EvaluatePayload(run_id=1))) == EvaluatePayload(run_id=1)
