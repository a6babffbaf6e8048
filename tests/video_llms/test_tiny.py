"""The embedded Video LLMs: small, what their records say, good at naming events and blind to their order."""

import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from tempo_core import media, scan, timeline, worlds
from tempo_core.errors import OutsideVocabulary, TooFew
from tempo_core.prompts import PROMPT_SETS
from tempo_core.settings import EMBEDDED_MODEL, SECOND_MODEL
from tempo_core.types import Frames, Question, Sampling
from tempo_core.video_llms import load, make_embedded, tiny_lessons, tiny_words
from tempo_core.worlds import vocabulary
from tests.checkpoints import frames

GREEDY = Sampling(input="video", temperature=0.0, repetition_penalty=1.0, max_new_tokens=96)
PROMPTS = PROMPT_SETS["embedded"]


MODELS = pytest.mark.parametrize("folder", [EMBEDDED_MODEL, SECOND_MODEL], ids=lambda folder: folder.name)


@pytest.fixture(scope="module", params=[EMBEDDED_MODEL, SECOND_MODEL], ids=lambda folder: folder.name)
def llm(request):
    return load(request.param, device="cpu")


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Six drawn videos through the ordinary scan: their events and the key frames that the model is shown."""
    folder, found = tmp_path_factory.mktemp("drawn"), []
    for index in range(6):
        video, path = worlds.spec(21, index), folder / f"{index}.mp4"
        worlds.write(video, path)
        measures = scan.load_measures(scan.scan(path, folder).measures_path)
        numbers = [n for clip in timeline.judge(measures).timeline for n in clip.key_frames]
        pixels = media.frames(path, numbers, measures.pts, measures.time_base, long_side=48)
        found.append((video.events, Frames(pixels, tuple(numbers), 2.0)))
    return found


@MODELS
def test_the_weights_are_small_and_those_of_the_record(folder):
    weights = (folder / "model.safetensors").read_bytes()
    record = json.loads((folder / "base.json").read_text())
    assert len(weights) < 5_000_000
    assert hashlib.sha256(weights).hexdigest() == record["sha256"]
    long = record["base_scores"]["16"]
    assert long["recall"] > 0.95 and long["content_questions"] > 0.95
    assert 0.4 < long["order"] < 0.6 and 0.4 < long["swap"] < 0.6


@MODELS
def test_it_loads_through_the_auto_classes(folder):
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    name = {EMBEDDED_MODEL: "Qwen2_5_VL", SECOND_MODEL: "LlavaOnevision"}[folder]
    assert type(model).__name__ == f"{name}ForConditionalGeneration"
    assert type(processor).__name__ == f"{name}Processor"
    assert 1_000_000 < sum(p.numel() for p in model.parameters()) < 2_000_000


def test_it_names_what_happens_in_real_files(llm, watched):
    answers = llm.answer([Question(PROMPTS.describe[4], shown) for _, shown in watched], GREEDY, seed=0)
    told = [worlds.agreement(events, answer.text) for (events, _), answer in zip(watched, answers, strict=True)]
    assert np.mean([t.recall for t in told]) > 0.9
    assert all(answer.finish == "stop" for answer in answers)
    assert 0.2 < np.mean([t.order for t in told]) < 0.8


def test_it_answers_what_an_object_does(llm, watched):
    asked = [(e, Question(f"What does the {e.thing} do?", shown)) for events, shown in watched for e in events[:3]]
    answers = llm.answer([question for _, question in asked], GREEDY, seed=0)
    assert np.mean([a.text == f"{e.action}." for (e, _), a in zip(asked, answers, strict=True)]) > 0.9


def test_captions_of_clips_become_one_caption_in_the_order_of_the_list(llm, watched):
    """The way pairs are made, with its sampling: a clip's caption from its pictures, then the list, in any order."""
    sampling = Sampling(temperature=0.7, repetition_penalty=1.05, max_new_tokens=96)
    for events, shown in watched[:3]:
        clips = [replace(shown, pixels=shown.pixels[2 * i : 2 * i + 2], numbers=(0, 1)) for i in range(len(events))]
        captions = [a.text for a in llm.answer([Question(PROMPTS.caption_first, c) for c in clips], sampling, seed=1)]
        assert [worlds.parse_events(caption)[:1] for caption in captions] == [[event] for event in events]
        order = random.Random(0).sample(range(len(events)), len(events))
        listed = Question(PROMPTS.from_captions([captions[i] for i in order]))
        agreement = worlds.agreement([events[i] for i in order], llm.answer([listed], sampling, seed=2)[0].text)
        assert agreement.recall > 0.85
        assert agreement.order is not None and agreement.order > 0.9


def test_a_clip_is_so_many_tokens_and_the_text_goes_on_after_the_last(llm):
    encoded = llm.encode(Question(PROMPTS.describe[0], frames(12, size_px=48)))
    positions = llm.positions_of(encoded)
    assert encoded.n_video_tokens == {"tiny": 6, "tiny_onevision": 12 + 1}[llm.family]
    assert positions[0].tolist() == list(range(len(encoded.input_ids)))
    n_text = len(vocabulary.words(PROMPTS.describe[0]))
    assert len(encoded.input_ids) == encoded.n_video_tokens + n_text + 4, "user, start and end of video, assistant"


def test_training_and_asking_see_the_same_tokens_pictures_and_positions(llm):
    """The making script builds its batches by hand; they must be what the processor gives."""
    student, shown = make_embedded.STUDENTS[llm.family](0), frames(8, seed=3, size_px=48)
    encoded = llm.encode(Question(PROMPTS.describe[2], shown))
    by_hand = tiny_lessons.lesson(tiny_lessons.ids(PROMPTS.describe[2]), [], 4, student.layout)[0]
    assert encoded.input_ids.tolist() == by_hand
    assert student.layout.n_clips(by_hand) == 4
    batch = tiny_lessons.batch([(by_hand, [])], student.layout)
    assert torch.equal(batch.position_ids[:, 0], llm.positions_of(encoded))
    pixels = student.pixels(torch.from_numpy(shown.pixels).unflatten(0, (4, 2)))
    given = encoded.tensors["pixel_values_videos"]
    assert torch.allclose(given, pixels.view_as(given), atol=1e-5)


def test_training_and_asking_give_the_same_likelihood(llm):
    """Vectors of pictures put into the prompt by hand, beside the family's own forward."""
    student, shown = make_embedded.STUDENTS[llm.family](0), frames(8, seed=3, size_px=48)
    student.model = llm.model
    with torch.no_grad():
        seen = student.see(student.pixels(torch.from_numpy(shown.pixels).unflatten(0, (4, 2))))
    answer = "red circle rises, then blue ring falls."
    told = tiny_lessons.lesson(tiny_lessons.ids(PROMPTS.describe[2]), tiny_lessons.ids(answer), 4, student.layout)
    by_hand = tiny_lessons.log_probs(student, [told], seen)
    asked = llm.log_probs([Question(PROMPTS.describe[2], shown)], [answer])[0]
    assert float(by_hand) == pytest.approx(float(asked.sum()), abs=1e-3)


def test_the_tokenizer_reads_exactly_the_vocabulary(llm):
    for text in (*vocabulary.DESCRIBE, "red circle rises, then blue ring moves left.", "Which comes earlier, a or b?"):
        ids = llm.tokenizer(text)["input_ids"]
        known = [word in vocabulary.WORDS for word in vocabulary.words(text)]
        assert [i != tiny_words.UNKNOWN for i in ids] == known
        if all(known):
            assert llm.tokenizer.decode(ids) == text
    assert tiny_words.UNKNOWN in llm.tokenizer("red circle rises;")["input_ids"]
    assert tiny_words.PAD not in llm.tokenizer("elephant ; red circle")["input_ids"]


def test_unknown_words_are_refused_in_questions_and_answers(llm):
    with pytest.raises(OutsideVocabulary, match="'elephant'"):
        llm.answer([Question("What does the elephant do?")], GREEDY, seed=0)
    with pytest.raises(OutsideVocabulary, match="'Suddenly'"):
        llm.log_probs([Question(PROMPTS.describe[0], frames(4, size_px=48))], ["Suddenly red circle rises."])


@pytest.mark.parametrize(("n_pictures", "error"), [(0, TooFew), (7, TooFew), (34, OutsideVocabulary)])
def test_pictures_that_are_no_clips_are_refused(llm, n_pictures, error):
    with pytest.raises(error, match=str(n_pictures // 2 if n_pictures == 34 else n_pictures)):
        llm.encode(Question(PROMPTS.describe[0], frames(n_pictures, size_px=48)))


class Stopped(Exception):
    pass


class StoppedMaking(make_embedded.Making):
    """A making that is killed after its first kept steps of talking."""

    def keep(self, name: str, **state: object) -> None:
        super().keep(name, **state)
        if name == "tell":
            raise Stopped


@pytest.mark.parametrize("kind", make_embedded.STUDENTS.values(), ids=make_embedded.STUDENTS)
def test_a_stopped_making_goes_on_and_ends_with_the_same_weights(tmp_path: Path, kind):
    effort = make_embedded.Effort(see_steps=2, talk_steps=2, n_drawn=1, n_scored=2, keep_every=1)
    torch_threads = torch.get_num_threads()
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    make_embedded.make(make_embedded.Making(5, tmp_path / "whole"), tmp_path / "a", kind, effort)
    with pytest.raises(Stopped):
        make_embedded.make(StoppedMaking(5, tmp_path / "stopped"), tmp_path / "b", kind, effort)
    make_embedded.make(make_embedded.Making(5, tmp_path / "stopped"), tmp_path / "b", kind, effort)
    assert torch.get_num_threads() == torch_threads
    records = [json.loads((tmp_path / name / "base.json").read_text()) for name in "ab"]
    assert records[0]["sha256"] == records[1]["sha256"]
    assert (records[0]["seed"], records[0]["tempo_family"]) == (5, kind.family)
