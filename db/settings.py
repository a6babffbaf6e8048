"""What a group agreed on (reasons, prompts of its own) and what is one reviewer's own (keys).

A setting is a list of strings under a name; a person's keys lie with the person. Defaults are never stored, so that a
better default reaches everybody who did not choose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db import people
from db.dialect import insert_for
from db.people import Person
from db.session import now_ms
from db.tables import SettingRow, UserRow
from tempo_core.errors import BadSettings

REASONS = (
    "no visible change",
    "responses equivalent",
    "chosen is wrong",
    "rejected is right",
    "bad video",
    "other",
)
"""Why a pair was rejected, keys 1-6, until a group agrees on its own."""

MOST_REASONS, LONGEST_REASON = 9, 60
MOST_PHRASINGS, LONGEST_PHRASING = 40, 600
NO_KEY = ""
"""An act without a key: it is reached by its button alone."""

NAMED_KEYS = (
    " ", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown", "Insert",
)  # fmt: skip
"""Besides single signs. Backspace and Delete take a key away where keys are set."""

BROWSERS_OWN = frozenset(
    {f"Control+{key}" for key in "acdfghijlnopqrstuvwxyz+-="}
    | {f"Control+Shift+{key}" for key in "cijknprtwz"}
    | {f"Alt+{key}" for key in ("d", "e", "f", "ArrowLeft", "ArrowRight", "Home", " ")}
    | {f"Control+{key}" for key in ("PageUp", "PageDown")}
)
"""What a browser does itself, whatever a page would like."""

_KEYS = "desk_keys"
_HELD = ("Control", "Alt", "Shift")
_SPELT = re.compile(r"(?i:(?P<Control>control\+|ctrl\+)?(?P<Alt>alt\+)?(?P<Shift>shift\+)?)(?P<rest>.+)")


@dataclass(frozen=True, slots=True)
class Changed:
    """Who set a setting, and when."""

    by: str
    at_ms: int


# ---- of the group ---------------------------------------------------------------------------------------------------
def reasons(session: Session) -> tuple[str, ...]:
    """Why a pair may be rejected, in the order of the keys 1 to 9."""
    return tuple(read(session, "reasons")) or REASONS


def set_reasons(session: Session, person: Person, wanted: Sequence[str]) -> tuple[str, ...]:
    """Agree on these reasons; none at all means the defaults again. Reviews keep the words they were given.

    Raises:
        BadSettings: Too many, too long, or one twice.
    """
    people.require(person, "admin")
    told = _lines(wanted)
    if len(told) > MOST_REASONS:
        raise BadSettings(
            f"These are {len(told)} reasons; the keys 1 to 9 hold at most {MOST_REASONS}. Leave some out."
        )
    _short("reason", told, LONGEST_REASON)
    write(session, person, "reasons", [] if told == REASONS else list(told))
    return told or REASONS


def phrasings(session: Session) -> tuple[str, ...]:
    """Ways of one's own to ask for a description; empty: the model's own set is used."""
    return tuple(read(session, "phrasings"))


def set_phrasings(session: Session, person: Person, wanted: Sequence[str]) -> tuple[str, ...]:
    """Ask with these from now on; none at all means the model's own set again. Pairs keep what they were asked with.

    Raises:
        BadSettings: Too many, too long, one twice, or one with a field to fill in.
    """
    people.require(person, "admin")
    told = checked_phrasings(wanted)
    write(session, person, "phrasings", list(told))
    return told


def checked_phrasings(wanted: Sequence[str]) -> tuple[str, ...]:
    """Prompts as they would be asked: one line each, empty lines left out.

    Raises:
        BadSettings: As `set_phrasings`.
    """
    told = _lines(wanted)
    if len(told) > MOST_PHRASINGS:
        raise BadSettings(f"These are {len(told)} prompts; at most {MOST_PHRASINGS} are kept. Leave some out.")
    _short("prompt", told, LONGEST_PHRASING)
    for line in told:
        if field := re.search(r"\{[^{}]*\}|<\|[^|]*\|>", line):
            raise BadSettings(
                f"{line!r} holds {field[0]!r}: a prompt is asked as it stands, nothing is filled in. Take it out."
            )
    return told


def changed(session: Session, name: str) -> Changed | None:
    """Who set the setting `name` last."""
    s = SettingRow
    query = select(UserRow.name, s.changed_ms).join(UserRow, UserRow.id == s.changed_by).where(s.key == name)
    found = session.execute(query).one_or_none()
    return Changed(*found) if found is not None else None


def read(session: Session, name: str) -> list[Any]:
    """The values of one setting; none while nobody set it."""
    found = session.execute(select(SettingRow.value).where(SettingRow.key == name)).scalar_one_or_none()
    return found or []


def write(session: Session, person: Person, name: str, value: list[Any]) -> None:
    """Store one setting. The caller has checked who may."""
    row = {"key": name, "value": value, "changed_by": person.id, "changed_ms": now_ms()}
    insert = insert_for(session)(SettingRow).values(**row)
    given = {column: insert.excluded[column] for column in ("value", "changed_by", "changed_ms")}
    session.execute(insert.on_conflict_do_update(index_elements=["key"], set_=given))


def _lines(wanted: Sequence[str]) -> tuple[str, ...]:
    return tuple(line for line in (" ".join(text.split()) for text in wanted) if line)


def _short(what: str, told: Sequence[str], longest: int) -> None:
    seen: set[str] = set()
    for line in told:
        if len(line) > longest:
            raise BadSettings(
                f"{line[:40]!r}... has {len(line)} characters; a {what} holds at most {longest}. Shorten it."
            )
        if line.casefold() in seen:
            raise BadSettings(f"{line!r} is there twice. Each {what} stands once.")
        seen.add(line.casefold())


# ---- of one reviewer ------------------------------------------------------------------------------------------------
def keys(session: Session, person: Person) -> dict[str, str]:
    """The person's keys by act, where they differ from the defaults; `NO_KEY`: the act has none."""
    return dict(_preferences(session, person).get(_KEYS, {}))


def set_keys(
    session: Session, person: Person, wanted: Mapping[str, str], *, defaults: Mapping[str, str]
) -> dict[str, str]:
    """Keep the person's own keys; acts that are not named keep their default. What was stored.

    Args:
        wanted: Key by act, as JavaScript's `event.key` spells it: "a", "Shift+e", "Control+k", or `NO_KEY`.
        defaults: Key by act; its names are the acts there are.

    Raises:
        BadSettings: An unknown act, a key that cannot be had, or two acts on one key.
    """
    people.require(person, "viewer")
    own = checked_keys(wanted, defaults)
    values = {name: value for name, value in _preferences(session, person).items() if name != _KEYS}
    if own:
        values[_KEYS] = own
    session.execute(update(UserRow).where(UserRow.id == person.id).values(preferences=values))
    return own


def checked_keys(wanted: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    """The keys that differ from the defaults, after all checks of `set_keys`."""
    unknown = sorted(set(wanted) - set(defaults))
    if unknown:
        raise BadSettings(f"There is no act {unknown[0]!r} to put on a key; there are {', '.join(defaults)}.")
    spelt = {act: spelling(key) for act, key in wanted.items()}
    for key, acts in conflicts({**defaults, **spelt}).items():
        raise BadSettings(f"{key!r} is on two acts, {' and '.join(acts)}. Give one of them another key.")
    return {act: key for act, key in spelt.items() if key != defaults[act]}


def conflicts(key_of: Mapping[str, str]) -> dict[str, list[str]]:
    """Keys that more than one act has, with those acts."""
    acts: dict[str, list[str]] = {}
    for act, key in key_of.items():
        if key != NO_KEY:
            acts.setdefault(key, []).append(act)
    return {key: both for key, both in acts.items() if len(both) > 1}


def spelling(key: str) -> str:
    """A key as it is stored: what is held in the order Control, Alt, Shift, then a sign; letters lower case.

    Raises:
        BadSettings: No such key, or one that the browser, the digits (reasons) or dialogs own.
    """
    if key.strip() == NO_KEY and key != " ":
        return NO_KEY
    found = _SPELT.fullmatch(key if key == " " else key.strip())
    held = "".join(f"{name}+" for name in _HELD if found and found[name]) if found else ""
    rest = found["rest"] if found else ""
    named = next((name for name in NAMED_KEYS if name.lower() == rest.lower()), " " if rest.lower() == "space" else "")
    if not named and (len(rest) != 1 or not rest.isprintable()):
        raise BadSettings(
            f"{key!r} cannot be a key here. Take a letter, a sign, an arrow or Space, alone or with Shift, Ctrl or "
            "Alt; Esc, Enter, Tab and F-keys belong to the browser."
        )
    if rest.isdigit():
        raise BadSettings(f"{key!r} cannot be a key here: the digits give the reason of a rejection. Take a letter.")
    if rest != rest.lower() and not named and "Shift+" not in held:
        held += "Shift+"
    if "Shift+" in held and not named and not rest.isalpha():
        raise BadSettings(f"Write the sign itself instead of {key!r}: with Shift a sign is another sign.")
    spelt = held + (named or rest.lower())
    if spelt in BROWSERS_OWN:
        raise BadSettings(f"{spelt!r} cannot be a key here: the browser does something with it. Take another one.")
    return spelt


def _preferences(session: Session, person: Person) -> dict[str, Any]:
    found = session.execute(select(UserRow.preferences).where(UserRow.id == person.id)).scalar_one_or_none()
    return found or {}
