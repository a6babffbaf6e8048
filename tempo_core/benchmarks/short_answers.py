"""Questions about drawn held-out videos that a word or a letter answers: do they get worse after each training phase?

The one thing to know: DPO on long descriptions can teach a model to describe where it was asked to answer. So beside
the accuracy stand the unparsed answers and how long the answers are; `tempo_core.findings.short_answers` judges the
three against the base. On videos of other kinds TempCompass's yes-or-no and multiple-choice questions do the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np

from tempo_core import statistics
from tempo_core.benchmarks import figures
from tempo_core.benchmarks.answers import PARSER_VERSION
from tempo_core.benchmarks.base import AskedModel, HeldOutVideo, Material, frames_of
from tempo_core.benchmarks.figures import Answered
from tempo_core.benchmarks.folders import VideoName
from tempo_core.benchmarks.items import PROMPT_VERSION, YES_NO, Item, letters
from tempo_core.errors import TooFew
from tempo_core.types import JsonDict, Progress, Question, Report, Sampling, Score
from tempo_core.worlds import Event, WorldQuestion, WorldVideo, caption_of, questions, read_spec
from tempo_core.worlds.vocabulary import OPPOSITE

_GREEDY = Sampling(input="video", temperature=0.0, repetition_penalty=1.0, max_new_tokens=32)
_BATCH, _QUESTIONS = 16, 6


class ShortAnswers:
    """Accuracy as a whole and by kind of question, with the median number of words in an answer."""

    name = "short_answers"

    def settings(self, material: Material) -> JsonDict:
        return {"version": 2, "prompt": PROMPT_VERSION, "parser": PARSER_VERSION}

    def run(self, model: AskedModel, material: Material, report: Report) -> tuple[Score, ...]:
        drawn = [(video, spec) for video in material.videos if (spec := read_spec(video.video.path)) is not None]
        usable = [(video, spec) for video, spec in drawn if len(spec.events) == len(video.clip_key_frames)]
        if not usable:
            raise TooFew(
                "None of the held-out videos is a drawn one, whose true answers are known. The yes-or-no and the "
                "multiple-choice questions of TempCompass are the same check: --benchmarks tempcompass --data FOLDER"
            )
        answered: list[Answered] = []
        for start in range(0, len(usable), _BATCH):
            batch = usable[start : start + _BATCH]
            answered += _answers(model, material, batch)
            report(Progress(start + len(batch), len(usable), "short questions about held-out videos"))
        median = _median_words(self.name, answered, material.seed)
        return (*figures.by_task(self.name, answered, material.seed), median)


def _answers(
    model: AskedModel, material: Material, batch: Sequence[tuple[HeldOutVideo, WorldVideo]]
) -> Iterator[Answered]:
    asked, items = [], []
    for video, spec in batch:
        frames = frames_of(model, material, video)
        for item in _items(model, video, spec, material.seed):
            items.append((item, item.asked(str(video.video.path), frames.numbers)))
            # The embedded model has not learned to choose among letters; it says the option itself.
            asked.append(Question(item.question if model.prompt_set == "embedded" else item.prompt(), frames))
    for (item, about), answer in zip(items, model.answer(asked, _GREEDY, material.seed), strict=True):
        yield Answered(item, answer.text, item.parse(answer.text), about)


def _items(model: AskedModel, video: HeldOutVideo, spec: WorldVideo, seed: int) -> Iterator[Item]:
    if model.prompt_set == "embedded":
        # What it was not taught to answer it describes the video to, before any training: nothing could get worse.
        asked = {q.text: q for k in range(_QUESTIONS) for q in questions(spec, seed + k) if q.kind == "content"}
        for k, question in enumerate(asked.values()):
            yield _choice(video, question, f"content/{k}")
    else:
        for question in questions(spec, seed):
            yield _choice(video, question, question.kind)
        rng = random.Random(f"{seed}|{video.video.sha256}|yes or no")
        yield _yes_no(video, "yes_no_content", *_about_one(rng, spec.events))
        yield _yes_no(video, "yes_no_order", *_about_two(rng, spec.events))


def _choice(video: HeldOutVideo, asked: WorldQuestion, name: str) -> Item:
    options = asked.options
    return Item(
        VideoName(video.video.sha256[:12]),
        asked.text,
        options,
        (options.index(asked.answer),),
        (asked.kind,),
        video.video.sha256,
        labels=letters(options),
        id=f"{video.video.sha256[:12]}/{name}",
    )


def _yes_no(video: HeldOutVideo, kind: str, said: str, true: bool) -> Item:
    return Item(
        VideoName(video.video.sha256[:12]),
        f'Is this true of the video: "{said}"?',
        YES_NO,
        (0 if true else 1,),
        (kind,),
        video.video.sha256,
        form="yes_no",
        id=f"{video.video.sha256[:12]}/{kind}",
    )


def _about_one(rng: random.Random, events: Sequence[Event]) -> tuple[str, bool]:
    """One event as it was, or with the opposite action."""
    event, true = rng.choice(events), rng.random() < 0.5
    return caption_of([event if true else Event(event.thing, OPPOSITE[event.action])]), true


def _about_two(rng: random.Random, events: Sequence[Event]) -> tuple[str, bool]:
    """Two events in their order, or exchanged."""
    first, second = (events[i] for i in sorted(rng.sample(range(len(events)), 2)))
    true = rng.random() < 0.5
    return caption_of([first, second] if true else [second, first]), true


def _median_words(benchmark: str, answered: Sequence[Answered], seed: int) -> Score:
    """The median length of an answer in words; its interval resamples whole videos."""
    groups = list(dict.fromkeys(a.item.group for a in answered))
    words = {g: [len(a.text.split()) for a in answered if a.item.group == g] for g in groups}
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(groups), size=(statistics.RESAMPLES // 10, len(groups)))
    medians = [float(np.median([n for g in row for n in words[groups[g]]])) for row in drawn]
    low, high = np.quantile(medians, [0.025, 0.975])
    whole = float(np.median([n for found in words.values() for n in found]))
    # Without items: their mean would be another figure than this one.
    bounds = min(float(low), whole), max(float(high), whole)
    return Score(benchmark, "median_words", whole, *bounds, len(answered), len(groups), 0, None)


benchmark = ShortAnswers()
