"""Processes that review: one until it is killed, saying so after each commit; others take what is free."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from pathlib import Path
from threading import Thread
from typing import Any

from sqlalchemy import event

from db import claims, people, reviews
from db.people import Person
from db.reviews import Conflict, ReviewItem
from db.session import Database
from tempo_core.errors import DatabaseBusy

ACTS = ("accept", "reject", "flag")
_PROCESSES = get_context("forkserver")
_PROCESSES.set_forkserver_preload(["benchmarks.trust.reviewers"])


def write(path: Path, n_pairs: int, name: str, said: Connection, synchronous: str = "FULL", pause_s: float = 0) -> None:
    """Decide about pairs 1 to `n_pairs`, round and round; each token is said once it is committed.

    A token that a locked database refused is sent again, as the desk does.
    """
    database = Database.open(path)
    event.listen(database.writer, "connect", lambda dbapi, _: dbapi.execute(f"PRAGMA synchronous = {synchronous}"))
    with database.reading() as reading:
        me = people.local(reading)
    for number in range(1_000_000):
        item = ReviewItem(f"{name}-{number}", 1 + number % n_pairs, 1, ACTS[number % 3], note="x" * 500)
        while True:
            try:
                with database.session() as session:
                    reviews.decide(session, me, item)
                break
            except DatabaseBusy:
                continue
        said.send(item.token)
        time.sleep(pause_s)


class Writer:
    """A process that decides about pairs, and what it acknowledged so far, over all its starts."""

    def __init__(self, path: Path, n_pairs: int, synchronous: str = "FULL", pause_s: float = 0) -> None:
        self.path, self.n_pairs, self.synchronous, self.pause_s = path, n_pairs, synchronous, pause_s
        self.n_starts = 0
        self.acknowledged: set[str] = set()
        self.start()

    def start(self) -> None:
        self.heard, said = _PROCESSES.Pipe(duplex=False)
        self.n_starts += 1
        name = f"{self.synchronous}-{self.n_starts}"
        arguments = (self.path, self.n_pairs, name, said, self.synchronous, self.pause_s)
        self.process = _PROCESSES.Process(target=write, args=arguments, daemon=True)
        self.process.start()
        said.close()

    def listen(self, n: int = 0) -> None:
        """Take in what it said by now, and wait until that is `n` at least."""
        with suppress(EOFError, OSError):
            while n > 0 or self.heard.poll():
                self.acknowledged.add(self.heard.recv())
                n -= 1

    def kill(self) -> None:
        self.process.kill()
        self.process.join(30)
        self.listen()


@dataclass(frozen=True, slots=True)
class Judged:
    """What one reviewer did: the pairs, or the error that ended it, and how long each claim took."""

    name: str
    pair_ids: tuple[int, ...]
    claim_s: tuple[float, ...]
    error: str | None = None


def judge(path: Path | str, persons: Sequence[Person], n_each: int, told: Queue[Any], pause_s: float = 0.0) -> None:
    """Each person, in a thread of its own, claims and accepts `n_each` pairs, one a pause; tells a `Judged`."""
    database = Database.open(path)
    # The first claim of a process compiles its statements (60 ms); a server that people work at did so long ago.
    with database.session() as session:
        claims.claim(session, persons[0], 8)
        claims.release(session, persons[0])
    threads = [
        Thread(target=lambda person=person: told.put(_judged(database, person, n_each, pause_s))) for person in persons
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()


def _judged(database: Database, person: Person, n_each: int, pause_s: float) -> Judged:
    taken: list[int] = []
    claim_s: list[float] = []
    try:
        while len(taken) < n_each:
            start_s = time.monotonic()
            with database.session() as session:
                claimed = claims.claim(session, person, min(8, n_each - len(taken)))
            claim_s.append(time.monotonic() - start_s)
            for pair_id, version in claimed:
                item = ReviewItem(f"{person.id}-{pair_id}", pair_id, version, "accept")
                with database.session() as session:
                    done = reviews.decide(session, person, item)
                if not isinstance(done, Conflict):
                    taken.append(pair_id)
                time.sleep(pause_s)
    except Exception as error:
        return Judged(person.name, tuple(taken), tuple(claim_s), repr(error))
    return Judged(person.name, tuple(taken), tuple(claim_s))
