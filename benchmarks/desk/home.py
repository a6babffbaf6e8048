"""A home folder worth measuring on: drawn H.264 videos of about 5 MB, and hundreds of pending pairs with real texts.

A few videos are drawn and scanned; the others are the same pictures with a few bytes more, so each has a hash, a row
and an address of its own and no browser has it in its cache. Pairs that follow each other are about other videos.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from db import migrate, models, pairs, people, plans, prompts, responses, samplings, timelines, videos
from db.pairs import PairDraft
from db.responses import Recipe
from db.session import Database
from tempo_core import filters, media, perturbation
from tempo_core.measures import load_measures, measures_path, save_measures
from tempo_core.render import PROXY_OPTIONS
from tempo_core.scan import scan
from tempo_core.settings import Home
from tempo_core.timeline import Judgement, Richness, judge, timeline_sha256
from tempo_core.types import Answer, PerturbationPlan, Sampling
from tempo_core.types import Video as ScannedVideo

SIZE, SMALL = (854, 480), (320, 180)
RATES = (Fraction(25), Fraction(30000, 1001))
CLIPS_S = (2.4, 1.7, 3.1, 2.0, 2.8, 1.5, 2.2, 2.6, 1.9, 1.8)
"""Ten clips, 22 s: with `BITS_PER_PIXEL` a second about 5 MB a file."""
BITS_PER_PIXEL = 4.5
PROMPT = "Describe what happens in this video in detail, in the order in which it happens."
SENTENCES = (
    "A woman in a dark red coat walks through the market hall and stops in front of a stall with oranges and lemons.",
    "The camera moves close to a pair of hands that knead a large piece of dough on a wooden table dusted with flour.",
    "Two boys run along the wet pier while several gulls rise from the railing behind them and circle over the water.",
    "An old man with a grey cap repairs the chain of a bicycle that stands upside down in a narrow courtyard.",
    "From above, a line of cars crosses the long bridge slowly, and the shadow of a cloud passes over all the lanes.",
    "A black dog shakes itself next to a small fire on the beach, so that drops of water fly in every direction.",
    "Inside a workshop, a woman with safety glasses lowers a saw and cuts a board into two pieces of equal length.",
    "The stage is lit in deep blue, and three dancers turn around each other with their arms stretched out wide.",
    "Steam comes out of a kettle; somebody lifts it and fills two white cups that stand beside a plate with biscuits.",
    "At last the train leaves the small station, and a child with a yellow backpack waves until it is out of sight.",
)
OPENINGS = ("", "Then the view changes. ", "After that, we see something else. ", "Next comes another place. ")


@dataclass(frozen=True, slots=True)
class Footage:
    """A file that was scanned and judged."""

    path: Path
    sha256: str
    times_sha256: str
    judgement: Judgement


def build(root: Path, n_videos: int, n_pairs: int, size: tuple[int, int] = SIZE) -> Home:
    """Draw the videos beside the home and make the pairs by the product's own verbs."""
    home = Home(root / "home").make()
    migrate.upgrade(home)
    database = Database.of(home)
    folder = root / "videos"
    folder.mkdir()
    with database.session() as session:
        library = videos.library(session, folder)
        made = [_pairs_of(session, home, library, video) for video in _videos(folder, home, n_videos, size)]
        # Round robin: the pair that comes next is about another file.
        drafts = [of_one[k] for k in range(max(map(len, made))) for of_one in made if k < len(of_one)]
        pairs.create_many(session, drafts[:n_pairs])
        people.local(session)
    database.close()
    return home


def copy_of(home: Home, root: Path) -> Home:
    """The same studio with nothing decided yet: its own database, the same videos."""
    copy = Home(root)
    copied = ("cache", "media")
    shutil.copytree(home.root, copy.root, ignore=shutil.ignore_patterns(*copied, "*.log"))
    for folder in copied:
        shutil.copytree(home.root / folder, copy.root / folder, copy_function=os.link)
    return copy


# ---- videos ---------------------------------------------------------------------------------------------------------
def _videos(folder: Path, home: Home, n_videos: int, size: tuple[int, int]) -> list[Footage]:
    paths = [folder / f"footage-{rate.numerator}.mp4" for rate in RATES]
    drawn = [_drawn(path, rate, seed, home, size) for seed, (path, rate) in enumerate(zip(paths, RATES, strict=True))]
    return [*drawn, *(_twin(drawn[k % len(drawn)], k, home) for k in range(len(drawn), n_videos))]


def _drawn(path: Path, rate: Fraction, seed: int, home: Home, size: tuple[int, int]) -> Footage:
    write(path, rate, seed, size)
    found = scan(path, home.cache)
    judgement = judge(load_measures(found.measures_path), Richness())
    if judgement.left_out_by is not None:
        raise SystemExit(f"The drawn video was left out by {judgement.left_out_by} ({judgement.left_out_value}).")
    return Footage(path, found.video.sha256, found.times_sha256, judgement)


def _twin(video: Footage, number: int, home: Home) -> Footage:
    """The same pictures in other bytes: an empty box at the end, which every player passes over."""
    path = video.path.with_name(f"{video.path.stem}-{number:03}.mp4")
    path.write_bytes(video.path.read_bytes() + (16).to_bytes(4) + b"free" + number.to_bytes(8))
    sha256 = media.sha256_of(path)
    measures = load_measures(measures_path(home.cache, video.sha256))
    save_measures(replace(measures, sha256=sha256), measures_path(home.cache, sha256))
    return replace(video, path=path, sha256=sha256)


def write(path: Path, rate: Fraction, seed: int, size: tuple[int, int]) -> None:
    """Ten plainly different clips with a moving disc and grain, encoded like the product's own proxies."""
    rng = np.random.default_rng(seed)
    grain = [rng.normal(0, 9, (size[1], size[0], 1)).astype(np.int8).repeat(3, axis=2) for _ in range(5)]
    options = {name: value for name, value in PROXY_OPTIONS.items() if name != "crf"}
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as out:
        stream = out.add_stream("libx264", rate=rate, options=options)
        stream.bit_rate, stream.pix_fmt = round(BITS_PER_PIXEL * size[0] * size[1]), "yuv420p"
        stream.width, stream.height = size
        for clip, length_s in enumerate(CLIPS_S):
            ground = _ground(rng, clip, size)
            for k in range(round(length_s * rate)):
                image = cv2.add(_scene(ground, k, size), grain[k % len(grain)], dtype=cv2.CV_8U)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        out.mux(stream.encode())


def _ground(rng: np.random.Generator, clip: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A textured background, wider than the picture so that it can pan; the hue tells the clips apart."""
    hue, light = round(180 * (clip * 0.381966 % 1)), (215, 120)[clip % 2]
    coarse = rng.integers(-35, 35, (8, 18, 1))
    coloured = np.full((8, 18, 3), (hue, 170, light)) + coarse * np.array((0, 1, 1))
    small = cv2.cvtColor(np.clip(coloured, 0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR)
    return np.asarray(cv2.resize(small, (size[0] + 200, size[1]), interpolation=cv2.INTER_CUBIC), np.uint8)


def _scene(ground: NDArray[np.uint8], k: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    image = np.ascontiguousarray(ground[:, 2 * k % 200 :][:, : size[0]])
    cv2.circle(image, (80 + 9 * k % (size[0] - 160), size[1] // 2), size[1] // 10, (90, 225, 235), -1, cv2.LINE_AA)
    return image


# ---- pairs ----------------------------------------------------------------------------------------------------------
def _pairs_of(session: Session, home: Home, library: int, video: Footage) -> list[PairDraft]:
    timeline = video.judgement.timeline
    sha = timeline_sha256(video.sha256, video.times_sha256, timeline)
    measures = load_measures(measures_path(home.cache, video.sha256))
    length_s = float(measures.edges_s[-1])
    size = measures.probe["width"], measures.probe["height"]
    scanned = ScannedVideo(video.sha256, video.path, measures.fps, measures.n_frames, length_s, *size)
    video_id = videos.record(session, library, video.path.name, scanned, video.times_sha256, measures.probe)
    timeline_id = timelines.record(session, video_id, Richness(), video.judgement, sha)
    model = models.register(session, video.path.parent, "tiny", "0" * 64, name="A model that was never asked")
    prompt, sampling = prompts.id_of(session, PROMPT), samplings.id_of(session, Sampling())
    clean = Recipe(video_id, timeline_id, None, model, prompt, sampling, 0)
    true = story(range(len(timeline)))
    chosen = responses.record(session, clean, Answer(true, 240, "stop"))

    def draft(plan: PerturbationPlan) -> PairDraft:
        hard = perturbation.difficulty(plan, [clip.n_frames for clip in timeline], video.judgement.clip_likeness)
        plan_sha = perturbation.plan_sha256(plan, video.sha256, sha)
        plan_id = plans.record(session, video_id, timeline_id, plan, plan_sha, hard)
        told = story(plan.order)
        rejected = responses.record(session, replace(clean, plan_id=plan_id), Answer(told, 240, "stop"))
        verdicts = filters.run(Answer(true, 240, "stop"), Answer(told, 240, "stop"), plan.kind)
        passed = tuple(verdict for verdict in verdicts if verdict.passed)
        return PairDraft(
            video_id, plan_id, chosen, rejected, prompt, plan.kind, plan.magnitude, hard.value, len(timeline), passed
        )

    planned = perturbation.plans(len(timeline), seed_of=lambda kind, r, k: r + k).plans
    first = video_id % len(planned)  # so that neighbours in the queue differ in kind and strength too
    return [draft(plan) for plan in (*planned[first:], *planned[:first])]


def story(order: Sequence[int]) -> str:
    """Ten sentences of twenty words, about 220 in all, in the order of the clips."""
    return " ".join(OPENINGS[k % len(OPENINGS)] + SENTENCES[clip % len(SENTENCES)] for k, clip in enumerate(order))
