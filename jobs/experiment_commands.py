"""`python -m jobs experiment`: queue one, stop the rest of it, go on with it, or print its table."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from db import datasets, experiment_results, experiments
from db.experiments import Asked, Experiment
from jobs import experimenting, launch
from jobs.commands import DONE, changed, open_studio
from jobs.follow import Studio
from tempo_core import curves
from tempo_core.errors import TooFew, Unknown
from tempo_core.experiment_results import told
from tempo_core.experiments import CONTROLS, Design
from tempo_core.recipes import PRESETS
from tempo_core.video_llms import checkpoints


def experiment(args: Namespace) -> int:
    studio = open_studio()
    if args.table:
        return _table(studio, _named(studio, args.name))
    if args.cancel:
        n = experimenting.cancel_rest(studio.database, studio.person, _named(studio, args.name).id)
        print(f"{n} runs taken back")
        return DONE
    if args.resume:
        n = experimenting.go_on(studio.database, studio.person, _named(studio, args.name).id)
        launch.ensure_worker(studio.database, studio.home)
        print(f"{n} runs queued")
        return DONE
    return _queue(studio, args)


def _queue(studio: Studio, args: Namespace) -> int:
    design, base = _design(args), Path(args.model)
    about = {"version_id": args.version or _newest(studio), "sft_set_id": args.sft_set}
    with studio.database.reading() as session:
        ahead = experimenting.preview(session, design, base, **about)
    for arm in ahead.arms:
        n_steps = ahead.n_steps[arm.name]
        print(f"{arm.name}: {arm.says} {'' if n_steps is None else f'{n_steps} steps.'}".rstrip())
    takes = "for how long is unknown" if ahead.training_s is None else f"about {curves.words_for(ahead.training_s)}"
    print(f"{ahead.n_runs} runs; they train {takes}, and are measured besides")
    if args.dry_run:
        return DONE
    data = None if args.data is None else str(Path(args.data).expanduser().resolve())
    asked = Asked(args.benchmarks, args.limit, data)
    number = experimenting.queue(studio.database, studio.person, args.name, design, base, **about, asked=asked)
    launch.ensure_worker(studio.database, studio.home)
    print(f"experiment {number}", flush=True)
    return DONE


def _design(args: Namespace) -> Design:
    preset = PRESETS[args.preset or ("embedded" if checkpoints.inspect(args.model).embedded else "paper")]
    base = replace(preset, **changed(preset, args.set))
    controls = tuple(CONTROLS) if args.controls is None else args.controls
    return Design(base, args.recipes or (base.recipe,), args.pacings or (base.pacing,), args.seeds, controls)


def _newest(studio: Studio) -> int:
    with studio.database.reading() as session:
        versions = datasets.listing(session)
    if not versions:
        raise TooFew("No dataset version is frozen yet. Accept pairs, then: python -m jobs freeze")
    return versions[0].id


def _named(studio: Studio, name: str) -> Experiment:
    with studio.database.reading() as session:
        found = [one for one in experiments.listing(session) if name in (one.name, str(one.id))]
    if not found:
        raise Unknown(f"There is no experiment {name!r}.")
    return found[0]


def _table(studio: Studio, found: Experiment) -> int:
    with studio.database.reading() as session:
        cells = experiments.cells(session, found.id)
        figures = experiment_results.table(session, found.id)
    for cell in cells:
        if cell.where != "succeeded":
            print(f"{cell.arm}, seed {cell.seed}: {cell.where}{'' if cell.error is None else f' ({cell.error})'}")
    print(told(figures, found.reference.name))
    return DONE
