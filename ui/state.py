"""What the pages and the routes of one server process share: the home folder, the database, the key, the person.

Held once per process, because the write gate and the key must be one; a page may be run again at any moment.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from typing import NoReturn

import streamlit as st
from streamlit.runtime.secrets import secrets_singleton

from db import migrate, pairs, people
from db.people import Person, Role
from db.session import Database
from jobs import launch
from tempo_core.settings import Home
from ui.signing import COOKIE, Signer, secret_key


@cache
def home() -> Home:
    """The folder that holds everything (TEMPO_HOME)."""
    return Home.from_environment().make()


@cache
def database() -> Database:
    """The database, brought up to date before its first use."""
    migrate.upgrade(home())
    return Database.of(home())


@cache
def signer() -> Signer:
    return Signer(secret_key(home().root))


def prepare() -> None:
    """What must stand before the first visitor: key, database, worker. `TEMPO_WORKER=0` leaves the worker out."""
    signer()
    opened = database()
    if os.environ.get("TEMPO_WORKER") != "0":
        launch.ensure_worker(opened, home())


def sign(room: str, number: int) -> str:
    """The address of a private file for the browser that looks at this page."""
    return signer().url(room, number, st.context.cookies.get(COOKIE, ""))


def pairs_in_database() -> int:
    with database().reading() as session:
        return pairs.count(session)


# ---- people ---------------------------------------------------------------------------------------------------------
def login_configured() -> bool:
    """A login counts only with a list of who may enter: a provider lets anybody with an account through."""
    return secrets_singleton.load_if_toml_exists() and "auth" in secrets_singleton and bool(_may_enter())


def named_admins() -> set[str]:
    """The e-mails that are admins whatever the page says: `[tempo] admins`, else the first of `[tempo] people`."""
    return set(_emails("admins") or _emails("people")[:1])


def _may_enter() -> set[str]:
    return {*_emails("people"), *_emails("admins")}


def _emails(key: str) -> list[str]:
    return [str(email).strip().lower() for email in secrets_singleton.get("tempo", {}).get(key, [])]


def _first_role() -> Role:
    """What somebody is who enters for the first time: `[tempo] role`, "reviewer" unless it says "viewer"."""
    return "viewer" if str(secrets_singleton.get("tempo", {}).get("role", "")) == "viewer" else "reviewer"


def require_login() -> None:
    """Without a login configured there is one person; else stop here until somebody who may enter has signed in."""
    if not login_configured():
        return
    if not _holds(st.user.is_logged_in):
        if find_spec("authlib") is None:
            _stop("Signing in needs Authlib: pip install 'streamlit[auth]', then start the studio again.")
        _stop("Sign in to go on.", "Sign in")
    if not (_holds(st.user.get("email_verified")) and str(st.user.get("email", "")).lower() in _may_enter()):
        _stop("This account is not on the list of people ([tempo] people in .streamlit/secrets.toml).", "Sign out")
    if person().role == "inactive":
        _stop(
            "Your access was ended by an admin. What you decided is kept. Ask an admin to let you in again.", "Sign out"
        )


def _holds(told: object) -> bool:
    """What a login tells as a bool, a proxy (`server.trustedUserHeaders`) tells as a word, and "false" is one too."""
    return str(told).lower() == "true"


def _stop(said: str, button: str | None = None) -> NoReturn:
    """A page with one sentence and at most one thing to do."""
    st.title("TEMPO Studio")
    st.text(said)
    if button == "Sign in":
        st.button("Sign in", on_click=st.login, type="primary")
    elif button is not None:
        st.button("Sign out", on_click=st.logout)
    st.stop()


def person() -> Person:
    """Who acts: the person who signed in, or the one local person. Written only where something is new."""
    if not login_configured():
        with database().reading() as session:
            return people.local(session)
    subject, email = f"{st.user.get('iss')}|{st.user.get('sub')}", str(st.user.get("email"))
    named = email.lower() in named_admins()
    with database().reading() as session:
        found = people.known(session, subject)
    if found is not None and (not named or found.role == "admin"):
        return found
    with database().session() as session:
        name = str(st.user.get("name") or email)
        return people.add(session, subject, name, "admin" if named else _first_role(), email, at_least=named)


def may(role: Role) -> bool:
    """Whether the person on this page may do what needs `role`."""
    return people.may(person(), role)


def why_not(role: Role) -> str | None:
    """The reason to show beside what this person may not do; None where nothing stands in the way."""
    return None if may(role) else f"You are {person().role}; this needs {role}. An admin can change roles on Team."
