"""What lmms-eval writes, read back: single answers where they can be read, its own total where not, nothing guessed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tempo_core.benchmarks import lmms_eval
from tempo_core.errors import BadSettings, Unknown

STAMP = "20260105_101500"


def written(folder: Path, results: dict, samples: dict[str, list[dict]], stamp: str = STAMP, **more) -> Path:
    """A folder as `--output_path` and `--log_samples` leave it."""
    place = folder / "models__merged"
    place.mkdir(parents=True, exist_ok=True)
    whole = {
        "results": results,
        "versions": dict.fromkeys(results, 0.1),
        "n-samples": {task: {"original": 4000, "effective": 4} for task in results},
        "config": {"model": "qwen2_5_vl", "model_args": "pretrained=/tmp/merged,max_num_frames=32", "limit": 4.0,
                   "gen_kwargs": ""},
        "task_hashes": dict.fromkeys(results, "t" * 64),
        "lmms_eval_version": "0.7.3",
    } | more  # fmt: skip
    (place / f"{stamp}_results.json").write_text(json.dumps(whole))
    for task, rows in samples.items():
        (place / f"{stamp}_samples_{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def sample(doc_id: int, said: str, **metrics) -> dict:
    return {"doc_id": doc_id, "target": "A", "filtered_resps": [said], "doc_hash": f"{doc_id:064x}", "input": "Q",
            "token_counts": [None]} | metrics  # fmt: skip


def videomme(doc_id: int, said: str, video: str) -> dict:
    record = {"question_id": f"{doc_id}", "pred_answer": said, "answer": "A", "score": float(said == "A"),
              "videoID": video}  # fmt: skip
    return sample(doc_id, said, videomme_perception_score=record)


VIDEOMME = {"videomme": {"alias": "videomme", "videomme_perception_score,none": 50.0,
                         "videomme_perception_score_stderr,none": "N/A"}}  # fmt: skip


def test_answers_become_items_with_their_video_and_what_was_said(tmp_path):
    rows = [videomme(0, "A", "x"), videomme(1, "B", "x"), videomme(2, "A", "y"), videomme(3, "", "y")]
    (found,) = lmms_eval.read(written(tmp_path, VIDEOMME, {"videomme": rows}))
    (score,) = found.scores
    assert (score.benchmark, score.metric, score.value) == ("lmms_eval/videomme", "videomme_perception_score", 0.5)
    assert (score.n, score.n_groups, score.n_unparsed, score.chance) == (4, 2, 1, None)
    assert [(item.group, item.correct, item.response) for item in score.items] == [
        ("x", 1.0, "A"), ("x", 0.0, "B"), ("y", 1.0, "A"), ("y", None, "")
    ]  # fmt: skip
    assert found.settings == {
        "engine": "lmms-eval", "engine_version": "0.7.3", "task": "videomme", "task_version": "0.1",
        "task_sha": "t" * 64, "model_args": ["max_num_frames=32"], "gen_kwargs": "", "limit": 4.0,
    }  # fmt: skip
    assert "reports 50.0" in found.notes[0]


def test_every_way_in_which_its_tasks_tell_a_right_answer(tmp_path):
    told = {
        "a_number": (1, 0),
        "a_truth": (True, False),
        "mvbench_accuracy": ({"pred_answer": "B", "gt_answer": "B", "score": 1}, {"pred_answer": "A", "score": 0}),
        "avg_accuracy": ({"video_id": "1_reverse", "rating": 1}, {"video_id": "1", "rating": 0}),
        "no_score": ({"pred_answer": "A", "answer": "A"}, {"pred_answer": "B", "answer": "A"}),
    }
    rows = [sample(i, "said", **{name: values[i] for name, values in told.items()}) for i in (0, 1)]
    (found,) = lmms_eval.read(written(tmp_path, {"t": {f"{name},none": 0.5 for name in told}}, {"t": rows}))
    assert {s.metric: [item.correct for item in s.items] for s in found.scores} == {name: [1.0, 0.0] for name in told}
    groups = {s.metric: [item.group for item in s.items] for s in found.scores}
    assert groups["avg_accuracy"] == ["1_reverse", "1"]
    assert len(set(groups["a_number"])) == 2, "where no video is named every question is its own group"


def test_a_metric_of_some_questions_only_counts_those(tmp_path):
    rows = [sample(0, "A", avg=1, order=1), sample(1, "A", avg=0), sample(2, "A", avg=1, order=0)]
    (found,) = lmms_eval.read(written(tmp_path, {"t": {"avg,none": 66.7, "order,none": 50.0}}, {"t": rows}))
    assert [(score.metric, score.n, score.value) for score in found.scores] == [("avg", 3, 2 / 3), ("order", 2, 0.5)]


def test_answers_that_do_not_say_whether_they_are_right_leave_the_reported_total(tmp_path):
    record = {"index": "0_pos", "question_type": "text", "pred": "A"}
    results = {"vinoground": {"vinoground_score,none": [60.0, 35.5, 24.0]}}
    rows = [sample(0, "A", vinoground_score=record)]
    (found,) = lmms_eval.read(written(tmp_path, results, {"vinoground": rows}))
    assert [(score.metric, score.value, score.n) for score in found.scores] == [
        ("vinoground_score/1", 0.6, 4), ("vinoground_score/2", 0.355, 4), ("vinoground_score/3", 0.24, 4)
    ]  # fmt: skip
    assert all(score.low < score.value < score.high and not score.items for score in found.scores)
    assert "no paired test" in found.notes[0]


def test_ratings_are_no_shares_and_are_left_out_with_a_word(tmp_path):
    results = {"t": {"gpt_score,none": 3.5, "acc,none": 0.5}}
    rows = [sample(0, "a", gpt_score=5, acc=1.0), sample(1, "b", gpt_score=2, acc=0.0)]
    (found,) = lmms_eval.read(written(tmp_path, results, {"t": rows}))
    assert [(score.metric, score.value) for score in found.scores] == [("acc", 0.5)]
    assert "gpt_score rates its answers" in found.notes[0]


def test_without_samples_the_total_stands_alone(tmp_path):
    (found,) = lmms_eval.read(written(tmp_path, {"t": {"acc,none": 0.25}}, {}))
    assert [(score.value, score.n, score.items) for score in found.scores] == [(0.25, 4, ())]


def test_the_newest_result_of_a_task_counts_and_a_group_is_no_task(tmp_path):
    written(tmp_path, VIDEOMME, {"videomme": [videomme(0, "B", "x")]}, stamp="20250101_000000")
    written(tmp_path, VIDEOMME | {"group": {"alias": "group"}}, {"videomme": [videomme(0, "A", "x")]})
    written(tmp_path, {"other": {"acc,none": 1.0}}, {}, stamp="20240101_000000")
    found = {result.task: result for result in lmms_eval.read(tmp_path)}
    assert set(found) == {"videomme", "other"}
    assert found["videomme"].scores[0].value == 1.0


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("x_results.json", "{", "x_results.json, line 1: it is no JSON"),
     ("x_results.json", "[]", "must hold a record"),
     ("x_results.json", "{}", "no record 'results'"),
     ("x_results.json", '{"results": {"t": {"alias": "t"}}}', "results of no task"),
     ("x_samples_t.jsonl", "", r"holds no \*_results.json")],
)  # fmt: skip
def test_a_folder_that_is_no_result_says_what_is_wrong(name, text, words, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(lmms_eval.BadResults, match=words):
        lmms_eval.read(tmp_path)


def test_a_broken_line_of_samples_is_named(tmp_path):
    written(tmp_path, VIDEOMME, {"videomme": [videomme(0, "A", "x")]})
    with next(tmp_path.rglob("*.jsonl")).open("a") as file:
        file.write('{"doc_id": 1')
    with pytest.raises(lmms_eval.BadResults, match=r"samples_videomme\.jsonl, line 2"):
        lmms_eval.read(tmp_path)


def test_a_task_named_like_a_path_is_refused(tmp_path):
    folder = written(tmp_path, {"../secret": {"acc,none": 0.5}}, {})
    with pytest.raises(lmms_eval.BadResults, match=r"secret' is no name of a task"):
        lmms_eval.read(folder)


def test_the_command_is_a_list_that_no_shell_reads():
    made = lmms_eval.command(Path("/venv/bin/python"), "qwen2_5_vl", Path("/m; rm -rf x"), ["mvbench", "videomme"],
                             Path("/out"), 8)  # fmt: skip
    assert made == [
        "/venv/bin/python", "-m", "lmms_eval", "--model", "qwen2_5_vl", "--model_args", "pretrained=/m; rm -rf x",
        "--tasks", "mvbench,videomme", "--batch_size", "1", "--log_samples", "--output_path", "/out", "--limit", "8",
    ]  # fmt: skip
    with pytest.raises(Unknown, match="export-model --form merged"):
        lmms_eval.command(Path("p"), "tiny", Path("m"), ["t"], Path("o"), None)
    with pytest.raises(BadSettings, match="comma"):
        lmms_eval.command(Path("p"), "qwen2_5_vl", Path("a,b"), ["t"], Path("o"), None)


def test_without_the_environment_it_says_how_to_set_it_up(monkeypatch, tmp_path):
    monkeypatch.delenv(lmms_eval.VARIABLE, raising=False)
    with pytest.raises(BadSettings, match=r"pip install lmms-eval.*--import FOLDER"):
        lmms_eval.python()
    monkeypatch.setenv(lmms_eval.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(BadSettings, match="is no program"):
        lmms_eval.python()
    empty = tmp_path / "python"
    empty.write_text("#!/bin/sh\necho 'No package metadata was found' >&2; exit 1\n")
    empty.chmod(0o755)
    with pytest.raises(BadSettings, match="No package metadata"):
        lmms_eval.version(empty)
