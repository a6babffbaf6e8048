"""What the pages and the routes of one server process share: the home folder, the database, the key, the person.

Held once per process, because the write gate and the key must be one; a page may be run again at any moment.
"""

from __future__ import annotations

import os
from functools import cache

import streamlit as st
from streamlit.runtime.secrets import secrets_singleton

from db import migrate, pairs, people
from db.people import Person
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
    return Database.open(home().database)


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


def _may_enter() -> set[str]:
    tempo = secrets_singleton.get("tempo", {})
    return {str(email).lower() for email in tempo.get("people", [])}


def require_login() -> None:
    """Without a login configured there is one person; else stop here until somebody on the list has signed in."""
    if not login_configured():
        return
    if not st.user.is_logged_in:
        st.title("TEMPO Studio")
        st.button("Sign in", on_click=st.login, type="primary")
        st.stop()
    if not (st.user.get("email_verified") and str(st.user.get("email", "")).lower() in _may_enter()):
        st.title("TEMPO Studio")
        st.text("This account is not on the list of people ([tempo] people in .streamlit/secrets.toml).")
        st.button("Sign out", on_click=st.logout)
        st.stop()


def person() -> Person:
    """Who acts: the person who signed in, or the one local person."""
    if not login_configured():
        with database().reading() as session:
            return people.local(session)
    subject, email = f"{st.user.get('iss')}|{st.user.get('sub')}", str(st.user.get("email"))
    with database().session() as session:
        return people.add(session, subject, email, "reviewer", email)
