"""What the worker does once a day for the data: a look at every page and index, and a backup of what is whole."""

from __future__ import annotations

from db import backup, health, integrity
from db.session import Database
from tempo_core.errors import TempoError
from tempo_core.settings import Home


def care(home: Home, database: Database) -> None:
    """Do it if it was not done today. A fault is said in the worker's log and on the Health page.

    Of a damaged file there is no backup: seven of them would push out the last whole one.
    """
    if not database.is_sqlite or backup.made_today(home.backups):
        return
    try:
        whole = integrity.file(home.database)
        if whole.level == "ok":
            backup.daily(home.database, home.backups)
            return
        print(f"{whole.fact} {whole.way_out}", flush=True)
        with database.session() as session:
            health.keep_check(session, [whole])
    except TempoError as error:
        print(error, flush=True)
