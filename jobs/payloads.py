"""What each kind of job is told: one frozen dataclass per kind, stored as JSON and checked when it is read back.

The database is data, never code: no pickle, no class names, no shell. A payload that does not fit its dataclass is
refused before a task sees it.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tempo_core.errors import ServerRefused, TempoError
from tempo_core.servers import AT_ONCE, FramesAs, Server, checked_url
from tempo_core.types import Input, JsonDict, Law, Sampling

EMBEDDED_TOKENS = 96
"""Sixteen events take 50 words of the embedded model; what goes on longer than this is a loop."""

Needs = Literal["gpu", "cpu"]
"""Which slot a job takes. "gpu" is the one place where a model runs, also on a machine without a GPU."""


class BadPayload(TempoError):
    """What a job was told is not what its kind needs."""


@dataclass(frozen=True, slots=True)
class DrawPayload:
    """Draw videos of the embedded world into `media/`."""

    n_videos: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least("n_videos", self.n_videos, 0)


@dataclass(frozen=True, slots=True)
class ScanPayload:
    """Scan a folder. `richness` overrides thresholds of `tempo_core.timeline.Richness` by field name."""

    folder: str
    library: str | None = None
    """The library's name; the folder's own when not given."""
    richness: dict[str, float] = field(default_factory=dict)
    processes: int = 0
    """0 = one a core."""

    def __post_init__(self) -> None:
        _at_least("processes", self.processes, 0)


@dataclass(frozen=True, slots=True)
class JudgePayload:
    """Judge scanned videos again from what was measured. `richness` as in `ScanPayload`."""

    richness: dict[str, float] = field(default_factory=dict)
    video_ids: tuple[int, ...] = ()
    """Only these; every scanned video when empty."""


@dataclass(frozen=True, slots=True)
class RelinkPayload:
    """Find the files of a folder that moved, by their bytes."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class CopiesPayload:
    """Look for the same footage in several files."""

    likeness: float = 0.8
    """Share of the shorter video that must be found in the other, 0..1."""


@dataclass(frozen=True, slots=True)
class PairPayload:
    """Ask a model on clean and on perturbed input and keep the pairs."""

    model: str = ""
    """Path of the model's folder; empty where a server answers."""
    input: Input = "captions"
    kinds: tuple[str, ...] = ("drop", "shuffle", "reverse")
    magnitudes: tuple[int, ...] = (2, 4, 8, 16)
    law: Law = "tempo"
    seed: int = 0
    limit_videos: int | None = None
    video_ids: tuple[int, ...] = ()
    """Only these videos; all kept ones when empty."""
    temperature: float = 0.7
    top_p: float = 1.0
    repetition_penalty: float = 1.05
    max_new_tokens: int = 512
    positions: str | None = None
    """Where text after a video starts; None = the family's own."""
    phrasings: tuple[str, ...] = ()
    """Ways to ask for the whole video; when empty those of the settings, else the model's own."""
    server: str | None = None
    """Address of the OpenAI-compatible server that answers instead of a folder. Never with a secret in it."""
    served_model: str = ""
    """The model's name at that server."""
    frames_as: FramesAs = "video"
    """How frames travel to the server."""
    at_once: int = AT_ONCE
    """Questions in the server's hands at the same time."""
    captions_from: int | None = None
    """The set of captions that came with the videos; they are used instead of asking for captions."""

    def __post_init__(self) -> None:
        _at_least("max_new_tokens", self.max_new_tokens, 1)
        _at_least("at_once", self.at_once, 1)
        if bool(self.model) == bool(self.server):
            raise BadPayload("Pairs need either a model's folder or a server that answers, and not both.")
        if bool(self.server) != bool(self.served_model.strip()):
            raise BadPayload("A server and the name of the model there belong together: give both or neither.")
        if self.server is not None and _spelled(self.server) != self.server:
            raise BadPayload(f"The server's address is {self.server!r}; write it as {_spelled(self.server)}.")
        if self.captions_from is not None and self.input != "captions":
            raise BadPayload(f"Captions of a data set serve the input captions, and the input is {self.input}.")
        for magnitude in self.magnitudes:
            _at_least("magnitude", magnitude, 2)
        if not self.kinds or not self.magnitudes:
            raise BadPayload("Pairs need at least one kind and one magnitude, such as drop and 2.")

    @property
    def answers_at(self) -> Server | None:
        """The server that answers, if one does."""
        if self.server is None:
            return None
        return Server(self.server, self.served_model, self.frames_as, self.at_once)

    @property
    def sampling(self) -> Sampling:
        return Sampling(
            input=self.input,
            temperature=self.temperature,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
            max_new_tokens=self.max_new_tokens,
            positions=self.positions or "hf",
        )


@dataclass(frozen=True, slots=True)
class TrainPayload:
    """Train the run whose row holds everything else; the same job resumes it."""

    run_id: int
    ranks: int = 1
    """Processes that train together, one a GPU; torchrun starts them."""

    def __post_init__(self) -> None:
        _at_least("ranks", self.ranks, 1)


@dataclass(frozen=True, slots=True)
class EstimatePayload:
    """What a run with these settings would take; no run is made."""

    config: dict[str, Any]
    model: str
    version_id: int | None = None
    sft_set_id: int | None = None
    skip_small: bool = False
    smaller_step: bool = False
    ranks: int = 1

    def __post_init__(self) -> None:
        _at_least("ranks", self.ranks, 1)


@dataclass(frozen=True, slots=True)
class EvaluatePayload:
    """Score a run's model, or a model folder, on benchmarks."""

    run_id: int | None = None
    model: str | None = None
    version_id: int | None = None
    """The dataset version whose held-out videos are asked about; None = the run's own, or the newest."""
    benchmarks: tuple[str, ...] = ()
    """All that fit the model when empty."""
    limit: int | None = None
    """At most this many questions of each benchmark."""
    seed: int = 0
    data: str | None = None
    """The folder of the benchmarks that ask about files: their annotations and videos."""
    pictures: int = 16
    """Pictures of a video of that folder that the model is shown."""
    allow_contaminated: bool = False
    """Score a run also on videos that it was trained on."""
    every_stage: bool = False
    """Measure a run also between the stages of a phase."""
    engine: Literal["tempo", "lmms-eval"] = "tempo"
    tasks: tuple[str, ...] = ()
    """Of lmms-eval, by its names."""
    results: str | None = None
    """A folder of results that lmms-eval wrote elsewhere; nothing is run."""

    def __post_init__(self) -> None:
        _at_least("pictures", self.pictures, 1)
        self._check_engine()
        if self.limit is not None:
            _at_least("limit", self.limit, 1)
        if (self.run_id is None) == (self.model is None):
            raise BadPayload("An evaluation needs either a run or a model folder, and not both.")

    def _check_engine(self) -> None:
        if self.engine == "tempo":
            if self.tasks or self.results is not None:
                raise BadPayload("Tasks and imported results are lmms-eval's: add --engine lmms-eval.")
            return
        if self.benchmarks or self.data is not None:
            raise BadPayload("lmms-eval brings benchmarks and videos of its own: name its tasks instead, --tasks A,B")
        if self.results is None and not self.tasks:
            raise BadPayload("lmms-eval needs its tasks: --tasks mvbench,videomme (lmms_eval --tasks list names all).")
        for task in self.tasks:
            if not re.fullmatch(r"\w[\w.-]*", task, re.ASCII):
                raise BadPayload(f"{task!r} is no name of a task: letters, digits and _ . - only.")


@dataclass(frozen=True, slots=True)
class AskPayload:
    """Answer questions that come while the job runs, with these checkpoints: base-1 or 3-dpo, as `Checkpoint.key`."""

    checkpoints: tuple[str, ...]

    def __post_init__(self) -> None:
        form = r"base-\d{1,9}|\d{1,9}-[a-z0-9_+/]+"
        if not self.checkpoints or not all(re.fullmatch(form, key) for key in self.checkpoints):
            raise BadPayload(f"checkpoints are {self.checkpoints!r}; name them like base-1 or 3-dpo.")


@dataclass(frozen=True, slots=True)
class ExportPayload:
    """Write a frozen dataset version in one format."""

    version_id: int
    format: str = "ms_swift"
    folder: str | None = None
    """Where to; a folder of `exports/` when not given."""
    licence: str = "other"
    """Of the data set, as its card names it."""
    videos_from: str = ""
    """Where the videos come from and under which licence, in the publisher's words."""


@dataclass(frozen=True, slots=True)
class ImportPayload:
    """Take pairs of another tool, or of another studio, as proposals."""

    path: str
    """A file, or a folder with files of pairs."""
    format: str | None = None
    """A name of `tempo_core.exchange.READERS`; by its keys when not given."""
    videos: str | None = None
    """Where the file's video paths begin; names are looked up in the library when not given."""
    skip_missing: bool = False
    """Leave out pairs whose video is not in the library instead of refusing them all."""


@dataclass(frozen=True, slots=True)
class ExportModelPayload:
    """Write a run's model with its card: the chain of adapters, or one merged model."""

    run_id: int
    form: Literal["adapter", "merged"] = "adapter"
    folder: str | None = None
    """Where to; a new folder of `exports/` when not given."""
    max_shard_size: str = "5GB"
    """Of a merged model; larger weights are written in several files."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[1-9][0-9]{0,6}(KB|MB|GB)", self.max_shard_size):
            raise BadPayload(f"max_shard_size is {self.max_shard_size!r}; write it like 5GB or 500MB.")


@dataclass(frozen=True, slots=True)
class BundlePayload:
    """Write all that trains a waiting run elsewhere."""

    run_id: int
    folder: str | None = None
    """Where to; a new folder of `exports/` when not given."""


@dataclass(frozen=True, slots=True)
class BringBackPayload:
    """Take in what a bundle's training left."""

    folder: str
    """The bundle, or its `result/` alone."""


@dataclass(frozen=True, slots=True)
class PaperPayload:
    """Write figures, tables, settings and a methods section about runs."""

    run_ids: tuple[int, ...]
    folder: str | None = None
    """Where to; a new folder of `exports/` when not given."""

    def __post_init__(self) -> None:
        if not self.run_ids:
            raise BadPayload("A paper needs at least one run. Name finished runs by their numbers, such as 1,2.")


@dataclass(frozen=True, slots=True)
class SftPayload:
    """Import conversations about scanned videos as an SFT set."""

    file: str
    folder: str | None = None
    """Where the file's video paths begin; its own folder when not given."""
    name: str | None = None
    skip_missing: bool = False
    without_held_out: int | None = None
    """Leave out the videos that this dataset version holds out."""


@dataclass(frozen=True, slots=True)
class CaptionsPayload:
    """Read in captions that came with scanned videos."""

    file: str
    folder: str | None = None
    """Where the file's video names begin; its own folder when not given."""
    name: str | None = None
    skip_missing: bool = False


@dataclass(frozen=True, slots=True)
class CheckPayload:
    """Read every row and compare; `deep` also hashes every file we wrote."""

    deep: bool = False


@dataclass(frozen=True, slots=True)
class SleepPayload:
    """A job that only counts, with checkpoints and a grandchild: what the chaos tests kill. Not offered to users."""

    steps: int = 40
    step_s: float = 0.05
    checkpoint_every: int = 5
    needs: Needs = "gpu"
    fail_at: int | None = None
    """Raise at this step, to see how a fault is reported."""
    label: str = ""
    """Two sleeps with another label are two jobs."""
    ranks: int = 1
    """Processes that count together, started by torchrun; the first one alone writes."""
    run_id: int | None = None
    """Record a value a step as a curve of this run, as training does."""


Payload = (
    DrawPayload
    | ScanPayload
    | JudgePayload
    | RelinkPayload
    | CopiesPayload
    | PairPayload
    | TrainPayload
    | EstimatePayload
    | EvaluatePayload
    | AskPayload
    | ExportPayload
    | ImportPayload
    | ExportModelPayload
    | BundlePayload
    | BringBackPayload
    | PaperPayload
    | SftPayload
    | CaptionsPayload
    | CheckPayload
    | SleepPayload
)

KINDS: dict[str, type[Payload]] = {
    "draw": DrawPayload,
    "scan": ScanPayload,
    "judge": JudgePayload,
    "relink": RelinkPayload,
    "copies": CopiesPayload,
    "pair": PairPayload,
    "train": TrainPayload,
    "estimate": EstimatePayload,
    "evaluate": EvaluatePayload,
    "ask": AskPayload,
    "export": ExportPayload,
    "import": ImportPayload,
    "export_model": ExportModelPayload,
    "bundle": BundlePayload,
    "bring_back": BringBackPayload,
    "paper": PaperPayload,
    "sft": SftPayload,
    "captions": CaptionsPayload,
    "check": CheckPayload,
    "sleep": SleepPayload,
}

_ON_THE_MODEL_SLOT = ("pair", "train", "estimate", "evaluate", "ask")


def kind_of(payload: Payload) -> str:
    """The kind of job this payload is for."""
    return next(kind for kind, payload_type in KINDS.items() if payload_type is type(payload))


def needs_of(payload: Payload) -> Needs:
    """The slot this payload's job takes."""
    if isinstance(payload, SleepPayload):
        return payload.needs
    if isinstance(payload, PairPayload) and payload.server:
        return "cpu"  # the model runs elsewhere
    return "gpu" if kind_of(payload) in _ON_THE_MODEL_SLOT else "cpu"


def as_json(payload: Payload) -> JsonDict:
    """The payload as JSON values; `parse` reads it back."""
    return _plain(asdict(payload))  # type: ignore[no-any-return]


def parse(kind: str, values: Mapping[str, Any]) -> Payload:
    """Read a stored payload.

    Raises:
        BadPayload: For an unknown kind, an unknown or missing field, or a value of another type.
    """
    if kind not in KINDS:
        raise BadPayload(f"No job is of kind {kind!r}; there are {', '.join(KINDS)}.")
    payload_type = KINDS[kind]
    hints = get_type_hints(payload_type)
    unknown = sorted(set(values) - {entry.name for entry in fields(payload_type)})
    if unknown:
        raise BadPayload(f"A {kind} job has no field {unknown[0]!r}; it has {', '.join(hints)}.")
    try:
        return payload_type(**{name: _checked(f"{kind}.{name}", value, hints[name]) for name, value in values.items()})
    except TypeError as error:
        raise BadPayload(f"A {kind} job is not complete: {error}.") from None


def _checked(name: str, value: Any, hint: Any) -> Any:
    """`value` as the type `hint` says; JSON lists become tuples and whole numbers become floats where one is due."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _checked(name, value, next(part for part in arguments if part is not type(None)))
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_checked(name, part, arguments[0]) for part in value)
    if origin is dict and isinstance(value, Mapping):
        return {_checked(name, key, str): _checked(name, part, arguments[1]) for key, part in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Any:
        return value
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise BadPayload(f"{name} must be {_words(hint)}, not {value!r}.")


def _words(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value


def _spelled(url: str) -> str:
    try:
        return checked_url(url)
    except ServerRefused as error:
        raise BadPayload(str(error)) from None


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise BadPayload(f"{name} is {value}; it must be at least {least}.")
