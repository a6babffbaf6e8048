"""Brings a database to what this version of the code expects.

`create_all` is for tests that need a fresh database without history; a real one is made by `upgrade`.
"""

from __future__ import annotations

from db import people
from db.dialect import ensure_extras
from db.session import Database
from db.tables import Base


def create_all(database: Database) -> None:
    """Every table and extra, and the local person, in an empty database."""
    with database.session() as session:
        connection = session.connection()
        Base.metadata.create_all(connection)
        ensure_extras(connection)
        people.local(session)
