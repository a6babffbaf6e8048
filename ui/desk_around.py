"""What the desk is given besides its pairs: keys, reasons, guidelines, and who sits before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from db import guidelines, saved_views, settings
from db.people import Person
from db.session import Database
from ui import desk_keys

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

NO_EDITS = ("edit", "editRejected")


def around(database: Database, person: Person, mode: str) -> dict[str, Any]:
    """For `mode` "review", "second" or "blind". A blind desk gets no word that tells two sides apart."""
    with database.reading() as session:
        keys = desk_keys.merged(settings.keys(session, person))
        reasons = settings.reasons(session)
        followed = guidelines.current(session)
        views = [] if mode == "blind" else _views(session, person)
    acts = [act for act in keys if _has(mode, act)]
    return {
        "reviewer": person.id,
        "name": person.name,
        "keys": {act: keys[act] for act in acts},
        "words": {act: desk_keys.WORDS[act] for act in acts},
        "views": views,
        "reasons": [] if mode == "blind" else list(reasons),
        "guidelines": followed
        and {
            "text": followed.text,
            "sha256": followed.sha256,
            "number": followed.number,
            "by": followed.by,
            "created_ms": followed.created_ms,
        },
    }


def _has(mode: str, act: str) -> bool:
    if mode == "blind":
        return act in desk_keys.BLIND_ACTS
    return mode == "review" or act not in NO_EDITS


def _views(session: Session, person: Person) -> list[dict[str, str]]:
    """The saved views of the pairs page, for the palette."""
    views = saved_views.listing(session, "pairs", person)
    return [{"name": view.name, "url": f"/pairs?{urlencode(view.query)}"} for view in views]
