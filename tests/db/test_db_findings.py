"""What stored figures and captions give to the probes: findings against the right base, captions of one model."""

from pathlib import Path

import pytest
from shelf import sha

from db import captions, datasets, evaluations, findings, models, runs
from db.responses import CaptionRecipe, record_captions
from db.reviews import ReviewItem, decide
from jobs.payloads import EvaluatePayload
from jobs.tasks import held_out
from tempo_core.recipes import PRESETS
from tempo_core.settings import Home
from tempo_core.types import Answer, ItemScore, Score

pytestmark = pytest.mark.long_on_postgres


@pytest.fixture
def run(shelf, me):
    pair_id = shelf.pair()
    shelf.do(decide, me, ReviewItem("a", pair_id, 1, "accept"))
    version = shelf.do(datasets.freeze, me, "v")
    model, _, _ = shelf.asked()
    config = PRESETS["embedded"].__class__(recipe="dpo")
    return shelf.do(runs.create, me, config, model, name="first", dataset_version_id=version, code_version="", env={})


def measured(shelf, benchmark, metric, values, run=None, moment="base", settings=None):
    items = tuple(ItemScore(f"{i:02}", str(i // 2), value, "a") for i, value in enumerate(values))
    mean = sum(value or 0 for value in values) / len(values)
    score = Score(benchmark, metric, mean, mean, mean, len(values), len(values) // 2, 0, None, items)
    model, _, _ = shelf.asked()
    shelf.do(evaluations.record, [score], model, settings or {"n": 1}, run_id=run, moment=moment)


def told(shelf):
    found = shelf.look(lambda session: findings.of_lines(session, evaluations.table(session)))
    return [(one.run_id, one.moment, one.benchmark, one.finding.level) for one in found]


def test_short_answers_are_judged_against_the_base_that_was_asked_the_same(shelf, run):
    measured(shelf, "short_answers", "accuracy", [1.0] * 20)
    measured(shelf, "short_answers", "accuracy", [0.0] * 20, settings={"n": 2})
    measured(shelf, "short_answers", "accuracy", [1.0] * 10 + [0.0] * 10, run, "dpo")
    measured(shelf, "short_answers", "accuracy", [1.0] * 20, run, "dpo+sft")
    measured(shelf, "drawn_world", "earlier", [0.0] * 20, run, "dpo")
    measured(shelf, "tempcompass", "yes_no", [1.0] * 20, run, "dpo", settings={"n": 3})
    assert told(shelf) == [(run, "dpo", "short_answers", "red"), (run, "dpo+sft", "short_answers", "fine")]


def test_the_gravest_finding_comes_first_and_the_newest_figure_counts(shelf, run):
    for moment, who, seen in (("base", None, 1.0), ("dpo", run, 1.0), ("dpo", run, 0.5)):
        for metric in ("other_video", "grey"):
            measured(shelf, "canary", metric, [seen] * 20, who, moment, {"seen": seen})
    assert told(shelf) == [(run, "dpo", "canary", "red"), (None, "base", "canary", "fine")]


def test_of_one_video_nothing_is_told(shelf, run):
    for who, moment in ((None, "base"), (run, "dpo")):
        measured(shelf, "short_answers", "accuracy", [1.0, 0.0], who, moment)
    assert told(shelf) == []


def test_captions_are_one_models_own_first_and_whole_or_not_at_all(shelf):
    shelf.pairs(1, "a")
    timeline = shelf.ids["timeline of a"]
    model, prompt, sampling = shelf.asked()
    other = shelf.do(models.register, Path("/models/other"), "tiny", sha("other"))

    def say(model_id, words, finish="stop", seed=0, n=4):
        recipe = CaptionRecipe(timeline, model_id, prompt, sampling, seed)
        shelf.do(record_captions, recipe, {i: Answer(f"{words} {i}", 2, finish) for i in range(n)})

    def found(prefer):
        return shelf.look(captions.of_timelines, {timeline}, prefer)

    assert found(model) == captions.Captions()
    say(model, "cut", "length", seed=1)
    say(model, "part", seed=2, n=3)
    assert found(model) == captions.Captions()
    say(other, "theirs")
    assert (found(model).by, found(model).texts) == ("other", {timeline: tuple(f"theirs {i}" for i in range(4))})
    say(model, "own", seed=3)
    assert found(model).texts == {timeline: tuple(f"own {i}" for i in range(4))}
    assert found(other).by == "other"
    assert found(99).by == "other", "as many of both: the model that came last"


def test_held_out_material_brings_orders_looks_and_captions(frozen, shelf, tmp_path):
    with shelf.database.reading() as session:
        version = datasets.listing(session)[0]
        held = datasets.items(session, version.id, "held_out")
    payload = EvaluatePayload(run_id=1)
    found = held_out.material(shelf.database, version, 1, payload, Home(tmp_path))
    assert {pair.uid for pair in found.pairs} == {item.pair.uid for item in held} == set(found.orders)
    assert all(len(order) == 4 for order in found.orders.values())
    assert [video.groups for video in found.videos] == [(0, 1, 2, 3)] * 2
    assert all(video.captions == () for video in found.videos)
    one = held_out.material(shelf.database, version, 1, EvaluatePayload(run_id=1, limit=1), Home(tmp_path))
    assert (len(one.videos), len(one.pairs)) == (1, 4)
