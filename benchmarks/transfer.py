"""Do pairs teach another model than the one that wrote them? The two embedded models, each on both sets of pairs.

    python benchmarks/transfer.py --json --home DIR     a second call on the same DIR goes on where the first stopped

Both models are asked about the same drawn videos with the same plans and seeds. Only plans whose pair passes the
filters of both are kept, so both sets have as many pairs, on the same plans, and the same held-out videos. Each model
then trains on each set with the embedded preset (DPO alone), and beside them by SFT alone on as many steps. The
differences are those of the page (`db.transfer`); intervals are 95 %, by a bootstrap over held-out videos.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from embedded import METRICS, Studio, Times, timed
from sqlalchemy import select
from sqlalchemy.orm import Session

from db import bulk, datasets, evaluations, runs, transfer
from db.pair_filters import PairFilter
from db.tables import ModelRow, PairRow
from jobs import payloads, starting
from jobs.payloads import DrawPayload, EvaluatePayload, PairPayload, TrainPayload
from tempo_core import comparisons
from tempo_core.comparisons import Compared
from tempo_core.recipes import PRESETS, RunConfig
from tempo_core.settings import EMBEDDED_MODEL, SECOND_MODEL
from tempo_core.types import ItemScore, JsonDict

MODELS = {folder.name: folder for folder in (EMBEDDED_MODEL, SECOND_MODEL)}
CONFIG = replace(PRESETS["embedded"], recipe="dpo")
BASE, SFT = "base", "SFT alone"


def work(studio: Studio, n_videos: int, times: Times) -> None:
    """Pairs of both models, both sets on both models, SFT alone, and all of them measured on the same questions."""
    timed("draw and scan", times, studio, DrawPayload(n_videos))
    for name, folder in MODELS.items():
        asked = PairPayload(str(folder), max_new_tokens=payloads.EMBEDDED_TOKENS)
        timed(f"pairs of {name}", times, studio, asked)
    version_of = frozen(studio)
    first = next(iter(version_of.values()))
    with studio.database.reading() as session:
        n_steps = starting.preview(session, first, CONFIG, skip_small=True).n_steps
    rows = {f"pairs of {source}": (CONFIG, version) for source, version in version_of.items()}
    rows[SFT] = (replace(CONFIG, recipe="sft", sft_steps=n_steps), first)
    for trained in MODELS:
        for row, (config, version) in rows.items():
            run_id = run_of(studio, trained, row, config, version, times)
            # All on one version: what is compared must have been asked the same, and the base is measured once.
            measure = EvaluatePayload(run_id=run_id, version_id=first, benchmarks=("drawn_world",))
            timed(f"{trained} on {row}, measured", times, studio, measure)


def frozen(studio: Studio) -> dict[str, int]:
    """A version of each model's pairs; those on plans where both models' pairs passed the filters."""
    with studio.database.reading() as session:
        known = {card.name: card.id for card in datasets.listing(session)}
    if set(known) == set(MODELS):
        return {name: known[name] for name in MODELS}
    with studio.database.session() as session:
        ids = {name: of_plan(session, name) for name in MODELS}
        both = sorted(set.intersection(*(set(found) for found in ids.values())))
        print(f"pairs that passed, { ({name: len(f) for name, f in ids.items()}) }; on the same plans {len(both)}")
        for name, found in ids.items():
            chosen = PairFilter(ids=tuple(found[plan] for plan in both))
            bulk.decide(session, studio.person, chosen, "accepted", token=name)
            known[name] = datasets.freeze(session, studio.person, name, chosen)
    return {name: known[name] for name in MODELS}


def of_plan(session: Session, model: str) -> dict[int, int]:
    """The pair of each plan that passed all filters."""
    query = select(PairRow.plan_id, PairRow.id).join(ModelRow, ModelRow.id == PairRow.model_id)
    rows = session.execute(query.where(ModelRow.name == model, PairRow.status != "filtered"))
    return {plan: pair for plan, pair in rows if plan is not None}


def run_of(studio: Studio, trained: str, row: str, config: RunConfig, version: int, times: Times) -> int:
    """A finished run; one that is there already is not made again."""
    name = f"{trained} on {row}"
    with studio.database.reading() as session:
        done = [line.run for line in runs.listing(session) if line.run.state == "succeeded"]
    known = next((run.id for run in done if run.name == name), None)
    if known is not None:
        return known
    made = starting.start_run(
        studio.database, studio.person, config, MODELS[trained], version_id=version, name=name, skip_small=True
    )
    timed(name, times, studio, TrainPayload(made))
    return made


def scores(studio: Studio) -> dict[tuple[str, str, str], evaluations.EvaluationLine]:
    """Figures by model, what it was trained on, and metric."""
    with studio.database.reading() as session:
        lines = evaluations.table(session, "drawn_world")
    row = {e.id: BASE if e.run_id is None else str(e.run).removeprefix(f"{e.model} on ") for e in lines}
    return {(e.model, row[e.id], e.metric): e for e in reversed(lines)}


def told(found: dict[tuple[str, str, str], evaluations.EvaluationLine]) -> str:
    """The values as Markdown."""
    lines = ["| trained | on | " + " | ".join(METRICS) + " |", "|---" * (len(METRICS) + 2) + "|"]
    for trained in MODELS:
        for row in (BASE, SFT, *(f"pairs of {source}" for source in MODELS)):
            cells = [found[trained, row, metric] for metric in METRICS]
            shown = [f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]" for e in cells]
            lines.append(f"| {trained} | {row} | " + " | ".join(shown) + " |")
    n = ", ".join(f"{e.metric} {e.n}" for e in cells)
    return "\n".join(lines) + f"\n\n{cells[0].n_groups} held-out videos; questions: {n}"


def differences(studio: Studio) -> list[tuple[str, str, str, Compared]]:
    """(metric, writer, trained, difference to the base) of every matched cell, as the page shows them."""
    cells = []
    for metric in METRICS:
        with studio.database.reading() as session:
            matrix = transfer.matrix(session, "drawn_world", metric)
        names = {card.id: card.name for card in matrix.columns}
        for (row, column), cell in matrix.cells.items():
            if cell.differs:
                raise SystemExit(f"{matrix.rows[row]} on {names[column]} does not match: {'; '.join(cell.differs)}")
            if cell.found is not None:
                cells.append((metric, matrix.rows[row], names[column], cell.found))
    return cells


def own_and_other(studio: Studio) -> list[tuple[str, str, str, Compared]]:
    """(metric, other writer, trained, difference): the other model's pairs beside a model's own."""
    found, cells = scores(studio), []

    def items(trained: str, source: str, metric: str) -> tuple[ItemScore, ...]:
        with studio.database.reading() as session:
            return evaluations.items(session, found[trained, f"pairs of {source}", metric].id)

    for metric in METRICS:
        for trained in MODELS:
            for other in set(MODELS) - {trained}:
                both = comparisons.compare(items(trained, trained, metric), items(trained, other, metric))
                cells.append((metric, other, trained, both))
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--home", type=Path, help="keep everything in this folder (default: a temporary one)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        studio, times = Studio.open(args.home or Path(scratch)), Times()
        work(studio, args.videos, times)
        found, beside_base, beside_own = scores(studio), differences(studio), own_and_other(studio)
    print(told(found))
    for words, cells in (("beside its base", beside_base), ("beside its own pairs", beside_own)):
        for metric, source, trained, d in cells:
            print(
                f"{metric}: {trained} on {source} {words} {d.difference:+.2f} [{d.low:+.2f}, {d.high:+.2f}] {d.verdict}"
            )
    if args.json:
        figures: JsonDict = {"times": times}
        figures["scores"] = [[*key, e.value, e.low, e.high, e.n, e.n_groups] for key, e in found.items()]
        for name, cells in (("beside_base", beside_base), ("beside_own_pairs", beside_own)):
            figures[name] = [[*what, d.difference, d.low, d.high, d.n, d.verdict] for *what, d in cells]
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
