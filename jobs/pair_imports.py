"""Import pairs of another tool, or of another studio: `python -m jobs import FILE_OR_FOLDER`.

Every file is read to its end before anything is written, so one that breaks off changes nothing. Then its pairs are
kept in small transactions, because people review in the same database meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from db import import_matches, imports
from db.import_matches import Match, Seen, Shelf
from db.imports import Kept, Source
from db.people import Person
from db.session import Database
from tempo_core import filters
from tempo_core.errors import Unknown
from tempo_core.exchange import READERS, reading
from tempo_core.exchange.reading import Found
from tempo_core.media import sha256_of
from tempo_core.types import Progress

AT_ONCE = 200
"""Pairs of one transaction: 113 ms of one core (measured with answers of 80 words), so that no reviewer waits long."""
SHOWN = 20
"""Skipped lines of a file that a dry run prints; a job's log has all of them."""
NAMED = 5
"""So many videos are named in a message; the rest are counted."""


@dataclass(frozen=True, slots=True)
class File:
    """One file that was read through: its form, how many pairs or refused records it holds, and which videos."""

    path: Path
    form: str
    n: int
    missing: Mapping[str, str]
    """Why a video that it names is not in the library, by that name."""
    sha256s: Mapping[str, str | None] | None
    """Bytes of the files that names mean, where a folder was given."""

    def found(self) -> Iterator[Found]:
        return reading.found(self.path, READERS[self.form])


@dataclass
class Result:
    """What came, or would come, of one file; `n_read` is `kept.n` and the `skipped`."""

    name: str
    form: str
    import_id: int | None = None
    n_read: int = 0
    kept: Kept = field(default_factory=Kept)
    skipped: list[tuple[int, str]] = field(default_factory=list)


def read_through(
    database: Database, place: Path, *, form: str | None, folder: Path | None, skip_missing: bool
) -> list[File]:
    """The files of a place, each read to its end; nothing is written.

    Raises:
        NotKnown: A file is of no form that is taken.
        BadFile: A file cannot be read to its end.
        Unknown: Videos are not in the library, and that was not allowed.
    """
    with database.reading() as session:
        shelf = import_matches.shelf(session)
    files = [_read(path, shelf, form, folder) for path in reading.files_of(place)]
    missing = {name: why for file in files for name, why in file.missing.items()}
    if missing and not skip_missing:
        raise Unknown(_refusal(missing))
    return files


def _read(path: Path, shelf: Shelf, form: str | None, folder: Path | None) -> File:
    form = reading.recognised(path, READERS, form)
    n, asked = 0, dict[str, str | None]()
    for found in reading.found(path, READERS[form]):
        n += 1
        if found.pair is not None:
            asked[found.pair.video] = found.returned.video_sha256 if found.returned else None
    sha256s = None if folder is None else {name: _sha256(folder, name) for name in asked}
    missing = {}
    for name, sha256 in asked.items():
        place = import_matches.video_of(shelf, name, sha256 or (sha256s or {}).get(name))
        if isinstance(place, str):
            missing[name] = place
    return File(path, form, n, missing, sha256s)


def _sha256(folder: Path, name: str) -> str | None:
    """Of a file below the folder; what lies elsewhere, also by a link, is not read."""
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        return sha256_of(path) if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError):
        return None


def _refusal(missing: Mapping[str, str]) -> str:
    named = "; ".join(list(missing.values())[:NAMED])
    more = f"; and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return (
        f"{len(missing)} videos are not in the library ({named}{more}). Nothing was imported. Scan their folder first "
        "(python -m jobs scan FOLDER), say where they lie with --videos FOLDER, or leave their pairs out with "
        "--skip-missing."
    )


def import_files(
    database: Database, person: Person, files: Sequence[File], report: Callable[[Progress], None], job_id: int | None
) -> list[Result]:
    """Keep the pairs of these files; what is skipped is named with its reason."""
    results, n_all, n_done = [], sum(file.n for file in files), 0
    for file in files:
        with database.session() as session:
            source = imports.begin(session, person, file.form, file.path.name, sha256_of(file.path))
        result = Result(file.path.name, file.form, source.import_id)
        for matches in _matched(database, file):
            _keep(database, source, matches, result, job_id)
            n_done += len(matches)
            report(Progress(n_done, n_all, f"{n_done:,} of {n_all:,} read, {result.kept.n:,} of {file.path.name} kept"))
        with database.session() as session:
            imports.finish(session, source, result.n_read, result.skipped)
        results.append(result)
    return results


def tried(database: Database, files: Sequence[File]) -> list[Result]:
    """What would come of these files."""
    results = []
    for file in files:
        result = Result(file.path.name, file.form)
        for matches in _matched(database, file):
            fresh, _ = _sorted_out(matches, result, {})
            n_refused = sum(not filters.passed(match.verdicts) for match in fresh)
            result.kept += Kept(len(fresh), sum(match.plan is not None for match in fresh), n_refused)
        results.append(result)
    return results


def _matched(database: Database, file: File) -> Iterator[list[Match]]:
    with database.reading() as session:
        shelf = import_matches.shelf(session)
    seen, found = Seen(), file.found()
    while some := list(islice(found, AT_ONCE)):
        with database.reading() as session:
            matches = import_matches.matched(session, shelf, some, seen, file.sha256s)
        yield matches


def _keep(database: Database, source: Source, matches: Sequence[Match], result: Result, job_id: int | None) -> None:
    with database.session() as session:
        before = imports.lines_of(session, source) if any(match.reason for match in matches) else {}
        fresh, n_again = _sorted_out(matches, result, before)
        result.kept += imports.keep(session, source, fresh, job_id) + Kept(n_again)


def _sorted_out(matches: Sequence[Match], result: Result, before: Mapping[int, int]) -> tuple[list[Match], int]:
    """(what is to be kept, how many this import had kept before it was interrupted); the others are skipped."""
    lines = set(before.values())
    again = {id(m) for m in matches if m.reason and m.found.line in lines and m.here in (None, *before)}
    skipped = [(m.found.line, m.reason) for m in matches if m.reason and id(m) not in again]
    result.n_read += len(matches)
    result.skipped += skipped
    return [m for m in matches if not m.reason], len(again)


def told(result: Result, *, would: bool = False) -> str:
    """One line about a file."""
    kept = result.kept
    said = [f"{result.n_read:,} read", f"{kept.n:,} {'would be ' if would else ''}imported"]
    said += [f"{kept.n_whole:,} of them whole"] if kept.n_whole else []
    said += [f"{kept.n_filtered:,} refused by a rule"] if kept.n_filtered else []
    said += [f"{len(result.skipped):,} skipped"]
    return f"{result.name} ({result.form}): {', '.join(said)}"


def check(place: Path, form: str | None) -> None:
    """Refuse at once what no worker could import.

    Raises:
        NotKnown: There is no file of a form that is taken.
    """
    for path in reading.files_of(place):
        reading.recognised(path, READERS, form)


def show_what_would_come(database: Database, place: Path, form: str | None, folder: Path | None) -> int:
    """Print it, with the first reasons of what would not; the exit code."""
    for result in tried(database, read_through(database, place, form=form, folder=folder, skip_missing=True)):
        print(told(result, would=True))
        for line, reason in result.skipped[:SHOWN]:
            print(f"  line {line}: {reason}")
        if len(result.skipped) > SHOWN:
            print(f"  and {len(result.skipped) - SHOWN:,} more")
    return 0
