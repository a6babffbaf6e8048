"""How good an embedded model is, on embeddings of drawn shots; the base scores of its record come from here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from tempo_core.video_llms.tiny_lessons import (
    ACTION_IDS,
    DESCRIBE_IDS,
    ID,
    OBJECT_IDS,
    Events,
    caption_ids,
    generate,
    lesson,
    log_probs,
    sample_events,
    what_lesson,
)
from tempo_core.video_llms.tiny_shots import N_ACTIONS, pick
from tempo_core.video_llms.tiny_students import Student
from tempo_core.worlds.vocabulary import ACTIONS


def scores(student: Student, shown: Tensor, n: int, n_clips: int, seed: int = 20251) -> dict[str, float]:
    """Recall and order of greedy captions, the swap and group tests, and content questions, on `n` fresh videos."""
    student.model.eval()
    rng = np.random.default_rng(seed)
    events = sample_events(rng, n, n_clips)
    seen = pick(shown, events, rng)
    out = _likelihoods(student, rng, events, seen)
    told = lesson(DESCRIBE_IDS[4], [], n_clips, student.layout)[0]
    answers = generate(student, [told] * n, seen, 4 * n_clips + 10)
    found = [parse(answer) for answer in answers]
    both = list(zip(events.tolist(), found, strict=True))
    out["recall"] = float(np.mean([len(set(told) & set(true)) / n_clips for true, told in both]))
    orders = [order_of(true, told) for true, told in both]
    out["order"] = float(np.mean([0.5 if x is None else x for x in orders]))
    asked = events[np.arange(n), rng.integers(0, n_clips, n)].tolist()
    said = generate(student, [what_lesson(e, n_clips, student.layout)[0] for e in asked], seen, 4)
    right = [answer[:1] == [ID[ACTIONS[e % N_ACTIONS]]] for answer, e in zip(said, asked, strict=True)]
    out["content_questions"] = float(np.mean(right))
    student.model.train()
    return out


def _likelihoods(student: Student, rng: np.random.Generator, events: Events, seen: Tensor) -> dict[str, float]:
    """Swap: the true caption against one with two events exchanged. Group: Vinoground's, both ways right."""
    n, n_clips = events.shape
    order = np.tile(np.arange(n_clips), (n, 1))
    for row in order:
        i, j = rng.choice(n_clips, 2, replace=False)
        row[[i, j]] = row[[j, i]]
    other = np.take_along_axis(events, order, 1)
    places = torch.as_tensor(order)[:, :, None].expand(-1, -1, seen.shape[-1])
    seen_other = seen.view(n, n_clips, -1).gather(1, places).reshape(-1, seen.shape[-1])

    def of(told: Events, video: Tensor) -> Tensor:
        said = [lesson(DESCRIBE_IDS[4], caption_ids(e), n_clips, student.layout) for e in told.tolist()]
        return log_probs(student, said, video)

    true, swapped, crossed, both = of(events, seen), of(other, seen), of(events, seen_other), of(other, seen_other)
    text, video = (true > swapped) & (both > crossed), (true > crossed) & (both > swapped)
    return {"swap": float((true > swapped).float().mean()), "group": float((text & video).float().mean())}


def order_of(true: Sequence[int], told: Sequence[int]) -> float | None:
    """Share of event pairs told in their true order; None with fewer than two true events."""
    at = [told.index(e) for e in true if e in told]
    if len(at) < 2:
        return None
    return float(np.mean([at[i] < at[j] for i in range(len(at)) for j in range(i + 1, len(at))]))


def parse(tokens: Sequence[int]) -> list[int]:
    """The events that an answer names."""
    things = {int(t): i for i, t in enumerate(OBJECT_IDS)}
    doings = {int(t): i for i, t in enumerate(ACTION_IDS)}
    pairs = pairwise(tokens)
    return [things[a] * N_ACTIONS + doings[b] for a, b in pairs if a in things and b in doings]
