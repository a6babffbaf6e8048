"""The benchmarks on held-out videos: who sees is right, who reads only is at chance, and nothing gives itself away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tempo_core import benchmarks, findings
from tempo_core.benchmarks import base, own_order
from tempo_core.errors import TooFew
from tempo_core.types import ItemScore
from tests import watchers
from tests.watchers import Reader, Seer, Talker

N_VIDEOS = 60
ORDERS = {"reverse": lambda n: range(n - 1, -1, -1), "drop": lambda n: range(n // 2)}
NOTHING = lambda progress: None  # noqa: E731


@pytest.fixture(scope="module")
def specs():
    return watchers.specs(N_VIDEOS)


@pytest.fixture(scope="module")
def material(specs, tmp_path_factory):
    return watchers.material(specs, tmp_path_factory.mktemp("held-out"), ORDERS)


def measured(name, model, material):
    return {score.metric: score for score in benchmarks.load(name).run(model, material, NOTHING)}


@pytest.mark.parametrize("name", benchmarks.BENCHMARKS)
def test_every_benchmark_gives_figures_with_intervals_and_is_explained(name, specs, material):
    found = measured(name, Seer(specs), material)
    assert found and benchmarks.load(name).name == name
    for score in found.values():
        assert score.benchmark == name
        assert score.low <= score.value <= score.high, score
        assert len({item.item for item in score.items}) == len(score.items)
    title, explained = base.TITLES[name]
    assert title and explained
    assert benchmarks.load(name).settings(material)["version"] >= 1


@pytest.mark.parametrize("name", benchmarks.BENCHMARKS)
def test_every_benchmark_says_what_it_lacks(name, specs, material):
    with pytest.raises(TooFew):
        benchmarks.load(name).run(Seer(specs), replace(material, videos=(), pairs=()), NOTHING)


# ---- the drawn world ---------------------------------------------------------------------------------------------


def test_who_sees_is_right_and_is_at_chance_on_the_controls(specs, material):
    found = measured("drawn_world", Seer(specs), material)
    for metric in ("swap", "group", "order", "earlier", "recall", "content_questions"):
        assert found[metric].value == 1.0, metric
    controls = {metric: score for metric, score in found.items() if metric.startswith("control: ")}
    assert set(controls) == {
        "control: one frame/swap", "control: one frame/earlier", "control: shuffled frames/swap",
        "control: shuffled frames/order", "control: shuffled frames/earlier",
    }  # fmt: skip
    for metric, score in controls.items():
        assert score.chance == 0.5
        assert score.low <= 0.5 <= score.high, (metric, score.value, score.low, score.high)


RULES = {
    "named first": lambda question, answer: -question.find(answer.rstrip(".")),
    "named last": lambda question, answer: question.find(answer.rstrip(".")),
    "longest": lambda question, answer: len(answer),
    "shortest": lambda question, answer: -len(answer),
    "first in the alphabet": lambda question, answer: -int.from_bytes(answer[:6].encode()) / 2**40,
    "last word": lambda question, answer: -int.from_bytes(answer.split()[-1][:6].ljust(6).encode()) / 2**40,
}


@pytest.mark.parametrize("rule", RULES)
def test_who_reads_only_the_text_is_at_chance_on_every_question_of_order(rule, specs, material):
    found = measured("drawn_world", Reader(specs, RULES[rule]), material)
    for metric in ("swap", "earlier"):
        score = found[metric]
        values = [item.correct for item in score.items]
        error = np.std(values) / np.sqrt(len(values))
        assert abs(score.value - 0.5) < 3.5 * error, (metric, score.value)
    assert found["group"].value == 0.0, "the same text is as likely on both videos"


# ---- pairs -------------------------------------------------------------------------------------------------------


def test_held_out_pairs_stand_beside_the_length_rules_and_those_of_equal_length(specs, material):
    found = measured("held_out_preference", Seer(specs), material)
    assert found["accuracy"].value == 1.0
    # A reversal tells the same events: as long, so a tie of both rules. A drop tells half of them.
    assert (found["longer_wins"].value, found["shorter_wins"].value) == (0.75, 0.25)
    matched = found["length_matched/accuracy"]
    assert (matched.n, matched.value) == (N_VIDEOS, 1.0)
    assert found["length_matched/longer_wins"].value == found["length_matched/shorter_wins"].value == 0.5
    reader = measured("held_out_preference", Reader(specs, RULES["longest"]), material)
    assert reader["accuracy"].value > 0.7
    assert reader["length_matched/accuracy"].value == pytest.approx(0.5, abs=0.25)


def test_order_sensitivity_is_nothing_for_who_reads_only_and_much_for_who_sees(specs, material):
    seer = measured("order_sensitivity", Seer(specs), material)
    assert seer["share"].value == 1.0
    assert seer["per_token"].low > 0
    assert set(seer) == {
        f"{part}{name}" for part in ("", "drop/", "reverse/", "l1/") for name in ("per_token", "share")
    }
    assert seer["per_token"].n == N_VIDEOS, "drop is not in the whole figure"
    reader = measured("order_sensitivity", Reader(specs, RULES["longest"]), material)
    assert (reader["per_token"].value, reader["share"].value) == (0.0, 0.5)


def test_a_pair_without_a_plan_has_no_order_to_be_sensitive_to(specs, material):
    with pytest.raises(TooFew, match="imported"):
        measured("order_sensitivity", Seer(specs), replace(material, orders={}))


def test_the_canary_lives_where_pictures_count_and_dies_where_only_text_is_read(specs, material):
    seer = measured("canary", Seer(specs), material)
    assert {metric: score.value for metric, score in seer.items()} == {"other_video": 1.0, "grey": 1.0}
    assert seer["grey"].n == N_VIDEOS, "each answer once, however many pairs share it"
    reader = measured("canary", Reader(specs, RULES["longest"]), material)
    assert {metric: score.value for metric, score in reader.items()} == {"other_video": 0.0, "grey": 0.0}
    said = findings.canary({metric: score.value for metric, score in reader.items()})
    assert said.level == "red" and "does not see the video" in said.text
    assert findings.canary({metric: score.value for metric, score in seer.items()}).level == "fine"
    assert findings.canary({"other_video": 0.95, "grey": 1.0}).level == "red", "more than 95 % must move"


def test_the_canary_needs_another_video(specs, material):
    one = [pair for pair in material.pairs if pair.video == material.pairs[0].video]
    with pytest.raises(TooFew, match="1 video"):
        measured("canary", Seer(specs), replace(material, pairs=tuple(one)))


# ---- own videos --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt_set", ["embedded", "general"])
def test_order_questions_of_own_videos_are_right_for_who_sees(prompt_set, specs, material):
    found = measured("own_order", Seer(specs, prompt_set), material)
    assert {metric: score.value for metric, score in found.items()} == {"text": 1.0, "video": 1.0, "group": 1.0}
    assert found["group"].chance == (1 / 6 if prompt_set == "embedded" else 1 / 16)
    assert found["text"].n_groups == N_VIDEOS
    assert benchmarks.load("own_order").settings(material)["captions_by"] == "who wrote them"


def test_one_letter_for_everything_gets_no_pair_of_texts_and_no_pair_of_halves(specs, material):
    always_a = Reader(specs, RULES["longest"])
    always_a.prompt_set = "general"
    found = measured("own_order", always_a, material)
    assert found["video"].value == 0.0
    # Places are drawn for each video of a unit by itself: both right answers stand at A in a quarter of the units.
    assert found["text"].low < 0.25 < found["text"].high


def test_clips_that_look_alike_or_were_told_alike_are_not_asked_about(specs, material):
    video = material.videos[0]
    n = len(video.captions)
    whole = len(own_order.units(replace(material, videos=(video,))))
    assert whole == 4
    twins = replace(video, groups=(0, 0, *range(2, n)))
    alike = replace(video, captions=(*video.captions[:-2], video.captions[-1], video.captions[-1]))
    for changed, never in ((twins, (0, 1)), (alike, None)):
        asked = [
            unit for seed in range(30) for unit in own_order.units(replace(material, videos=(changed,), seed=seed))
        ]
        assert asked
        assert not any(set(unit.clips) & {0, 1} for unit in asked) or never is None
        assert not any(unit.clips == (n - 2, n - 1) for unit in asked) or never is not None


def test_without_captions_it_says_how_to_get_them(specs, material):
    bare = replace(material, videos=tuple(replace(video, captions=()) for video in material.videos))
    with pytest.raises(TooFew, match="--input captions"):
        measured("own_order", Seer(specs), bare)
    strange = tuple(
        replace(v, captions=tuple(f"elephant {i}" for i in range(len(v.captions)))) for v in material.videos
    )
    with pytest.raises(TooFew, match="embedded model knows"):
        measured("own_order", Seer(specs), replace(material, videos=strange))


# ---- short answers -----------------------------------------------------------------------------------------------


def test_short_answers_are_asked_as_the_model_can_be_asked(specs, material):
    letters = measured("short_answers", Reader(specs, RULES["longest"]), material)
    # The embedded model is asked what it was taught, several times a video.
    assert set(letters) == {"accuracy", "content", "median_words"}
    assert 3 * N_VIDEOS < letters["accuracy"].n <= 6 * N_VIDEOS
    assert (letters["accuracy"].n_unparsed, letters["median_words"].value) == (0, 1.0)
    general = Talker(specs, "general")
    found = measured("short_answers", general, material)
    assert {"yes_no_content", "yes_no_order", "content", "earlier", "first"} <= set(found)
    assert found["yes_no_order"].n_unparsed == N_VIDEOS
    assert found["median_words"].value > 10


def scored(values, words=1, group_size=4):
    return [ItemScore(f"{i:03}", str(i // group_size), value, "word " * words) for i, value in enumerate(values)]


def test_short_answers_that_got_worse_are_red_and_a_remedy_is_told():
    before, after = scored([1.0] * 80 + [0.0] * 20), scored([1.0] * 40 + [0.0] * 60)
    said = findings.short_answers(before, after)
    assert said.level == "red"
    assert "-40.0 points" in said.text and "SFT" in said.text


@pytest.mark.parametrize(
    ("after", "level", "word"),
    [(scored([1.0] * 80 + [0.0] * 20), "fine", "No sign"),
     (scored([1.0] * 80 + [0.0] * 17 + [None] * 3), "amber", "points more are unparsed"),
     (scored([1.0] * 80 + [0.0] * 20, words=3), "amber", "times as long"),
     (scored([0.0] * 2 + [1.0] * 78 + [1.0] * 2 + [0.0] * 18), "amber", "not ruled out")],
)  # fmt: skip
def test_short_answers_fall_out_of_form_before_they_fall(after, level, word):
    said = findings.short_answers(scored([1.0] * 80 + [0.0] * 20), after)
    assert said.level == level
    assert word in said.text


def test_short_answers_of_other_questions_are_not_compared():
    with pytest.raises(ValueError, match="question by question"):
        findings.short_answers(scored([1.0] * 8), scored([1.0] * 4))
