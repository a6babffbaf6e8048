"""A studio with something in it: drawn videos, scanned and planned and paired by the product's own verbs."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from db import migrate, models, pairs, people, plans, prompts, responses, samplings, timelines, videos
from db.pairs import PairDraft
from db.responses import Recipe
from db.session import Database
from tempo_core import filters, perturbation
from tempo_core.measures import load_measures
from tempo_core.scan import scan
from tempo_core.settings import Home
from tempo_core.timeline import Richness, judge, timeline_sha256
from tempo_core.types import Answer, Sampling

FPS = 24
ACTS = (
    "red circle rises",
    "green square falls",
    "blue triangle moves left",
    "yellow ring moves right",
    "purple cross grows",
    "red square shrinks",
    "green triangle appears",
    "blue ring vanishes",
    "yellow cross rises",
    "purple circle falls",
    "red triangle moves left",
    "green ring moves right",
)
"""Words of the drawn world, so that the embedded model may be trained on these pairs."""
EVIL = '<img src="{beacon}/img"><script src="{beacon}/js"></script> ![x]({beacon}/md) '


def draw(path: Path, lengths: Sequence[int], seed: int = 0, size: tuple[int, int] = (320, 180)) -> None:
    """Draw a video of plainly different clips with a moving square; `lengths` in frames."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "g": "12", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for clip, length in enumerate(lengths):
            hue = (clip * 0.381966 + seed * 0.13) % 1
            ground = np.array(colorsys.hsv_to_rgb(hue, 0.75, (0.9, 0.45)[clip % 2])) * 255
            noise = rng.integers(-14, 15, (size[1], size[0], 1))
            scene = np.clip(ground + noise, 0, 255).astype(np.uint8)
            scene[:: 18 + 4 * (clip % 5), :, :] //= 2
            for k in range(length):
                image = scene.copy()
                x = int((size[0] - 60) * k / length)
                image[60:120, x : x + 60] = 255 - ground.astype(np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode())


def story(order: Sequence[int]) -> str:
    return " ".join(f"{ACTS[clip % len(ACTS)]}." for clip in order)


def fill(home: Home, n_videos: int = 2, beacon: str | None = None) -> Database:
    """Videos, timelines, plans and pending pairs. With a `beacon` the responses and names hold hostile markup."""
    home.make()
    migrate.upgrade(home)
    database = Database.open(home.database)
    folder = home.media / "drawn"
    folder.mkdir(exist_ok=True)
    for number in range(n_videos):
        path = folder / f"drawn-{number}.mp4"
        draw(path, [16 + 5 * ((number + clip) % 4) for clip in range(8 + 2 * number)], seed=number)
        _pairs_of(database, home, path, EVIL.format(beacon=beacon) if beacon else "")
    return database


def _pairs_of(database: Database, home: Home, path: Path, evil: str) -> None:
    found, richness = scan(path, home.cache), Richness()
    judgement = judge(load_measures(found.measures_path), richness)
    assert judgement.left_out_by is None, (judgement.left_out_by, judgement.left_out_value)
    sha = timeline_sha256(found.video.sha256, found.times_sha256, judgement.timeline)
    with database.session() as session:
        library = videos.library(session, path.parent)
        video = videos.record(session, library, path.name, found.video, found.times_sha256, found.probe)
        timeline = timelines.record(session, video, richness, judgement, sha)
        model = models.register(session, path.parent, "tiny", "0" * 64, name=f"model {evil}")
        prompt = prompts.id_of(session, f"List what happens in the video, in order. {evil}")
        sampling = samplings.id_of(session, Sampling())
        n, lengths = len(judgement.timeline), [clip.n_frames for clip in judgement.timeline]
        clean = Recipe(video, timeline, None, model, prompt, sampling, 0)
        chosen_id = responses.record(session, clean, Answer(evil + story(range(n)), 9, "stop"))
        for plan in perturbation.plans(n, seed_of=lambda kind, r, k: r + k).plans:
            hard = perturbation.difficulty(plan, lengths, judgement.clip_likeness)
            plan_id = plans.record(
                session, video, timeline, plan, perturbation.plan_sha256(plan, found.video.sha256, sha), hard
            )
            told = Answer(evil + story(plan.order), 9, "stop")
            rejected_id = responses.record(session, Recipe(video, timeline, plan_id, model, prompt, sampling, 0), told)
            verdicts = filters.run(Answer(story(range(n)), 9, "stop"), Answer(story(plan.order), 9, "stop"), plan.kind)
            passed = tuple(verdict for verdict in verdicts if verdict.passed)
            pairs.create(
                session,
                PairDraft(
                    video, plan_id, chosen_id, rejected_id, prompt, plan.kind, plan.magnitude, hard.value, n, passed
                ),
            )
        people.local(session)
