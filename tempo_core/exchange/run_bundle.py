"""A run that travels: all that trains it where there is no studio, no database and no video, in one folder.

The one thing to know: the pictures that training reads travel byte for byte, and the order of training is the stored
one, so that the same libraries on the same kind of machine end with the same weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from math import gcd
from pathlib import Path
from typing import Any

from tempo_core.curriculum import plan_sha256
from tempo_core.errors import BundleRefused
from tempo_core.exchange import seals
from tempo_core.exchange.base import bundle, json_line, write_file
from tempo_core.exchange.quoting import markdown_text
from tempo_core.pictures import Pictures
from tempo_core.recipes import RECIPES, RunConfig, check
from tempo_core.types import Example, JsonDict, PlannedPair, PreferencePair, Progress, Report, Stage, Video

FORM = "run bundle"
PAIRS, EXAMPLES, PLAN, CONFIG, README = "pairs.jsonl", "examples.jsonl", "plan.json", "config.json", "README.md"
RESULT, WORK = "result", "work"
"""Folders that training makes in a bundle: what goes back, and what it needs meanwhile."""
TOLD_EVERY = 20


@dataclass(frozen=True, slots=True)
class Origin:
    """Which run of which studio this is. `run_sha256` knows it again when its result comes back."""

    run_id: int
    name: str
    run_sha256: str
    base: str
    base_sha256: str
    plan_sha256: str
    dataset_sha256: str | None
    sft_set_sha256: str | None
    long_side: int | None
    """Pixels of the pictures' longer side; None: as in the videos."""
    code_version: str
    libraries: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunBundle:
    """What `training.recipe.train` needs beside a model and pictures; it is a `Plan` itself."""

    origin: Origin
    config: RunConfig
    pairs: Mapping[int, PreferencePair]
    """By pair_id; those that the plan names."""
    examples: tuple[Example, ...]
    planned: tuple[PlannedPair, ...]
    stages: tuple[Stage, ...]

    @property
    def most_processes(self) -> int:
        """The largest number of processes that can share every step equally; its divisors can too."""
        sizes: dict[int, int] = {}
        for place in self.planned:
            sizes[place.step] = sizes.get(place.step, 0) + 1
        of_sft = [self.config.sft_examples_per_step] if "sft" in RECIPES[self.config.recipe] else []
        return gcd(*sizes.values(), *of_sft)


def write(found: RunBundle, pictures: Pictures, folder: Path, report: Report = lambda progress: None) -> str:
    """Write a bundle, whole or not at all; the sha256 of its manifest.

    Args:
        pictures: Where the frames are kept in the size that the model is shown; missing ones are decoded.
        folder: Must not exist, or be empty.

    Raises:
        FolderTaken: The folder holds something.
        FrameTimesChanged: A video is not what was scanned.
        NoSpace: The disk is full; nothing is left there.
    """
    with bundle(folder, replace_export=False) as partial:
        _copy_pictures(found, pictures, partial, report)
        write_file(partial / PAIRS, _lines(_pair_row(pair) for pair in found.pairs.values()))
        write_file(partial / EXAMPLES, _lines(_example_row(example) for example in found.examples))
        write_file(partial / PLAN, json_line(_plan_json(found)).encode())
        write_file(partial / CONFIG, json.dumps(asdict(found.config), indent=1).encode())
        write_file(partial / README, _readme(found).encode())
        return seals.seal(partial, FORM, asdict(found.origin))


def read(folder: Path) -> RunBundle:
    """A bundle whose hashes were checked (`seals.check`).

    Raises:
        BundleRefused: Its files do not hold what a bundle holds, or another plan than it says.
    """
    try:
        origin = Origin(**seals.about(folder, FORM))
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        found = RunBundle(
            origin=origin,
            config=_config(json.loads((folder / CONFIG).read_text(encoding="utf-8"))),
            pairs={pair.pair_id: pair for pair in map(_pair, _rows(folder / PAIRS))},
            examples=tuple(map(_example, _rows(folder / EXAMPLES))),
            planned=tuple(PlannedPair(*place) for place in plan["planned"]),
            stages=tuple(Stage(s["name"], tuple(s["levels"]), s["epochs"]) for s in plan["stages"]),
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise BundleRefused(f"{folder} cannot be read as a {FORM} ({error}). Use the commit it was made by.") from None
    check(found.config)
    if plan_sha256(found.planned, found.stages) != origin.plan_sha256:
        raise BundleRefused(f"The order of training in {folder} is not the stored one of run {origin.run_id}.")
    return found


# ---- pictures ---------------------------------------------------------------------------------------------------
def _copy_pictures(found: RunBundle, pictures: Pictures, folder: Path, report: Report) -> None:
    shown = _shown(found)
    for n, ((_, times_sha256), (video, numbers)) in enumerate(shown.items(), 1):
        pictures.copy(folder, video, times_sha256, sorted(numbers))
        if n % TOLD_EVERY == 0 or n == len(shown):
            report(Progress(n, len(shown) + 1, f"pictures of {n} of {len(shown)} videos"))


def _shown(found: RunBundle) -> dict[tuple[str, str], tuple[Video, set[int]]]:
    """The frames of each video that a row of the run shows."""
    shown: dict[tuple[str, str], tuple[Video, set[int]]] = {}
    rows: list[PreferencePair | Example] = [*found.pairs.values(), *found.examples]
    for row in rows:
        _, numbers = shown.setdefault((row.video.sha256, row.times_sha256), (row.video, set()))
        numbers.update(number for clip in row.clip_key_frames for number in clip)
    return shown


# ---- rows -------------------------------------------------------------------------------------------------------
def _pair_row(pair: PreferencePair) -> JsonDict:
    return {**asdict(pair), "video": _video_row(pair.video)}


def _example_row(example: Example) -> JsonDict:
    return {**asdict(example), "video": _video_row(example.video)}


def _video_row(video: Video) -> JsonDict:
    # The folders of the machine that the video lies on are nobody else's business.
    return {**asdict(video), "path": video.path.name, "fps": str(video.fps)}


def _pair(row: JsonDict) -> PreferencePair:
    return PreferencePair(**{**row, "video": _video(row["video"]), "clip_key_frames": _clips(row)})


def _example(row: JsonDict) -> Example:
    return Example(**{**row, "video": _video(row["video"]), "clip_key_frames": _clips(row)})


def _video(row: JsonDict) -> Video:
    return Video(**{**row, "path": Path(row["path"]), "fps": Fraction(row["fps"])})


def _clips(row: JsonDict) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(clip) for clip in row["clip_key_frames"])


def _config(values: JsonDict) -> RunConfig:
    unknown = sorted(set(values) - {field.name for field in fields(RunConfig)})
    if unknown:
        raise ValueError(f"setting {unknown[0]!r} is not known here")
    return RunConfig(**values)


def _plan_json(found: RunBundle) -> JsonDict:
    stages = [{"name": s.name, "levels": list(s.levels), "epochs": s.epochs} for s in found.stages]
    return {"stages": stages, "planned": [list(_place(place)) for place in found.planned]}


def _place(p: PlannedPair) -> tuple[Any, ...]:
    return p.ordinal, p.step, p.stage, p.pair_id, p.level, p.difficulty


def _lines(rows: Iterable[JsonDict]) -> bytes:
    return "".join(json_line(row) + "\n" for row in rows).encode()


def _rows(path: Path) -> Iterator[JsonDict]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)


# ---- for people -------------------------------------------------------------------------------------------------
def _readme(found: RunBundle) -> str:
    o, most = found.origin, found.most_processes
    may_be = ", ".join(str(n) for n in range(1, most + 1) if most % n == 0)
    libraries = ", ".join(f"{name} {version}" for name, version in o.libraries.items())
    n_steps = len({place.step for place in found.planned})
    return f"""# Run {o.run_id}: {markdown_text(o.name)}, to be trained elsewhere

Recipe `{found.config.recipe}`, order `{found.config.pacing}`, seed {found.config.seed}: {len(found.pairs)} pairs in
{n_steps} steps, {len(found.examples)} SFT examples.
No video is needed; `pictures/` holds the frames that the model is shown.

On a machine with a checkout of TEMPO Studio (this bundle was made by `{markdown_text(o.code_version)}`) and its
packages, in the folder of the checkout:

    torchrun --nproc-per-node=1 -m tempo_core.training.bundled FOLDER --model MODEL

- FOLDER is this folder. MODEL is a folder with {markdown_text(o.base)}, whose files have the fingerprint
  `{o.base_sha256}`; another model is refused.
- One process a GPU. Each step must be shared equally, so the number may be {may_be}.
- The hashes of all files are checked first. After a kill or Ctrl-C the same command, with the same number of
  processes, goes on from the last checkpoint. Without torchrun: `python -m tempo_core.training.bundled ...`.
- When it is done, `result/` holds the adapters and curves. Bring it back, or this whole folder, to the studio:

    python -m jobs bring-back FOLDER

The studio had {libraries}.
Other versions or another kind of machine train the same pairs in the same order, but not to the same bits.
"""
