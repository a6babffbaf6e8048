"""Signed addresses: who may fetch a private file, and until when.

Streamlit's login does not cover custom routes, so the page signs an address after its own checks, and the route
trusts the signature alone. It is bound to one room, one id, one browser (a random HttpOnly cookie) and an expiry.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

COOKIE = "tempo_browser"
"""A random value per browser, which its page cannot read; addresses are bound to it."""

GRID_S = 300
"""Expiry lies on a 5-minute grid, 5-10 minutes ahead: a rerun mints the same address and the browser's cache holds."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs and checks addresses with the studio's own key."""

    key: bytes

    def url(self, room: str, number: int, browser: str, *, now_s: float | None = None) -> str:
        """The address of one file for one browser, like `/clips/7?e=...&s=...`."""
        now = time.time() if now_s is None else now_s
        expires = (int(now) // GRID_S + 2) * GRID_S
        return f"/{room}/{number}?e={expires}&s={self._signature(room, number, browser, expires)}"

    def holds(
        self, room: str, number: int, browser: str, expires: str, signature: str, *, now_s: float | None = None
    ) -> bool:
        """Is this address ours, for this browser, and not expired?"""
        if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
            return False
        now = time.time() if now_s is None else now_s
        ours = self._signature(room, number, browser, int(expires))
        return int(expires) > now and bool(browser) and hmac.compare_digest(ours.encode(), signature.encode())

    def _signature(self, room: str, number: int, browser: str, expires: int) -> str:
        message = f"{room}.{number}.{browser}.{expires}".encode()
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:32]


def secret_key(root: Path) -> bytes:
    """The studio's key: 32 random bytes in a file that only its owner can read, made on first use."""
    path = root / "secret.key"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(32))
    return path.read_bytes()
