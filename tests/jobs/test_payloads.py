"""A payload is data that is checked twice: when it is made, and when a child reads it back from the database."""

import json

import pytest

from jobs import payloads, tasks
from jobs.payloads import KINDS, BadPayload, EvaluatePayload, PairPayload, ScanPayload, TrainPayload

MADE = [
    payloads.DrawPayload(n_videos=3),
    ScanPayload(folder="/videos", richness={"max_shot_s": 16.0, "min_clips": 4}),
    PairPayload(
        model="/models/tiny",
        kinds=("drop",),
        magnitudes=(2, 16),
        limit_videos=5,
        video_ids=(1, 2),
        phrasings=("Tell it.",),
    ),
    payloads.JudgePayload({"min_clips": 4.0}, (1, 2)),
    payloads.RelinkPayload("/old", "/new"),
    payloads.CopiesPayload(likeness=0.8),
    TrainPayload(run_id=7),
    payloads.EstimatePayload({"recipe": "dpo", "beta": 0.1, "ld_alpha": None}, "/models/m", version_id=1),
    EvaluatePayload(run_id=7, benchmarks=("drawn_world",)),
    payloads.AskPayload(("base-1", "3-dpo+sft")),
    payloads.ExportPayload(version_id=1, format="hub", licence="mit"),
    payloads.ImportPayload("/pairs.jsonl", format="trl", skip_missing=True),
    payloads.ExportModelPayload(run_id=1, form="merged", max_shard_size="500MB"),
    payloads.BundlePayload(run_id=1, folder="/out"),
    payloads.BringBackPayload(folder="/out"),
    payloads.PaperPayload(run_ids=(1, 2), folder="/out"),
    payloads.SftPayload(file="/talks.jsonl", folder="/films", skip_missing=True),
    payloads.CaptionsPayload(file="/segments.csv", folder="/films", skip_missing=True),
    payloads.CheckPayload(deep=True),
    payloads.SleepPayload(fail_at=3),
]


def test_every_kind_has_a_payload_and_a_task():
    assert set(KINDS) == set(tasks.TASKS) == {payloads.kind_of(payload) for payload in MADE}


@pytest.mark.parametrize("payload", MADE, ids=payloads.kind_of)
def test_a_payload_survives_the_database(payload):
    stored = json.loads(json.dumps(payloads.as_json(payload)))
    assert payloads.parse(payloads.kind_of(payload), stored) == payload


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("brew", {}, "brew"),
        ("train", {}, "run_id"),
        ("train", {"run_id": "7; rm -rf /"}, "train.run_id must be int"),
        ("train", {"run_id": True}, "True"),
        ("train", {"run_id": 7, "module": "os"}, "no field 'module'"),
        ("pair", {"model": "m", "input": "telepathy"}, "telepathy"),
        ("pair", {"model": "m", "magnitudes": [2, 1]}, "at least 2"),
        ("pair", {"model": "m", "kinds": "drop"}, "kinds"),
        ("pair", {"model": "m", "kinds": []}, "at least one kind"),
        ("pair", {}, "either a model's folder or a server"),
        ("pair", {"model": "m", "server": "http://h/v1", "served_model": "q"}, "and not both"),
        ("pair", {"server": "http://h/v1"}, "belong together"),
        ("pair", {"server": "http://me:secret@h/v1", "served_model": "q"}, "so it holds no user"),
        ("pair", {"model": "m", "input": "video", "captions_from": 3}, "serve the input captions"),
        ("evaluate", {}, "either a run or a model folder"),
        ("evaluate", {"run_id": 1, "model": "m"}, "not both"),
        ("ask", {"checkpoints": ["../../etc"]}, "name them like base-1"),
        ("scan", {"folder": "/v", "richness": {"min_clips": "many"}}, "many"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_by_name(kind, values, words):
    with pytest.raises(BadPayload, match=words.replace("(", r"\(")):
        payloads.parse(kind, values)


def test_what_runs_a_model_shares_the_one_model_slot():
    on_it = {payloads.kind_of(payload) for payload in MADE if payloads.needs_of(payload) == "gpu"}
    assert on_it == {"pair", "train", "estimate", "evaluate", "ask", "sleep"}
