"""What each command does. A command that is a job queues it, starts the worker if none lives, and waits.

Exit codes: 0 done, 1 the job failed, 2 bad usage or bad input (the sentence is on stderr), 3 cancelled, 130 Ctrl-C,
which cancels the job that is waited for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import uuid
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db import bulk, caption_sets, datasets, jobs, migrate, pairs, people, places, recounts, runs, settings, sft_sets
from db.jobs import Job
from db.pair_filters import PairFilter
from db.session import Database
from jobs import caption_files, conversations, launch, pair_imports, payloads, starting
from jobs.follow import Studio, follow, words
from jobs.payloads import Payload
from jobs.tasks import in_files, lmms_eval
from tempo_core import folders, servers, video_llms
from tempo_core.errors import TempoError, TooFew
from tempo_core.exchange import run_result
from tempo_core.recipes import PRESETS, RECIPES, RunConfig
from tempo_core.settings import EMBEDDED_MODEL, Home
from tempo_core.timeline import Richness
from tempo_core.video_llms import checkpoints

if TYPE_CHECKING:
    from tempo_core.benchmarks.in_files import Opened

DONE, FAILED, BAD_INPUT, CANCELLED = 0, 1, 2, 3

FIRST_VIDEOS = 40
"""As many of the drawn videos as fill a review queue within two minutes on two cores."""


def open_studio() -> Studio:
    """The home folder with its database, made or brought up to date."""
    home = Home.from_environment().make()
    migrate.upgrade(home)
    database = Database.of(home)
    with database.reading() as session:
        return Studio(home, database, people.local(session))


# -- jobs -----------------------------------------------------------------------------------------------------------


def draw(args: Namespace) -> int:
    return _do(args, payloads.DrawPayload(args.videos, seed=args.seed))


def scan(args: Namespace) -> int:
    thresholds = {name: float(value) for name, value in changed(Richness(), args.set).items()}
    folder = folders.worth_scanning(args.folder)
    return _do(args, payloads.ScanPayload(str(folder), args.library, thresholds, args.processes))


def judge(args: Namespace) -> int:
    thresholds = {name: float(value) for name, value in changed(Richness(), args.set).items()}
    if not args.dry_run:
        return _do(args, payloads.JudgePayload(thresholds, tuple(args.videos)))
    asked = dataclasses.replace(Richness(), **changed(Richness(), args.set))
    with open_studio().database.reading() as session:
        would = recounts.of_thresholds(session, asked, args.videos or None)
    not_known = f", {would.n_unknown} not known before they are judged" if would.n_unknown else ""
    print(
        f"{would.n_kept} videos would be kept: {len(would.coming)} come, {len(would.leaving)} leave"
        f"{not_known}. {would.n_leaving_with_pairs} of those that leave have {would.n_pairs} pairs, which stay."
    )
    return DONE


def relink(args: Namespace) -> int:
    old, new = Path(args.old).expanduser().absolute(), Path(args.new).expanduser()
    if not new.is_dir():
        what = "is a file" if new.exists() else "does not exist"
        raise TempoError(f"{new} {what}. Name the folder into which the videos were moved.")
    studio = open_studio()
    with studio.database.reading() as session:
        # What can be known at once must not wait for a worker.
        places.lost(session, old)
    payload = payloads.RelinkPayload(str(old), str(new.resolve()))
    return _wait(studio, args, launch.enqueue(studio.database, payload, studio.person))


def copies(args: Namespace) -> int:
    return _do(args, payloads.CopiesPayload(args.likeness))


def pair(args: Namespace) -> int:
    folder = args.model or (None if args.server else EMBEDDED_MODEL)
    payload = payloads.PairPayload(
        model="" if folder is None else str(Path(folder).expanduser().resolve()),
        server=None if args.server is None else servers.checked_url(args.server),
        served_model=args.served_model,
        frames_as=args.frames_as,
        captions_from=args.captions_from,
        input=args.input,
        kinds=args.kinds,
        magnitudes=args.magnitudes,
        law=args.law,
        seed=args.seed,
        limit_videos=args.limit,
        video_ids=args.videos,
        phrasings=settings.checked_phrasings(args.phrasing),
    )
    said = changed(payload, args.set)
    payload = dataclasses.replace(payload, **said)
    # What can be known at once must not wait for a worker.
    if payload.answers_at is None:
        found = checkpoints.inspect(payload.model)
        checkpoints.check_input(found, payload.input)
        if found.embedded and "max_new_tokens" not in said:
            payload = dataclasses.replace(payload, max_new_tokens=payloads.EMBEDDED_TOKENS)
    else:
        video_llms.connect(payload.answers_at).check()
        if not servers.on_this_machine(payload.answers_at.url):
            print(f"Frames and texts of the videos are sent to {payload.answers_at.url}.", flush=True)
    if payload.captions_from is not None:
        with open_studio().database.reading() as session:
            caption_sets.get(session, payload.captions_from)
    return _do(args, payload)


def train(args: Namespace) -> int:
    studio = open_studio()
    if args.resume is not None:
        return _wait(studio, args, launch.resume_run(studio.database, studio.person, args.resume))
    config = config_of(args)
    what = (studio.database, studio.person, config, Path(args.model))
    how: dict[str, Any] = {name: getattr(args, name) for name in ("skip_small", "smaller_step", "ranks")}
    how |= {"version_id": args.version or _newest_version(studio, config), "sft_set_id": args.sft_set}
    if args.estimate:
        return _wait(studio, args, starting.estimate_run(*what, **how))
    run_id = starting.start_run(*what, **how, name=args.name, elsewhere=args.elsewhere)
    print(f"run {run_id}", flush=True)
    if args.elsewhere:
        return DONE
    with studio.database.reading() as session:
        job_id = runs.get(session, run_id).job_id
    return _wait(studio, args, job_id or 0)


def evaluate(args: Namespace) -> int:
    model = None if args.model is None else str(checkpoints.inspect(args.model).path)
    payload = payloads.EvaluatePayload(
        args.run,
        model,
        benchmarks=args.benchmarks,
        limit=args.limit,
        seed=args.seed,
        data=None if args.data is None else str(Path(args.data).expanduser().resolve()),
        pictures=args.pictures,
        allow_contaminated=args.allow_contaminated,
        every_stage=args.every_stage,
        engine="lmms-eval" if args.results is not None else args.engine,
        tasks=args.tasks,
        results=None if args.results is None else str(Path(args.results).expanduser().resolve()),
    )
    # What can be known at once must not wait for a worker: a folder without its files, a bad line in one of them.
    lmms_eval.checked(payload)
    opened = in_files.opened(payload)
    for found in opened:
        print(found.told(), flush=True)
    if opened and args.run is not None:
        _refuse_trained(opened, args)
    return _do(args, payload)


def _refuse_trained(opened: Sequence[Opened], args: Namespace) -> None:
    """A run is not asked about what it was trained on; that is known before a job waits."""
    database = open_studio().database
    with database.reading() as session:
        version_id = runs.get(session, args.run).dataset_version_id
    for found in opened:
        in_files.trained_on(database, found, version_id, allowed=args.allow_contaminated)


def export(args: Namespace) -> int:
    folder = None if args.to is None else str(Path(args.to).expanduser().resolve())
    return _do(args, payloads.ExportPayload(args.version, args.format, folder, args.licence, args.videos_from))


def import_pairs(args: Namespace) -> int:
    place = Path(args.place).expanduser().resolve()
    folder = None if args.videos is None else Path(args.videos).expanduser().resolve()
    if args.dry_run:
        return pair_imports.show_what_would_come(open_studio().database, place, args.format, folder)
    # What can be known at once must not wait for a worker.
    pair_imports.check(place, args.format)
    videos = None if folder is None else str(folder)
    return _do(args, payloads.ImportPayload(str(place), args.format, videos, args.skip_missing))


def export_model(args: Namespace) -> int:
    folder = None if args.out is None else str(Path(args.out).expanduser().resolve())
    payload = payloads.ExportModelPayload(args.run, args.form, folder, args.max_shard_size)
    with open_studio().database.reading() as session:
        # What can be known at once must not wait for a worker.
        runs.get(session, args.run)
    return _do(args, payload)


def bundle(args: Namespace) -> int:
    folder = None if args.out is None else str(Path(args.out).expanduser().resolve())
    studio = open_studio()
    return _wait(studio, args, launch.bundle_run(studio.database, studio.person, args.run, folder))


def bring_back(args: Namespace) -> int:
    folder = Path(args.folder).expanduser().resolve()
    # What can be known at once must not wait for a worker.
    run_result.read(folder)
    return _do(args, payloads.BringBackPayload(str(folder)))


def paper(args: Namespace) -> int:
    folder = None if args.out is None else str(Path(args.out).expanduser().resolve())
    return _do(args, payloads.PaperPayload(args.runs, folder))


def setup(args: Namespace) -> int:
    """The database, the drawn world, and a first review queue. What is there already is not made again.

    The queue is filled from the first videos; the rest are drawn and scanned while the studio is already open.
    """
    studio = open_studio()
    first: list[Payload] = [
        payloads.DrawPayload(min(args.videos, FIRST_VIDEOS)),
        payloads.PairPayload(str(EMBEDDED_MODEL), max_new_tokens=payloads.EMBEDDED_TOKENS),
    ]
    for payload in first:
        job = _followed(studio, launch.enqueue(studio.database, payload, studio.person), log=False)
        if job.state != "succeeded":
            return _exit_code(job)
    if args.videos > FIRST_VIDEOS:
        launch.enqueue(studio.database, payloads.DrawPayload(args.videos), studio.person)
    return DONE


# -- at once ----------------------------------------------------------------------------------------------------


def accept(args: Namespace) -> int:
    studio, wanted = open_studio(), filter_of(args)
    if args.dry_run:
        with studio.database.reading() as session:
            print(f"{pairs.count(session, wanted.with_status(wanted.status or 'pending'))} pairs would be accepted")
        return DONE
    with studio.database.session() as session:
        done = bulk.decide(session, studio.person, wanted, "accepted", note=args.note, token=uuid.uuid4().hex)
    print(f"{done.n} pairs accepted" if done.n else "0 pairs accepted: none is pending in this filter")
    return DONE


def sft(args: Namespace) -> int:
    studio = open_studio()
    done = conversations.import_file(
        studio.database,
        studio.person,
        Path(args.file).expanduser(),
        folder=None if args.videos is None else Path(args.videos).expanduser(),
        name=args.name,
        skip_missing=args.skip_missing,
        without_held_out=args.without_held_out,
    )
    for video, why in done.left_out.items():
        print(f"left out {video}: {why}")
    left_out = f", {len(done.left_out)} videos left out" if done.left_out else ""
    with studio.database.reading() as session:
        card = sft_sets.get(session, done.sft_set_id)
    print(
        f"SFT set {card.id}: {card.name} {card.number}, {done.n_examples} examples about {done.n_videos} videos"
        f"{left_out}, sha256 {card.content_sha256}"
    )
    return DONE


def captions(args: Namespace) -> int:
    studio = open_studio()
    done = caption_files.read_in(
        studio.database,
        studio.home,
        Path(args.file).expanduser(),
        folder=None if args.videos is None else Path(args.videos).expanduser(),
        name=args.name,
        skip_missing=args.skip_missing,
    )
    for line in done.told():
        print(line)
    print(f"use them with: python -m jobs pair --captions-from {done.set_id}")
    return DONE


def show_jobs(args: Namespace) -> int:
    studio = open_studio()
    with studio.database.reading() as session:
        shown = [jobs.get(session, args.id)] if args.id else list(jobs.latest(session, args.n))
    for job in reversed(shown):
        at = datetime.fromtimestamp(job.created_ms / 1000).strftime("%m-%d %H:%M")
        print(f"{job.id:5}  {at}  {job.kind:8}  {job.state:9}  {job.progress:4.0%}  {job.error or words(job)}")
    if args.id:
        print(launch.log_tail(studio.home, args.id, shown[0].attempt), end="")
    elif not shown:
        print("no jobs yet")
    return DONE


def cancel(args: Namespace) -> int:
    studio = open_studio()
    launch.cancel(studio.database, studio.person, args.id)
    with studio.database.reading() as session:
        job = jobs.get(session, args.id)
    saves = "; it saves first" if job.state == "running" else ""
    print(f"job {job.id} is {job.state}{saves}")
    return DONE


# -------------------------------------------------------------------------------------------------------------------


def config_of(args: Namespace) -> RunConfig:
    """The preset that fits the model, with what the command line changes."""
    preset = args.preset or ("embedded" if checkpoints.inspect(args.model).embedded else "paper")
    given = {"recipe": args.recipe, "pacing": args.pacing, "seed": args.seed}
    named = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(PRESETS[preset], **named, **changed(PRESETS[preset], args.set))


def changed(default: Any, settings: list[str]) -> dict[str, Any]:
    """`name=value` settings as values of the fields they name, of the type of the field's default."""
    values = {entry.name: getattr(default, entry.name) for entry in dataclasses.fields(default)}
    known = {name: value for name, value in values.items() if isinstance(value, bool | int | float | str | None)}
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if name not in known or not equals:
            raise TempoError(f"--set {setting}: say name=value, where name is one of {', '.join(known)}.")
        found[name] = _read(name, value, known[name])
    return found


def _read(name: str, value: str, default: Any) -> Any:
    if isinstance(default, bool):
        if value not in ("true", "false"):
            raise TempoError(f"--set {name}={value}: say true or false.")
        return value == "true"
    if isinstance(default, str):
        return value
    try:
        if default is None:
            return _unset(value)
        return float(value) if isinstance(default, float) else int(value)
    except ValueError:
        raise TempoError(f"--set {name}={value}: {value!r} is no number.") from None


def _unset(value: str) -> int | float | str:
    """A setting that has no value yet tells no type: a number if it reads as one."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return value


def _newest_version(studio: Studio, config: RunConfig) -> int | None:
    """Also for SFT alone: the version says which videos are held out, and those must not be trained on."""
    with studio.database.reading() as session:
        versions = datasets.listing(session)
    if not versions and set(RECIPES[config.recipe]) == {"sft"}:
        return None
    if not versions:
        raise TooFew("No dataset version is frozen yet. Accept pairs, then: python -m jobs freeze")
    return versions[0].id


def filter_of(args: Namespace) -> PairFilter:
    names = ("kinds", "magnitudes", "levels", "difficulty", "search", "video_id", "model_id", "rule", "axis")
    given = {name: getattr(args, name) for name in (*names, "thresholds")}
    return PairFilter.from_query({name: value for name, value in given.items() if value is not None})


def _do(args: Namespace, payload: Payload) -> int:
    studio = open_studio()
    return _wait(studio, args, launch.enqueue(studio.database, payload, studio.person))


def _wait(studio: Studio, args: Namespace, job_id: int) -> int:
    if args.no_wait:
        launch.ensure_worker(studio.database, studio.home)
        print(f"job {job_id}", flush=True)
        return DONE
    return _exit_code(_followed(studio, job_id, log=not args.quiet))


def _followed(studio: Studio, job_id: int, *, log: bool) -> Job:
    try:
        job = follow(studio, job_id, log=log)
    except KeyboardInterrupt:
        launch.cancel(studio.database, studio.person, job_id)
        print(f"\nJob {job_id} was asked to stop; it saves first.", file=sys.stderr)
        raise
    if job.state == "succeeded":
        print(f"{job.kind} {job.id} done: {_told(job)}")
    else:
        print(f"{job.kind} {job.id} {job.state}: {job.error or 'before it began'}", file=sys.stderr)
    return job


def _told(job: Job) -> str:
    """The result of a job in words."""
    found = job.result or {}
    if job.kind != "estimate":
        return ", ".join(f"{name} {value}" for name, value in found.items())
    counts = f"{found['n_steps']} steps, {found['n_pairs']} pairs, {found['n_too_long']} left out as too long"
    return "\n".join([f"{found['text']} ({counts})", *found["warnings"]])


def _exit_code(job: Job) -> int:
    if job.state == "failed":
        return BAD_INPUT if job.error_class in ("bad_input", "untrusted") else FAILED
    return {"succeeded": DONE, "cancelled": CANCELLED}[job.state]
