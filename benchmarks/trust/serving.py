"""The studio's real server for several people: a proxy has signed them in, as `server.trustedUserHeaders` takes it.

Who connects with the headers of a name is that person, in a browser as in `visitor`. The server listens on loopback.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import psutil

from tempo_core.settings import Home
from tests.browser.running import Studio

_HEADERS = {
    "X-Signed-In": "is_logged_in", "X-Issuer": "iss", "X-Subject": "sub", "X-Email": "email",
    "X-Email-Verified": "email_verified", "X-Name": "name",
}  # fmt: skip
TTL_S = 5
"""How long the server keeps a session whose browser is gone; the studio's own setting is two minutes."""


def named(n: int) -> list[str]:
    """Names for `n` people."""
    return [f"reviewer-{i + 1}" for i in range(n)]


def headers(name: str) -> dict[str, str]:
    """What the proxy says about this person."""
    told = {"is_logged_in": "true", "iss": "https://login.example", "sub": name, "email": f"{name}@example.org",
            "email_verified": "true", "name": name}  # fmt: skip
    return {header: told[key] for header, key in _HEADERS.items()}


@contextlib.contextmanager
def serving(home: Home, people: list[str]) -> Iterator[Studio]:
    """A server that these people may enter; the first of them is an admin."""
    secrets = home.root / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir(exist_ok=True)
    emails = [headers(name)["X-Email"] for name in people]
    secrets.write_text(f"[auth]\n[tempo]\npeople = {json.dumps(emails)}\n", encoding="utf-8")
    studio = Studio(home, {
        "STREAMLIT_SERVER_TRUSTED_USER_HEADERS": json.dumps(_HEADERS),
        "STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": str(TTL_S),
    })  # fmt: skip
    try:
        studio.start()
        yield studio
    finally:
        studio.close()


def rss_mb(studio: Studio) -> float:
    """Memory that the server holds now."""
    if studio.process is None:
        raise ValueError("the server is not running")
    return float(psutil.Process(studio.process.pid).memory_info().rss) / 1e6
