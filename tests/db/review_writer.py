"""Processes for tests: one reviews until it is killed and says so after each commit, one takes what is free."""

from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from pathlib import Path
from threading import Thread
from typing import Any

from db import claims, people, reviews
from db.people import Person
from db.reviews import Conflict, ReviewItem
from db.session import Database


def write(path: Path, n_pairs: int, name: str, said: Connection) -> None:
    database = Database.open(path)
    with database.reading() as reading:
        me = people.local(reading)
    for number in range(100_000):
        act = ("accept", "reject", "flag")[number % 3]
        token = f"{name}-{number}"
        with database.session() as session:
            reviews.decide(session, me, ReviewItem(token, 1 + number % n_pairs, 1, act, note="x" * 500))
        said.send(token)


def judge(path: Path, persons: Sequence[Person], n_each: int, told: "Queue[Any]") -> None:
    """Each person, in a thread of its own, claims and accepts `n_each` pairs; tells (name, ids), or (name, error)."""
    database = Database.open(path)

    def work(person: Person) -> None:
        taken: list[int] = []
        try:
            while len(taken) < n_each:
                with database.session() as session:
                    claimed = claims.claim(session, person, min(8, n_each - len(taken)))
                for pair_id, version in claimed:
                    with database.session() as session:
                        done = reviews.decide(
                            session, person, ReviewItem(f"{person.id}-{pair_id}", pair_id, version, "accept")
                        )
                    if not isinstance(done, Conflict):
                        taken.append(pair_id)
            told.put((person.name, taken))
        except Exception as error:
            told.put((person.name, repr(error)))

    threads = [Thread(target=work, args=(person,)) for person in persons]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()
