"""A database of very many realistic pairs, written in seconds, for measuring and for looking.

Seeded: the same numbers give the same rows. Videos have timelines but no files, so their pictures stay empty.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert
from sqlalchemy.orm import Session

from db import migrate, models, people, prompts, samplings, videos
from db.people import Person
from db.session import Database, now_ms
from db.tables import (
    FilterResultRow,
    PairRow,
    PlanRow,
    ResponseRow,
    ReviewRow,
    SegmentationRow,
    TimelineRow,
    VideoRow,
)
from tempo_core.settings import Home
from tempo_core.types import Sampling

KINDS = ("drop", "shuffle", "reverse")
MAGNITUDES = (2, 4, 8, 16)
STATUSES = {"pending": 0.52, "accepted": 0.27, "rejected": 0.09, "flagged": 0.02, "filtered": 0.10}
RULES = ("nearly_identical", "not_contained", "refusal", "repetition", "length_ratio", "drop_longer")
EVENTS = (
    "a red kettle whistles on the stove", "the camera pans across a crowded harbour", "two children chase a yellow dog",
    "a woman folds a paper boat", "rain begins to hit the window", "the chef slices an onion into thin rings",
    "a train crosses the stone bridge", "someone writes a name on the blackboard", "the lights of the hall go out",
    "a cyclist falls and stands up again", "the crowd claps and waves blue flags", "a hand turns the key in the lock",
)  # fmt: skip
SYLLABLES = ("ba", "ko", "mi", "ren", "tu", "sal", "ve", "dor", "lin", "pha", "gri", "zu", "ne", "tal", "wis", "que")


def build(home: Home, n_pairs: int = 100_000, n_videos: int = 3000, seed: int = 0) -> Database:
    """Fill an empty home. The database is open for writing and reading."""
    migrate.upgrade(home)
    database, rng = Database.of(home), np.random.default_rng(seed)
    n_videos = min(n_videos, n_pairs)
    with database.session() as session:
        me, ada = people.local(session), people.add(session, "bench|ada", "Ada", "reviewer")
        _videos(session, videos.library(session, home.media), n_videos)
        model_ids = [
            models.register(session, Path(f"/models/{name}"), "qwen-vl", _sha(name), name=name)
            for name in ("Video-LLM 7B", "Video-LLM 2B")
        ]
        prompt = prompts.id_of(session, "Describe the events of the video in order.", "describe")
        asked = [samplings.id_of(session, Sampling(input=what)) for what in ("captions", "video")]
    drawn = _Drawn(rng, n_pairs, n_videos)
    for start in range(0, n_pairs, 10_000):
        with database.session() as session:
            # A bulk load may skip the costly look at each pair's responses: they are written beside it.
            session.connection().exec_driver_sql(
                f"DROP TRIGGER pair_texts_match{'' if database.is_sqlite else ' ON pair'}"
            )
            _pairs(session, drawn, range(start, min(start + 10_000, n_pairs)), model_ids, asked, prompt, (me, ada))
            migrate.finish(session.connection())
    with database.session() as session:
        for statement in ["PRAGMA optimize"] if database.is_sqlite else _AFTER_A_LOAD:
            session.connection().exec_driver_sql(statement)
    return database


_AFTER_A_LOAD = (
    # Rows with ids of ours: Postgres counts on from where it was.
    *(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))"
      for table in ("video", "segmentation", "timeline", "plan", "response", "pair", "review")),
    "ANALYZE",
)  # fmt: skip


def _sha(*parts: object) -> str:
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


def _videos(session: Session, _library: int, n: int) -> None:
    clips = [{"shots": [i], "ranges": [[i * 60, i * 60 + 60]], "group": i, "key_frames": [i * 60 + 15, i * 60 + 45]}
             for i in range(8)]  # fmt: skip
    same = {"created_ms": now_ms()}
    session.execute(insert(VideoRow), [
        {"id": i, "sha256": _sha("video", i), "name": f"walk-{i:04d}.mp4", "status": "ok", "n_frames": 480,
         "fps_num": 30, "fps_den": 1, "duration_s": 16.0, "width": 640, "height": 360, "probe": {}, **same}
        for i in range(1, n + 1)
    ])  # fmt: skip
    session.execute(insert(SegmentationRow), [
        {"id": i, "video_id": i, "config_sha256": _sha("detector"), "detector": "content", "params": {}, "shots": [],
         "n_shots": 8, **same} for i in range(1, n + 1)
    ])  # fmt: skip
    session.execute(insert(TimelineRow), [
        {"id": i, "segmentation_id": i, "video_id": i, "config_sha256": _sha("richness"), "params": {},
         "sha256": _sha("timeline", i), "shots": [], "clips": clips, "n_shots": 8, "n_clips": 8, "n_groups": 8,
         "rules": [], "current": True, **same} for i in range(1, n + 1)
    ])  # fmt: skip


class _Drawn:
    """What each pair is, drawn at once."""

    def __init__(self, rng: np.random.Generator, n: int, n_videos: int) -> None:
        self.video = np.arange(n) * n_videos // n + 1
        self.kind = rng.integers(0, 3, n)
        self.magnitude = rng.integers(0, 4, n)
        self.model = (rng.random(n) < 0.3).astype(int)
        self.input = (rng.random(n) < 0.4).astype(int)
        # Three digits, so that many pairs share a difficulty, as measured ones do.
        hard = rng.beta(2.0, 2.0, n) * 0.6 + (3 - self.magnitude) * 0.13
        self.difficulty = np.round(np.clip(hard, 0, 1), 3)
        self.status = rng.choice(list(STATUSES), n, p=list(STATUSES.values()))
        self.failed = rng.integers(0, len(RULES) - 2, n)
        self.words = _vocabulary(rng)
        share = 1 / np.arange(1, len(self.words) + 1)
        self.text = rng.choice(len(self.words), (n + n_videos, 60), p=share / share.sum())
        self.events = rng.integers(0, len(EVENTS), (n + n_videos, 6))
        self.n_words = rng.integers(30, 61, n + n_videos)
        self.n_events = rng.integers(3, 7, n + n_videos)

    def response(self, number: int) -> str:
        """60 to 100 words: events in some order, then words of a language that few know."""
        told = ". ".join(EVENTS[i] for i in self.events[number, : self.n_events[number]])
        return f"{told}. " + " ".join(self.words[i] for i in self.text[number, : self.n_words[number]]) + "."


def _vocabulary(rng: np.random.Generator) -> list[str]:
    made = ["".join(part) for n in (2, 3) for part in itertools.product(SYLLABLES, repeat=n)]
    return [made[i] for i in rng.permutation(len(made))]


def _pairs(
    session: Session, drawn: _Drawn, numbers: range, model_ids: list[int], asked: list[int], prompt: int,
    reviewers: tuple[Person, Person],
) -> None:  # fmt: skip
    now, plans, responses, pairs, results, reviews = now_ms(), [], [], [], [], []
    for n in numbers:
        i, video = n + 1, int(drawn.video[n])
        kind, magnitude = KINDS[drawn.kind[n]], MAGNITUDES[drawn.magnitude[n]]
        hard, status = float(drawn.difficulty[n]), str(drawn.status[n])
        order = [int(clip) for clip in np.roll(np.arange(8), 1 + n % 7)]
        model, sampling = model_ids[drawn.model[n]], asked[drawn.input[n]]
        plans.append({
            "id": i, "sha256": _sha("plan", i), "video_id": video, "timeline_id": video, "kind": kind, "law": "authors",
            "magnitude": magnitude, "seed": n, "attempt": 0, "aliases": [], "clip_order": order, "difficulty": hard,
            "measures": {}, "created_ms": now,
        })  # fmt: skip
        texts = drawn.response(n), drawn.response(len(drawn.kind) + video - 1)
        both = {"video_id": video, "timeline_id": video, "model_id": model, "prompt_id": prompt,
                "sampling_id": sampling, "seed": n, "n_tokens": 90, "finish": "stop", "created_ms": now}  # fmt: skip
        responses.append({"id": 2 * i - 1, "plan_id": None, "text": texts[1], **both})
        responses.append({"id": 2 * i, "plan_id": i, "text": texts[0], **both})
        ratio = max(map(len, texts)) / min(map(len, texts))
        decided = status in ("accepted", "rejected", "flagged")
        pairs.append({
            "id": i, "uid": _sha("pair", i), "video_id": video, "plan_id": i, "chosen_id": 2 * i - 1,
            "rejected_id": 2 * i, "prompt_id": prompt, "kind": kind, "magnitude": magnitude, "difficulty": hard,
            "n_clips": 8, "prompt": "Describe the events of the video in order.", "chosen": texts[1],
            "rejected": texts[0], "status": status, "version": 1 + decided, "claim_until_ms": 0, "created_ms": now,
            "model_id": model, "input": ("captions", "video")[drawn.input[n]], "length_ratio": ratio,
        })  # fmt: skip
        results += _results(i, kind, ratio, status, RULES[drawn.failed[n]])
        if decided:
            reviews.append({
                "pair_id": i, "pair_version": 1, "reviewer_id": reviewers[n % 2].id, "act": "accept", "verdict": status,
                "swapped": False, "token": f"bench{i}", "edited_chosen": f"{texts[1]} Edited." if n % 50 == 0 else None,
                "dwell_ms": 3000, "created_ms": now,
            })  # fmt: skip
    for row, values in ((PlanRow, plans), (ResponseRow, responses), (PairRow, pairs), (FilterResultRow, results),
                        (ReviewRow, reviews)):  # fmt: skip
        if values:
            session.execute(insert(row), values)


def _results(pair_id: int, kind: str, ratio: float, status: str, failed: str) -> Iterator[dict[str, Any]]:
    for name in RULES:
        if name != ("length_ratio" if kind == "drop" else "drop_longer"):
            passed = status != "filtered" or name != failed
            value = ratio if name == "length_ratio" else 0.5
            yield {"pair_id": pair_id, "name": name, "version": 1, "passed": passed, "value": value, "rule": "a rule"}
