"""Order questions from one's own held-out videos: no download, no person, and Vinoground's way of scoring.

The one thing to know: what the clips show is known from captions that a model wrote, so that model is favoured, and a
wrong caption makes a question nobody can answer. The settings of every score name the model. Two clips make a unit of
two texts (either one first) and two videos (the timeline and the same clips backwards; motion inside a clip stays
natural). Clips with a look-alike in their video are never asked about, nor clips that were described alike.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tempo_core import filters
from tempo_core.benchmarks import answers, figures
from tempo_core.benchmarks.base import AskedModel, HeldOutVideo, Material, frames_of, numbers_of
from tempo_core.benchmarks.folders import VideoName
from tempo_core.benchmarks.items import PROMPT_VERSION, Item, letters
from tempo_core.errors import TooFew
from tempo_core.types import Asked, Frames, ItemScore, JsonDict, Progress, Question, Report, Sampling, Score
from tempo_core.worlds import vocabulary

UNITS = 4
"""At most so many pairs of clips a video; our choice."""
UNLIKE = 0.3
"""At least this share of their words must differ between the captions of two clips; our choice."""
CARD, GREY = 2, 128
"""Pictures of the plain card between two halves, and how bright it is."""

CHANCE = {"letters": {"text": 1 / 4, "video": 1 / 4, "group": 1 / 16},
          "likelihood": {"text": 1 / 4, "video": 1 / 4, "group": 1 / 6}}  # fmt: skip
"""What independent guesses get: four letters, or four likelihoods drawn at random."""

WHICH = "Which text fits the two clips as they are, and which fits them in the other order?"
_GREEDY = Sampling(input="video", temperature=0.0, repetition_penalty=1.0, max_new_tokens=32)
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Unit:
    """Two clips of a video, the earlier one first, and what was said of them."""

    video: HeldOutVideo
    clips: tuple[int, int]
    captions: tuple[str, str]

    @property
    def name(self) -> str:
        return f"{self.video.video.sha256[:12]}/{self.clips[0]}-{self.clips[1]}"


Outcome = tuple[float | None, float | None, str]
"""Of a unit: whether both texts are right, whether both videos are, and what was said."""


class OwnOrder:
    """`text`: for either video the right text; `video`: for either text the right video; `group`: both."""

    name = "own_order"

    def settings(self, material: Material) -> JsonDict:
        asked = "\n".join(f"{unit.name} {unit.captions}" for unit in units(material))
        digest = hashlib.sha256(asked.encode()).hexdigest()
        told = {"captions_by": material.captions_by, "units": digest}
        return {"version": 1, "prompt": PROMPT_VERSION, "parser": answers.PARSER_VERSION, **told}

    def run(self, model: AskedModel, material: Material, report: Report) -> tuple[Score, ...]:
        found = units(material)
        by_likelihood = model.prompt_set == "embedded"
        if by_likelihood:
            found = [unit for unit in found if not vocabulary.unknown(_plainly(unit.captions))]
        if len({unit.video.video.sha256 for unit in found}) < 2:
            raise TooFew(_why_not(material, embedded=by_likelihood))
        outcomes: list[Outcome] = []
        for start in range(0, len(found), _BATCH):
            batch = found[start : start + _BATCH]
            outcomes += (_likelier if by_likelihood else _chosen)(model, material, batch)
            report(Progress(len(outcomes), len(found), "pairs of clips, in both orders"))
        chance = CHANCE["likelihood" if by_likelihood else "letters"]
        return tuple(_scores(found, outcomes, chance, material.seed))


def units(material: Material) -> list[Unit]:
    """The pairs of clips that can be asked about, at most `UNITS` of each video, drawn by the seed."""
    found = []
    for video in material.videos:
        rng = random.Random(f"{material.seed}|{video.video.sha256}|own order")
        able = list(_able(video))
        found += [able[i] for i in sorted(rng.sample(range(len(able)), min(UNITS, len(able))))]
    return found


def _able(video: HeldOutVideo) -> Iterator[Unit]:
    captions = [" ".join(caption.split()) for caption in video.captions]
    said = [filters.words(caption) for caption in captions]
    alone = [i for i in range(len(captions)) if said[i] and video.groups.count(video.groups[i]) == 1]
    for at, i in enumerate(alone):
        for j in alone[at + 1 :]:
            distance = filters.edit_distance(said[i], said[j])
            if distance >= UNLIKE * max(len(said[i]), len(said[j])):
                yield Unit(video, (i, j), (captions[i], captions[j]))


def _why_not(material: Material, *, embedded: bool) -> str:
    if not any(video.captions for video in material.videos):
        return (
            "No held-out video has captions of its clips. Make pairs from captions (python -m jobs pair --input "
            "captions): they describe each clip once."
        )
    words = " in words that the embedded model knows" if embedded else ""
    return (
        f"Fewer than two held-out videos have two clips of their own looks with unlike captions{words}. Hold out more "
        "videos, or measure drawn_world."
    )


def _chosen(model: AskedModel, material: Material, batch: Sequence[Unit]) -> Iterator[Outcome]:
    """The model chooses by letter: a text for either video, and a half of both videos for either text."""
    items: list[Item] = []
    asked: list[Question] = []
    for unit in batch:
        for item, frames in _questions(model, material, unit):
            items.append(item)
            asked.append(Question(item.prompt(), frames))
    said = [answer.text for answer in model.answer(asked, _GREEDY, material.seed)]
    right = [_right(item, text) for item, text in zip(items, said, strict=True)]
    for start in range(0, len(items), 4):
        texts, videos = right[start : start + 2], right[start + 2 : start + 4]
        yield _both(texts), _both(videos), " | ".join(said[start : start + 4])


def _right(item: Item, text: str) -> float | None:
    choice = item.parse(text).choice
    return None if choice is None else float(choice in item.truth)


def _both(right: Sequence[float | None]) -> float | None:
    """Unparsed if one is; else whether all are right."""
    values = [value for value in right if value is not None]
    return None if len(values) < len(right) else float(all(values))


def _questions(model: AskedModel, material: Material, unit: Unit) -> Iterator[tuple[Item, Frames]]:
    """Two questions about texts, one a video; then two about the halves of both videos, one a text."""
    rng = random.Random(f"{material.seed}|{unit.name}|places")
    forward = tuple(range(len(unit.video.clip_key_frames)))
    texts = [_sentence(unit.captions), _sentence(unit.captions[::-1])]
    for shown, order in enumerate((forward, forward[::-1])):
        places = rng.sample((0, 1), 2)
        options = tuple(texts[place] for place in places)
        item = _item(unit, "Which description fits the order of this video?", options, places.index(shown))
        yield item, frames_of(model, material, unit.video, order)
    halves = rng.sample((0, 1), 2)
    frames = _joined(model, material, unit.video, [(forward, forward[::-1])[half] for half in halves])
    for told, text in enumerate(texts):
        question = f"The same clips are shown twice, with a grey card between. Which half does this fit? {text}"
        yield _item(unit, question, ("The first half.", "The second half."), halves.index(told)), frames


def _item(unit: Unit, question: str, options: tuple[str, ...], right: int) -> Item:
    group = unit.video.video.sha256
    return Item(VideoName(group[:12]), question, options, (right,), (), group, labels=letters(options), id=unit.name)


def _joined(model: AskedModel, material: Material, video: HeldOutVideo, orders: Sequence[tuple[int, ...]]) -> Frames:
    """Two orders of the video one after the other, a plain card between them."""
    first, second = (numbers_of(video, order) for order in orders)
    halves = [material.pictures(video.video, video.times_sha256, numbers) for numbers in (first, second)]
    card = np.full_like(halves[0][:1], GREY).repeat(CARD, axis=0)
    pixels = np.concatenate([halves[0], card, halves[1]])
    # The card lasts as long as as many pictures of the video do.
    duration_s = video.video.duration_s * len(pixels) / len(first)
    return model.shown(pixels, [*first, *[first[-1]] * CARD, *second], duration_s)


def _likelier(model: AskedModel, material: Material, batch: Sequence[Unit]) -> Iterator[Outcome]:
    """For a model that knows no such questions: either text after the two clips alone, in either order."""
    asked: list[Question] = []
    texts: list[str] = []
    for unit in batch:
        told = [_plainly(unit.captions), _plainly(unit.captions[::-1])]
        for order in (unit.clips, unit.clips[::-1]):
            asked += [Question(vocabulary.DESCRIBE[4], frames_of(model, material, unit.video, order))] * 2
            texts += told
    values = iter(float(found.sum()) for found in model.log_probs(asked, texts))
    for _ in batch:
        forward_true, forward_false, back_false, back_true = (next(values) for _ in range(4))
        text = float(forward_true > forward_false and back_true > back_false)
        video = float(forward_true > back_false and back_true > forward_false)
        said = f"{forward_true - forward_false:+.2f} | {back_true - back_false:+.2f}"
        yield text, video, said


def _sentence(captions: Sequence[str]) -> str:
    return f"First: {captions[0]} Then: {captions[1]}"


def _plainly(captions: Sequence[str]) -> str:
    """As captions of the drawn world are joined."""
    return ", then ".join(caption.rstrip(" .") for caption in captions) + "."


def _scores(found: Sequence[Unit], outcomes: Sequence[Outcome], chance: dict[str, float], seed: int) -> Iterator[Score]:
    items: dict[str, list[ItemScore]] = {"text": [], "video": [], "group": []}
    for unit, (text, video, said) in zip(found, outcomes, strict=True):
        told = (_sentence(unit.captions), _sentence(unit.captions[::-1]))
        about = Asked(WHICH, told, told[0], str(unit.video.video.path))
        for metric, right in (("text", text), ("video", video), ("group", _both([text, video]))):
            items[metric].append(ItemScore(unit.name, unit.video.video.sha256, right, said, about))
    for metric, found_items in items.items():
        yield figures.scored(OwnOrder.name, metric, found_items, chance[metric], seed)


benchmark = OwnOrder()
