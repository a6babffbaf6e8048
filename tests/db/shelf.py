"""A shelf: puts videos, answers and pairs into a real database."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from db import models, pairs, people, plans, prompts, responses, samplings, timelines, videos
from db.pairs import PairDraft
from db.people import Person
from db.responses import Recipe
from db.session import Database
from tempo_core.timeline import JudgedShot, Judgement, Richness, RuleResult
from tempo_core.types import Answer, Clip, Difficulty, FilterVerdict, PerturbationPlan, Sampling, Video

ORDERS = [
    (1, 0, 2, 3),
    (0, 2, 1, 3),
    (0, 1, 3, 2),
    (3, 2, 1, 0),
    (2, 3, 0, 1),
    (1, 2, 3, 0),
    (3, 0, 1, 2),
    (2, 0, 1, 3),
]


def sha(name: object) -> str:
    """64 characters that stand for a hash."""
    return f"{name}-".ljust(64, "0")


def clips(n: int) -> tuple[Clip, ...]:
    return tuple(Clip((i,), ((i * 10, i * 10 + 10),), i, (i * 10 + 3, i * 10 + 6)) for i in range(n))


def judgement(n_clips: int = 4, left_out_by: str | None = None) -> Judgement:
    """Four rules in order; `left_out_by` fails with one less than its limit."""
    codes = ("too_few_shots", "too_many_shots", "too_few_clips", "group_dominates")
    return Judgement(
        timeline=clips(n_clips),
        shots=tuple(JudgedShot(i * 10, i * 10 + 10, 0.4, 90, None, i) for i in range(n_clips)),
        rules=tuple(RuleResult(code, code != left_out_by, np.float32(3), 4.0) for code in codes),
        left_out_by=left_out_by,
        left_out_value=np.float32(3) if left_out_by else None,
        clip_likeness=np.eye(n_clips, dtype=np.float32),
    )


@dataclass
class Shelf:
    """Puts things into a database, each method in a transaction of its own; returns ids."""

    database: Database
    folder: Path
    ids: dict[str, int] = field(default_factory=dict)
    recipe: tuple[int, int, int] | None = None

    def person(self, name: str, role: str = "reviewer") -> Person:
        with self.database.session() as session:
            return people.add(session, f"test|{name}", name, role)

    def video(self, name: str, **values) -> int:
        """A readable video whose file lies in the folder."""
        path = self.folder / f"{name}.mp4"
        path.write_bytes(name.encode())
        measured = {"fps": Fraction(30000, 1001), "n_frames": 400, "duration_s": 13.33, "width": 64, "height": 48}
        video = Video(sha(name), path, **(measured | values))
        with self.database.session() as session:
            library = videos.library(session, self.folder)
            return videos.record(session, library, path.name, video, sha(f"times {name}"), {"codec": "h264"})

    def timeline(self, video_id: int, n_clips: int = 4, left_out_by: str | None = None, **thresholds) -> int:
        richness = Richness(**thresholds)
        with self.database.session() as session:
            content = sha(f"timeline {video_id} {thresholds}")
            return timelines.record(session, video_id, richness, judgement(n_clips, left_out_by), content)

    def asked(self) -> tuple[int, int, int]:
        """(model, prompt, sampling)"""
        if self.recipe is not None:
            return self.recipe
        with self.database.session() as session:
            model = models.register(session, Path("/models/tiny"), "tiny", sha("model"))
            prompt = prompts.id_of(session, "Describe the events in order.", "describe")
            self.recipe = model, prompt, samplings.id_of(session, Sampling(), {"transformers": "5.23"})
        return self.recipe

    def pair(self, video: str = "a", number: int = 0, **values) -> int:
        """One pair of a video; `number` draws another plan and other texts. Values: see `PairDraft` and below."""
        video_id = self.ids.setdefault(video, 0) or self.video(video)
        self.ids[video] = video_id
        timeline_id = self.ids.setdefault(f"timeline of {video}", 0) or self.timeline(video_id)
        self.ids[f"timeline of {video}"] = timeline_id
        kind, magnitude = values.get("kind", "shuffle"), values.get("magnitude", 4)
        difficulty = values.get("difficulty", number / 8)
        plan = PerturbationPlan(kind, magnitude, number, ORDERS[number % len(ORDERS)])
        model, prompt, sampling = self.asked()
        verdicts = values.get("verdicts", (FilterVerdict("length", True, 1.1, "ratio at most 1.5"),))
        with self.database.session() as session:
            plan_id = plans.record(
                session,
                video_id,
                timeline_id,
                plan,
                sha(f"plan {video} {number}"),
                Difficulty(difficulty, {"kendall": 0.5}),
            )
            recipe = {"model_id": model, "prompt_id": prompt, "sampling_id": sampling, "seed": number}
            clean = values.get("chosen", f"{video} {number}: a red ball, then a green cube")
            other = values.get("rejected", f"{video} {number}: a green cube, then a red ball")
            chosen = responses.record(session, Recipe(video_id, timeline_id, None, **recipe), Answer(clean, 9, "stop"))
            rejected = responses.record(
                session, Recipe(video_id, timeline_id, plan_id, **recipe), Answer(other, 9, "stop")
            )
            draft = PairDraft(
                video_id, plan_id, chosen, rejected, prompt, kind, magnitude, difficulty, n_clips=4, verdicts=verdicts
            )
            return pairs.create(session, draft)

    def pairs(self, n: int, video: str = "a") -> list[int]:
        return [self.pair(video, number) for number in range(n)]

    def look(self, verb, *arguments, **named):
        """Run a reading verb."""
        with self.database.reading() as session:
            return verb(session, *arguments, **named)

    def do(self, verb, *arguments, **named):
        """Run a writing verb in a transaction of its own."""
        with self.database.session() as session:
            return verb(session, *arguments, **named)
