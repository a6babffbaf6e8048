"""Train a run from its bundle, where there is no studio: `python -m tempo_core.training.bundled FOLDER --model MODEL`.

The one thing to know: it is the same `recipe.train` as in the studio. Every hash is checked before a model is loaded,
the same command goes on after a kill, and `FOLDER/result` appears whole, last of all. Several GPUs: start it with
`torchrun --nproc-per-node=N -m`.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch

from tempo_core.errors import BundleRefused, Cancelled, TempoError
from tempo_core.exchange import run_bundle, run_result, seals
from tempo_core.exchange.base import bundle, sync_all
from tempo_core.exchange.run_bundle import RESULT, WORK, Origin
from tempo_core.exchange.run_result import CHAIN, FILES, Trained
from tempo_core.pictures import Pictures
from tempo_core.training import ranks, recipe
from tempo_core.training.kept import Kept
from tempo_core.training.report import Events, Mute
from tempo_core.video_llms import checkpoints

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 3
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate")


def main(argv: Sequence[str] | None = None) -> int:
    """Train to the end, or to the checkpoint at which a signal stopped it; the exit code."""
    args = _parser().parse_args(argv)
    stop = threading.Event()
    try:
        with _stopped_by_signals(stop):
            train(Path(args.folder), Path(args.model).expanduser(), stop.is_set, save_memory=args.save_memory)
        return DONE
    except Cancelled as error:
        print(error, flush=True)
        return STOPPED
    except TempoError as error:
        print(error, file=sys.stderr, flush=True)
        return BAD_INPUT
    except torch.OutOfMemoryError as error:
        print(f"Out of memory: {error}. Give the same command with --save-memory; it goes on.", file=sys.stderr)
        return FAILED


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask for a checkpoint first. Every rank hears them; rank 0 alone is asked."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def train(folder: Path, model: Path, should_stop: Callable[[], bool], *, save_memory: bool = False) -> Path:
    """Train the bundle in `folder` and return where its result lies.

    Raises:
        BundleRefused: A file was changed or is missing, or the model is another one.
        Cancelled: `should_stop()`; a checkpoint is kept.
    """
    ranks.begin()
    ranks.first(lambda: seals.check(folder, run_bundle.FORM))
    found, result, work = run_bundle.read(folder), folder / RESULT, folder / WORK
    if result.is_dir():
        print(f"This run is trained; its result is in {result}.", flush=True)
        return result
    _check_model(found.origin, model)
    events: Events = Mute() if ranks.rank() else Kept(work, should_stop)
    trained = recipe.train(
        base=model,
        pairs=found.pairs,
        plan=found,
        examples=found.examples,
        config=found.config,
        folder=work,
        pictures=Pictures(folder, found.origin.long_side).get,
        events=events,
        save_memory=save_memory,
    )
    ranks.first(lambda: _seal(work, result, [link.path for link in trained.chain], found.origin))
    return result


def _check_model(origin: Origin, model: Path) -> None:
    files_sha256 = checkpoints.inspect(model).files_sha256
    if files_sha256 != origin.base_sha256:
        raise BundleRefused(
            f"{model} is not the model of this run: its files have the fingerprint {files_sha256[:12]}, those of "
            f"{origin.base} have {origin.base_sha256[:12]}. Give the same revision, with all of its files."
        )


def _seal(work: Path, result: Path, links: Sequence[Path], origin: Origin) -> None:
    trained = Trained(
        run_id=origin.run_id,
        run_sha256=origin.run_sha256,
        plan_sha256=origin.plan_sha256,
        base_sha256=origin.base_sha256,
        n_processes=ranks.size(),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        libraries={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    )
    with bundle(result, replace_export=False) as partial:
        for link in links:
            shutil.copytree(link, partial / CHAIN / link.name)
        for name in FILES:
            if (work / name).is_file():
                shutil.copyfile(work / name, partial / name)
        run_result.seal(partial, trained)
        sync_all(partial)
    print(f"Done. Bring it back to the studio: python -m jobs bring-back {result.parent}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tempo_core.training.bundled", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", help="the bundle")
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the base model, the very same files")
    what = "take less memory for the same steps, after an attempt that ran out of it"
    parser.add_argument("--save-memory", action="store_true", help=what)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
