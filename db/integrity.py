"""Whether everything is as it was written: file, indexes, search, structure, reviews, frozen versions, files on disk.

The one thing to know: this reads every row, so it takes seconds and belongs into a job or the command line. Nothing is
mended: each finding names the way out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from db import artifacts, backup, datasets, migrate
from db.artifacts import Artifact
from db.health import Finding, Level
from db.session import Database
from db.tables import CheckpointRow, PairRow, ReviewRow, RunRow, RunStageRow
from tempo_core.errors import DatabaseRefused, DatasetDrift
from tempo_core.settings import Home

_RESTORE = "Restore a backup: python -m jobs restore FILE. Before that, keep a copy of TEMPO_HOME as it is."
_RESTORE_ON_SERVER = "Bring a backup back: pg_restore --clean. Before that, keep what is there: pg_dump -Fc."

N_PARTS = 5


def check(home: Home, database: Database, *, deep: bool = False, tell: Callable[[str], None] = print) -> list[Finding]:
    """Every finding; of a damaged file only that.

    Args:
        deep: Read each file on disk and compare its sha256; else only look whether it is there in its size.
        tell: Is given a word before each of the `N_PARTS`.
    """
    tell("the file")
    found = [file(home.database)] if database.path else []
    if any(one.level == "red" for one in found):
        return found
    tell("the search and the structure")
    way_back = _RESTORE if database.is_sqlite else _RESTORE_ON_SERVER
    found += [_search(home) if database.is_sqlite else _search_on_server(database), _structure(database, way_back)]
    with database.reading() as session:
        tell("reviews")
        found.append(_reviews(session, way_back))
        tell("frozen versions")
        found.append(_versions(session, way_back))
        sealed, written = _sealed(session), artifacts.listing(session)
    # The snapshot is closed by now: hashing can take minutes, and SQLite's log grows as long as one is open.
    tell("files")
    return [*found, _links(sealed, home, deep=deep), _artifacts(written, home, deep=deep)]


def file(path: Path) -> Finding:
    """Whether every page of a database file is whole; nothing else can be asked of one that is not."""
    try:
        backup.check(path)
    except DatabaseRefused as error:
        return Finding("file", "red", str(error).partition(". Restore")[0] + ".", _RESTORE)
    return Finding("file", "ok", "Every page, index and reference is whole.")


def _search(home: Home) -> Finding:
    """The index of the search against the pairs, in a copy: SQLite takes the write lock for as long as it compares."""
    n_bytes, free = home.database.stat().st_size, shutil.disk_usage(home.root).free
    if free < 2 * n_bytes:
        fact = f"Not compared: that needs a copy of {n_bytes / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free."
        return Finding("search", "amber", fact, "Free some space, then check again.")
    home.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.cache) as folder:
        copy = Path(folder) / "copy.db"
        try:
            with closing(sqlite3.connect(home.database, timeout=60)) as connection:
                connection.execute("VACUUM INTO ?", (str(copy),))
            with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
                # 1: also against the texts, which it leaves out otherwise.
                connection.execute("INSERT INTO pair_fts(pair_fts, rank) VALUES ('integrity-check', 1)")
        except sqlite3.OperationalError as error:
            return Finding("search", "amber", f"Not compared ({error}).", "Check again.")
        except sqlite3.DatabaseError as error:
            way_out = f"Make it anew: sqlite3 '{home.database}' \"INSERT INTO pair_fts(pair_fts) VALUES ('rebuild')\"."
            return Finding("search", "red", f"The search does not hold what the pairs say ({error}).", way_out)
    return Finding("search", "ok", "Holds what the pairs say.")


def _search_on_server(database: Database) -> Finding:
    """Every vector against one that is made anew; the trigger makes it when a text is written, be it the same."""
    compared = (
        "SELECT count(*) FROM pair p LEFT JOIN pair_fts f ON f.rowid = p.id "
        "WHERE f.words IS DISTINCT FROM pair_words(p.prompt, p.chosen, p.rejected)"
    )
    try:
        with database.reading() as session:
            n_wrong = session.execute(text(compared)).scalar_one()
    except ProgrammingError as error:
        why = str(error.orig).partition("\n")[0]
        return Finding("search", "amber", f"Not compared ({why}).", "Mend the structure, then check again.")
    if not n_wrong:
        return Finding("search", "ok", "Holds what the pairs say.")
    way_out = f'Make it anew: psql {database.url.database} -c "UPDATE pair SET prompt = prompt".'
    return Finding("search", "red", f"The search does not hold what {n_wrong:,} pairs say.", way_out)


def _structure(database: Database, way_back: str) -> Finding:
    found, expected = migrate.structures(database)
    parts = [
        (name, found["tables"].get(name) == expected["tables"].get(name))
        for name in sorted(found["tables"].keys() | expected["tables"].keys())
    ] + [
        (name, found["triggers"].get(name) == expected["triggers"].get(name))
        for name in sorted(found["triggers"].keys() | expected["triggers"].keys())
    ]
    wrong = [name for name, same in parts if not same]
    if not wrong:
        return Finding("structure", "ok", f"{len(parts)} tables and triggers are what this version makes.")
    fact = f"{', '.join(wrong[:5])}{' and more' if wrong[5:] else ''} differ from what this version makes."
    return Finding("structure", "red", fact, f"Something else changed the database. {way_back}")


def _reviews(session: Session, way_back: str) -> Finding:
    """Every change of a pair is a review: `pair.version - 1` counts them."""
    n = select(ReviewRow.pair_id, func.count().label("n")).group_by(ReviewRow.pair_id).subquery()
    wrong = select(PairRow.id).outerjoin(n, n.c.pair_id == PairRow.id)
    bad = session.scalars(wrong.where(PairRow.version - 1 != func.coalesce(n.c.n, 0)).limit(6)).all()
    n_reviews = session.scalar(select(func.count()).select_from(ReviewRow)) or 0
    if not bad:
        return Finding("reviews", "ok", f"{n_reviews:,}, one for each change of a pair.")
    fact = (
        f"Pairs {', '.join(map(str, bad[:5]))}{' and more' if bad[5:] else ''} changed without a review, or lost one."
    )
    return Finding("reviews", "red", fact, way_back)


def _versions(session: Session, way_back: str) -> Finding:
    cards = datasets.listing(session)
    drifted = []
    for card in cards:
        try:
            datasets.verify(session, card.id)
        except DatasetDrift as error:
            drifted.append(str(error).partition(" Freeze")[0])
    if drifted:
        way_out = f"Runs of it would refuse to start. {way_back} Or freeze a new version."
        return Finding("frozen versions", "red", " ".join(drifted[:3]), way_out)
    return Finding("frozen versions", "ok", f"{len(cards)}, each as it was frozen.")


def _sealed(session: Session) -> list[tuple[int, str, str]]:
    """(run, folder, its manifest's sha256) of adapters of finished stages, and of each run that may go on of the
    checkpoint it would go on from."""
    stages = session.execute(
        select(RunStageRow.run_id, RunStageRow.adapter, RunStageRow.manifest_sha256).where(
            RunStageRow.adapter.is_not(None), RunStageRow.manifest_sha256.is_not(None)
        )
    ).all()
    steps = select(CheckpointRow.run_id, func.max(CheckpointRow.step).label("step"))
    newest = steps.group_by(CheckpointRow.run_id).subquery()
    resumed = session.execute(
        select(RunRow.id, CheckpointRow.rel_path, CheckpointRow.manifest_sha256)
        .join(newest, newest.c.run_id == RunRow.id)
        .join(CheckpointRow, (CheckpointRow.run_id == RunRow.id) & (CheckpointRow.step == newest.c.step))
        .where(RunRow.state.in_(("failed", "cancelled")), CheckpointRow.complete == 1)
    ).all()
    rows: list[Any] = [*stages, *resumed]
    return [(run_id, rel_path, sha256) for run_id, rel_path, sha256 in rows]


def _links(sealed: Sequence[tuple[int, str, str]], home: Home, *, deep: bool) -> Finding:
    wrong = [
        f"run {run_id}, {Path(rel_path).name}: {reason}"
        for run_id, rel_path, sha256 in sealed
        if (reason := _broken(home.root / rel_path, sha256, deep=deep))
    ]
    if wrong:
        named = "; ".join(wrong[:3]) + ("; and more" if wrong[3:] else "")
        way_out = "Copy the folder back from where you keep TEMPO_HOME/runs, or train the run again."
        return Finding("adapters and checkpoints", "red", f"{len(wrong)} of {len(sealed)} not whole: {named}.", way_out)
    whole = "each file is unchanged" if deep else "each file is there in its size"
    return Finding("adapters and checkpoints", "ok", f"{len(sealed)}; {whole}.")


def _broken(folder: Path, sha256: str, *, deep: bool) -> str | None:
    """Why a sealed folder is not what was recorded; None where it is. See `training.sealed` for its form."""
    try:
        manifest = (folder / "manifest.json").read_bytes()
        files = json.loads(manifest)["files"] if hashlib.sha256(manifest).hexdigest() == sha256 else None
        if files is None:
            return "another manifest"
        return next(_wrong(folder, files, deep=deep), None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "no manifest that can be read"


def _wrong(folder: Path, files: dict[str, dict[str, object]], *, deep: bool) -> Iterator[str]:
    for name, said in files.items():
        place = folder / name
        if not place.is_file():
            yield f"{name} is gone"
        elif place.stat().st_size != said["bytes"] or (deep and _sha256(place) != said["sha256"]):
            yield f"{name} was changed"


def _artifacts(written: Sequence[Artifact], home: Home, *, deep: bool) -> Finding:
    """Files that we made. People delete old exports, so one that is gone is no fault; one that was changed is."""
    gone, changed = 0, []
    for one in written:
        place = home.root / one.rel_path
        if not place.exists():
            gone += 1
        elif place.is_file() and (place.stat().st_size != one.size_bytes or (deep and _sha256(place) != one.sha256)):
            changed.append(one.rel_path)
    level: Level = "amber" if gone or changed else "ok"
    also = f"; changed: {', '.join(changed[:3])}" if changed else ""
    fact = f"{len(written)} written, {gone} of them gone{also}."
    way_out = "They can be written again from the Exchange and Runs pages." if level != "ok" else ""
    return Finding("exports", level, fact, way_out)


def _sha256(place: Path) -> str:
    with place.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
