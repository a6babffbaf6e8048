"""lmms-eval as a second engine, in an environment of its own: the command that asks it, and its results read back.

The one thing to know: its prompts and its scoring are its own, so its figures are near a leaderboard's and are never
subtracted from ours. What it says of single answers (`--log_samples`) becomes items, so that two models can be
compared answer by answer; where it says nothing that can be read, its own total stands alone and says so.

Layout (version 0.7): `OUTPUT/MODEL/<time>_results.json` and `<time>_samples_<task>.jsonl` beside it. A sample has
doc_id, target, filtered_resps, doc_hash, and under each metric's name a number or a record of its own.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tempo_core import statistics
from tempo_core.benchmarks import figures
from tempo_core.errors import BadSettings, TempoError, Unknown
from tempo_core.types import ItemScore, JsonDict, Score

VARIABLE = "TEMPO_LMMS_EVAL_PYTHON"
MODELS = {"qwen2_5_vl": "qwen2_5_vl", "qwen3_vl": "qwen3_vl"}
"""Our family and lmms-eval's model that loads the same folder."""
MAX_BYTES = 1 << 30
_VIDEO = ("videoID", "video_id", "video_name", "video", "vid")
"""How its tasks name the footage of a question."""
_RIGHT = ("score", "rating", "correct")
_VERSION = "import importlib.metadata as m; print(m.version('lmms_eval'))"


class BadResults(TempoError):
    """A folder that does not hold what lmms-eval writes."""


class _Rating(Exception):
    """A question's value is no 0 or 1 and no share."""


class _Unreadable(Exception):
    """A record of a metric that does not tell whether the answer is right."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """One task's figures, what they depend on beside the model, and what could not be read of it."""

    task: str
    scores: tuple[Score, ...]
    settings: JsonDict
    notes: tuple[str, ...]

    @property
    def benchmark(self) -> str:
        return benchmark_of(self.task)


def benchmark_of(task: str) -> str:
    """Under which name a task's figures are kept."""
    return f"lmms_eval/{task}"


# -- asking ---------------------------------------------------------------------------------------------------------


def python() -> Path:
    """The Python of the environment that holds lmms-eval.

    Raises:
        BadSettings: The variable is not set, or names no program.
    """
    named = os.environ.get(VARIABLE, "").strip()
    setup = (
        "lmms-eval needs other versions than the studio, so it has an environment of its own: python -m venv "
        "~/lmms-eval && ~/lmms-eval/bin/pip install lmms-eval qwen-vl-utils. Then set "
        f"{VARIABLE}=~/lmms-eval/bin/python where the studio is started. It downloads whole benchmarks. Or run it on "
        "another machine and bring its results: --import FOLDER"
    )
    if not named:
        raise BadSettings(f"{VARIABLE} is not set. {setup}")
    path = Path(named).expanduser()
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise BadSettings(f"{VARIABLE} is {named}, which is no program. {setup}")
    return path


def version(program: Path) -> str:
    """Of the lmms-eval in that environment.

    Raises:
        BadSettings: There is none.
    """
    done = subprocess.run([str(program), "-c", _VERSION], capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        last = done.stderr.strip().rpartition("\n")[2]
        raise BadSettings(f"{program} knows no lmms-eval ({last}). Install it: {program} -m pip install lmms-eval")
    return done.stdout.strip()


def command(
    program: Path, family: str, model: Path, tasks: Sequence[str], output: Path, limit: int | None
) -> list[str]:
    """The program and its arguments; no shell reads them.

    Raises:
        Unknown: lmms-eval has no model that loads a folder of this family.
        BadSettings: A path with a comma, which its arguments cannot hold.
    """
    if family not in MODELS:
        raise Unknown(
            f"No model of lmms-eval loads a folder of family {family}; it does for {', '.join(MODELS)}. Write the "
            "merged model (export-model --form merged), run lmms-eval as its documentation says, and bring the "
            "results: --import FOLDER"
        )
    if "," in str(model) or "," in str(output):
        raise BadSettings(f"lmms-eval cannot take a path with a comma: {model}. Move TEMPO_HOME, or the model.")
    asked = ["--model", MODELS[family], "--model_args", f"pretrained={model}", "--tasks", ",".join(tasks)]
    asked += ["--batch_size", "1", "--log_samples", "--output_path", str(output)]
    return [str(program), "-m", "lmms_eval", *asked, *(["--limit", str(limit)] if limit is not None else [])]


# -- reading --------------------------------------------------------------------------------------------------------


def read(folder: Path, seed: int = 0) -> list[TaskResult]:
    """Every task's newest results in a folder and below.

    Raises:
        BadResults: There are none, or a file is not in the form that lmms-eval writes.
    """
    if not folder.is_dir():
        raise BadResults(f"{folder} is no folder. Name the one that lmms-eval wrote to (--output_path).")
    files = sorted(folder.rglob("*_results.json"), key=lambda path: path.name)
    if not files:
        raise BadResults(f"{folder} holds no *_results.json, in it or below. Name the --output_path of lmms-eval.")
    # The names begin with the time, so later files replace what earlier ones say of the same task.
    found: dict[str, TaskResult] = {}
    for path in files:
        whole = _record(path, _text(path), 1)
        for task in _tasks(path, whole):
            found[task] = _task(path, whole, task, seed)
    if not found:
        raise BadResults(f"{files[-1].name} has results of no task. Look at the end of lmms-eval's log.")
    return list(found.values())


def _tasks(path: Path, whole: Mapping[str, Any]) -> list[str]:
    """Tasks with figures of their own; a group's figures are made of them."""
    results = whole.get("results")
    if not isinstance(results, Mapping):
        raise BadResults(f"{path.name}: it has no record 'results'. Copy the whole folder again.")
    return [str(task) for task, values in results.items() if isinstance(values, Mapping) and _metrics(values)]


def _metrics(values: Mapping[str, Any]) -> dict[str, Any]:
    """ "acc,none": 0.5 as acc: 0.5; standard errors and names are no metrics."""
    found = {}
    for key, value in values.items():
        name = str(key).partition(",")[0]
        if name != "alias" and "_stderr" not in name and isinstance(value, int | float | list):
            found[name] = value
    return found


def _task(path: Path, whole: Mapping[str, Any], task: str, seed: int) -> TaskResult:
    reported = _metrics(whole["results"][task])
    samples = _samples(path, task)
    scores, notes = list[Score](), list[str]()
    for metric, total in reported.items():
        try:
            items = _items(samples, metric)
        except _Rating:
            notes.append(f"{metric} rates its answers, beyond 1: that is no share of right ones, so it is left out")
            continue
        if items:
            scores.append(figures.scored(benchmark_of(task), metric, items, None, seed))
            notes.append(f"{metric} of {len(items)} answers; lmms-eval itself reports {total}")
        else:
            scores += _alone(whole, task, metric, total)
            notes.append(f"{metric}: single answers cannot be read, so there is no paired test; reported is {total}")
    return TaskResult(task, tuple(scores), _settings(whole, task), tuple(notes))


def _settings(whole: Mapping[str, Any], task: str) -> JsonDict:
    """Without where the model lay: that is the model, not how it was asked."""
    config = _inside(whole, "config")
    arguments = str(config.get("model_args") or "").split(",")
    asked = sorted(part.strip() for part in arguments if part.strip() and not part.strip().startswith("pretrained="))
    return {
        "engine": "lmms-eval",
        "engine_version": str(whole.get("lmms_eval_version") or whole.get("git_hash") or "unknown"),
        "task": task,
        "task_version": str(_inside(whole, "versions").get(task, "")),
        "task_sha": str(_inside(whole, "task_hashes").get(task, "")),
        "model_args": asked,
        "gen_kwargs": str(config.get("gen_kwargs") or ""),
        "limit": config.get("limit"),
    }


def _inside(whole: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """The record in a field; empty where there is none."""
    value = whole.get(field)
    return value if isinstance(value, Mapping) else {}


def _samples(path: Path, task: str) -> list[Mapping[str, Any]]:
    """What was said to each question; none where samples were not logged."""
    if "/" in task or "\0" in task:
        raise BadResults(f"{path.name}: {task!r} is no name of a task. Copy the whole folder again.")
    place = path.with_name(path.name.removesuffix("results.json") + f"samples_{task}.jsonl")
    if not place.is_file():
        return []
    lines = _text(place).split("\n")
    return [_record(place, line, n) for n, line in enumerate(lines, 1) if line.strip()]


def _items(samples: Sequence[Mapping[str, Any]], metric: str) -> tuple[ItemScore, ...]:
    """One item a question; empty where one of them cannot be read, since a part would be another figure."""
    found: dict[str, ItemScore] = {}
    for sample in samples:
        if metric not in sample:
            continue
        try:
            right = _right(sample[metric])
        except _Unreadable:
            return ()
        name = f"{sample.get('doc_id', len(found))!s:0>6}-{str(sample.get('doc_hash', ''))[:12]}"
        # With several filters a question comes once for each; the first is the task's own.
        found.setdefault(name, ItemScore(name, _footage(sample, metric) or name, right, _said(sample)))
    return tuple(found.values())


def _right(value: Any) -> float | None:
    """1 or 0, a share, None for an answer that lmms-eval could not read."""
    if isinstance(value, int | float) and math.isfinite(value):
        if value > 1:
            raise _Rating
        return None if value < 0 else float(value)
    if not isinstance(value, Mapping):
        raise _Unreadable
    predicted = value.get("pred_answer")
    if predicted == "":
        # lmms-eval leaves empty answers out of some totals; here they are wrong.
        return None
    for name in _RIGHT:
        if isinstance(value.get(name), int | float):
            return _right(value[name])
    truth = value.get("gt_answer", value.get("answer"))
    if predicted is None or truth is None:
        raise _Unreadable
    return float(predicted == truth)


def _footage(sample: Mapping[str, Any], metric: str) -> str | None:
    """Which video a question is about, where the task says so: its questions are resampled together."""
    for record in (sample[metric], sample.get("doc")):
        if isinstance(record, Mapping):
            for name in _VIDEO:
                if isinstance(record.get(name), str | int):
                    return str(record[name])
    return None


def _said(sample: Mapping[str, Any]) -> str:
    said = sample.get("filtered_resps", sample.get("resps", ""))
    while isinstance(said, list) and said:
        said = said[0]
    return said if isinstance(said, str) else ""


def _alone(whole: Mapping[str, Any], task: str, metric: str, total: Any) -> Iterator[Score]:
    """A total without its answers: a share with the interval of as many independent questions."""
    counted = _inside(_inside(whole, "n-samples"), task).get("effective")
    n = counted if isinstance(counted, int) and counted > 0 else 1
    values = total if isinstance(total, list) else [total]
    for k, value in enumerate(values):
        if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 100:
            continue
        # Most of its video tasks report percent.
        share = value / 100 if value > 1 else float(value)
        low, high = statistics.wilson(share * n, n)
        name = metric if len(values) == 1 else f"{metric}/{k + 1}"
        yield Score(benchmark_of(task), name, share, low, high, n, n, 0, None)


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise BadResults(f"{path.name} is larger than {MAX_BYTES >> 30} GiB: that is no result of lmms-eval.")
    try:
        return path.read_text("utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise BadResults(f"{path.name} cannot be read ({error}). Copy the whole folder again.") from None


def _record(path: Path, text: str, line: int) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise BadResults(f"{path.name}, line {line}: it is no JSON. Copy the whole folder again.") from None
    if not isinstance(value, Mapping):
        raise BadResults(f"{path.name}, line {line}: it must hold a record. Copy the whole folder again.")
    return value
