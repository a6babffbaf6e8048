"""A process for a test: reviews pairs one by one, and says so after each commit, until it is killed."""

from multiprocessing.connection import Connection
from pathlib import Path

from db import people, reviews
from db.reviews import ReviewItem
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
