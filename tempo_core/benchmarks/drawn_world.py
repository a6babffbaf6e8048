"""Order and content on held-out videos of the drawn world, whose events are known.

Temporal metrics (a model blind to order is at chance): `swap`, `group`, `order`, `earlier`. Content metrics stand
beside them, since training on order can cost content: `recall`, `content_questions`. The controls ask the temporal
questions again on one frame alone and on clips in a random order: whatever is above chance there is not sight of time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tempo_core.benchmarks.base import AskedModel, HeldOutVideo, Material, frames_of, score
from tempo_core.errors import TooFew
from tempo_core.types import Asked, Frames, ItemScore, JsonDict, Progress, Question, Report, Sampling, Score
from tempo_core.worlds import Event, caption_of, parse_events, read_events
from tempo_core.worlds.vocabulary import DESCRIBE

CHANCE: dict[str, float | None] = {
    "swap": 0.5,
    "group": 1 / 6,
    "order": 0.5,
    "earlier": 0.5,
    "recall": None,
    "content_questions": 1 / 8,
}
"""Of a scorer that draws its four log-probabilities at random, one sixth get both of a `group` right."""

TEMPORAL = ("swap", "group", "order", "earlier")
LIKELIER = "Which caption is likelier on this video?"
LIKELIER_TWICE = "Which caption is likelier on this video, and which on the one with the same two clips exchanged?"
_SWAPS, _QUESTIONS, _BATCH = 4, 4, 16
_GREEDY = Sampling(input="video", temperature=0.0, repetition_penalty=1.0, max_new_tokens=96)


@dataclass(frozen=True, slots=True)
class _Watched:
    """One held-out video with its events and the pictures in clean order."""

    held_out: HeldOutVideo
    events: tuple[Event, ...]
    clean: Frames

    @property
    def group(self) -> str:
        return self.held_out.video.sha256

    def asked(self, question: str, truth: str, *others: str) -> Asked:
        """For people who look at the answer; the options are those that likelihoods are compared of."""
        options = (truth, *others) if others else ()
        return Asked(question, options, truth, str(self.held_out.video.path), self.clean.numbers)


class DrawnWorld:
    """All six metrics and the controls, over every held-out video whose clips are its events one to one."""

    name = "drawn_world"

    def settings(self, material: Material) -> JsonDict:
        return {"version": 2}

    def run(self, model: AskedModel, material: Material, report: Report) -> tuple[Score, ...]:
        usable = [(video, events) for video in material.videos if (events := _events(video))]
        if not usable:
            raise TooFew(
                "None of the held-out videos is a drawn one with a clip for every event, so this benchmark has "
                "nothing to ask. Measure held_out_preference instead."
            )
        items: dict[str, list[ItemScore]] = {}
        for start in range(0, len(usable), _BATCH):
            batch = [_Watched(v, e, frames_of(model, material, v)) for v, e in usable[start : start + _BATCH]]
            for part in (_order_by_likelihood, _told, _earlier, _content, _controls):
                for metric, item in part(model, material, batch):
                    items.setdefault(metric, []).append(item)
            report(Progress(start + len(batch), len(usable), "held-out drawn videos"))
        chances = {metric: CHANCE[metric.rpartition("/")[2]] for metric in items}
        return tuple(score(self.name, metric, items[metric], chances[metric], material.seed) for metric in chances)


def _events(video: HeldOutVideo) -> tuple[Event, ...] | None:
    events = read_events(video.video.path)
    return events if events and len(events) == len(video.clip_key_frames) else None


def _rng(material: Material, watched: _Watched, what: str) -> random.Random:
    return random.Random(f"{material.seed}|{watched.group}|{what}")


def _order_by_likelihood(
    model: AskedModel, material: Material, batch: Sequence[_Watched]
) -> Iterator[tuple[str, ItemScore]]:
    """`swap`: the true caption beats one with two events exchanged. `group`: so it does for both videos and captions.

    The second video of a group is this one with the same two clips exchanged (as in Vinoground).
    """
    asked: list[Question] = []
    captions: list[str] = []
    told: list[list[str]] = []
    for watched in batch:
        questions, texts = _swapped(model, material, watched)
        asked += questions
        captions += texts
        told.append(texts)
    values = iter(float(v.sum()) for v in model.log_probs(asked, captions))
    for watched, texts in zip(batch, told, strict=True):
        tt = next(values)
        for k in range(_SWAPS):
            tf, ft, ff = next(values), next(values), next(values)
            name, about = f"{watched.group[:12]}/{k}", watched.asked(LIKELIER, texts[0], texts[1 + 3 * k])
            yield "swap", ItemScore(name, watched.group, float(tt > tf), asked=about)
            both = float(tt > tf and ff > ft and tt > ft and ff > tf)
            yield "group", ItemScore(name, watched.group, both, asked=replace(about, question=LIKELIER_TWICE))


def _swapped(model: AskedModel, material: Material, watched: _Watched) -> tuple[list[Question], list[str]]:
    """The true caption on the true video; then for each swap: false on true, true on false, false on false."""
    rng, n = _rng(material, watched, "swap"), len(watched.events)
    question, true = DESCRIBE[4], caption_of(watched.events)
    clean = Question(question, watched.clean)
    asked, captions = [clean], [true]
    for _ in range(_SWAPS):
        order = _exchanged(n, *sorted(rng.sample(range(n), 2)))
        other = Question(question, frames_of(model, material, watched.held_out, order))
        false = caption_of([watched.events[i] for i in order])
        asked += [clean, other, other]
        captions += [false, true, false]
    return asked, captions


def _swap(model: AskedModel, material: Material, batch: Sequence[_Watched]) -> Iterator[tuple[str, ItemScore]]:
    """`swap` alone, whatever the model is shown."""
    asked: list[Question] = []
    told: list[list[str]] = []
    for watched in batch:
        questions, texts = _swapped(model, material, watched)
        asked += [questions[0], *questions[1::3]]
        told.append([texts[0], *texts[1::3]])
    values = iter(float(v.sum()) for v in model.log_probs(asked, [text for texts in told for text in texts]))
    for watched, texts in zip(batch, told, strict=True):
        true = next(values)
        for k in range(_SWAPS):
            name, about = f"{watched.group[:12]}/{k}", watched.asked(LIKELIER, texts[0], texts[1 + k])
            yield "swap", ItemScore(name, watched.group, float(true > next(values)), asked=about)


def _exchanged(n: int, i: int, j: int) -> list[int]:
    order = list(range(n))
    order[i], order[j] = order[j], order[i]
    return order


def _told(model: AskedModel, material: Material, batch: Sequence[_Watched]) -> Iterator[tuple[str, ItemScore]]:
    """`recall`: share of the events that a free description names; `order`: share of their pairs told in order."""
    questions = [Question(DESCRIBE[4], watched.clean) for watched in batch]
    for watched, answer in zip(batch, model.answer(questions, _GREEDY, material.seed), strict=True):
        told = parse_events(answer.text)
        places = [told.index(event) for event in watched.events if event in told]
        pairs = [(a, b) for i, a in enumerate(places) for b in places[i + 1 :]]
        name = watched.group[:12]
        recall = len(set(told) & set(watched.events)) / len(watched.events)
        ordered = sum(a < b for a, b in pairs) / len(pairs) if pairs else None
        about = watched.asked(DESCRIBE[4], caption_of(watched.events))
        yield "recall", ItemScore(name, watched.group, recall, answer.text, about)
        yield "order", ItemScore(name, watched.group, ordered, answer.text, about)


def _earlier(model: AskedModel, material: Material, batch: Sequence[_Watched]) -> Iterator[tuple[str, ItemScore]]:
    """Which of two events comes earlier, by the likelihood of either answer; named first in the question by lot."""
    places, asked, answers = [], [], []
    for watched in batch:
        rng = _rng(material, watched, "earlier")
        for k in range(_QUESTIONS):
            first, second = (watched.events[i] for i in sorted(rng.sample(range(len(watched.events)), 2)))
            named = [first, second] if rng.random() < 0.5 else [second, first]
            question = Question(f"Which comes earlier, {named[0]} or {named[1]}?", watched.clean)
            places.append((watched, k, watched.asked(question.text, str(first), str(second))))
            asked += [question, question]
            answers += [f"{first}.", f"{second}."]
    values = iter(float(v.sum()) for v in model.log_probs(asked, answers))
    for watched, k, about in places:
        right = float(next(values) > next(values))
        yield "earlier", ItemScore(f"{watched.group[:12]}/{k}", watched.group, right, asked=about)


def _content(model: AskedModel, material: Material, batch: Sequence[_Watched]) -> Iterator[tuple[str, ItemScore]]:
    """What does this object do? Answered freely; needs no order."""
    asked = []
    for watched in batch:
        rng = _rng(material, watched, "content")
        for k, event in enumerate(rng.sample(watched.events, min(_QUESTIONS, len(watched.events)))):
            asked.append((watched, k, event, Question(f"What does the {event.thing} do?", watched.clean)))
    answers = model.answer([question for *_, question in asked], _GREEDY, material.seed)
    for (watched, k, event, question), answer in zip(asked, answers, strict=True):
        right, about = float(answer.text.strip().startswith(event.action)), watched.asked(question.text, event.action)
        yield "content_questions", ItemScore(f"{watched.group[:12]}/{k}", watched.group, right, answer.text, about)


def _one_frame(model: AskedModel, material: Material, watched: _Watched) -> Frames:
    """One picture of the video, drawn by lot, in every place."""
    pixels = watched.clean.pixels
    one = _rng(material, watched, "one frame").randrange(len(pixels))
    return replace(watched.clean, pixels=np.repeat(pixels[one : one + 1], len(pixels), axis=0))


def _shuffled(model: AskedModel, material: Material, watched: _Watched) -> Frames:
    """The clips in an order drawn by lot; the true one is as likely as any. Motion inside a clip stays as it is."""
    n = len(watched.events)
    order = _rng(material, watched, "shuffled frames").sample(range(n), n)
    return frames_of(model, material, watched.held_out, order)


Part = Callable[[AskedModel, Material, Sequence[_Watched]], Iterator[tuple[str, ItemScore]]]

CONTROLS: dict[str, tuple[Callable[[AskedModel, Material, _Watched], Frames], tuple[Part, ...]]] = {
    # Of one frame nobody tells two events, so `order` would measure how talkative the model is.
    "one frame": (_one_frame, (_swap, _earlier)),
    "shuffled frames": (_shuffled, (_swap, _told, _earlier)),
}


def _controls(model: AskedModel, material: Material, batch: Sequence[_Watched]) -> Iterator[tuple[str, ItemScore]]:
    """The temporal questions with nothing of time to see."""
    for name, (shown, parts) in CONTROLS.items():
        blinded = [replace(watched, clean=shown(model, material, watched)) for watched in batch]
        for part in parts:
            for metric, item in part(model, material, blinded):
                if metric in TEMPORAL:
                    yield f"control: {name}/{metric}", item


benchmark = DrawnWorld()
