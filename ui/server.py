"""The web server around the pages: private files by signed address, the guard, and what happens at start.

Nothing here takes a path from an address: only a whole number, looked up after the signature held. The order of the
checks is: digits and signature and expiry (403), then the row, the file and its first bytes (404).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ctypes
import gc
import hashlib
import ipaddress
import os
import re
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config
from streamlit.runtime.pages_manager import PagesManager

from ui import files, state
from ui.signing import COOKIE


# ---- private files --------------------------------------------------------------------------------------------------
class _File(FileResponse):
    """In pieces of 1 MiB: in Starlette's of 64 KiB 5 MB cost four times the server's time (34 ms, not 8)."""

    chunk_size = 1 << 20


def _private(room: str, find: Callable[[int], files.Found | None]) -> Route:
    """A route that hands out the file of one row, to the browser that the address was signed for."""

    async def answer(request: Request) -> Response:
        number, query = request.path_params["number"], request.query_params
        browser = request.cookies.get(COOKIE, "")
        if not (number.isascii() and number.isdigit() and len(number) < 16):
            raise HTTPException(404)
        if not state.signer().holds(room, int(number), browser, query.get("e", ""), query.get("s", "")):
            raise HTTPException(403, "This address is not signed for this browser, or has expired. Reload the page.")
        found = await asyncio.to_thread(find, int(number))
        if found is None:
            raise HTTPException(404)
        return _File(found.path, media_type=found.media_type, filename=found.download_as, headers=_HEADERS)

    return Route(f"/{room}/{{number}}", answer, methods=["GET", "HEAD"])


_HEADERS = {"Cache-Control": "private, max-age=300, immutable", "Cross-Origin-Resource-Policy": "same-origin"}


async def health(_request: Request) -> Response:
    """For a supervisor: the server answers and the database can be read."""
    count = await asyncio.to_thread(state.pairs_in_database)
    return JSONResponse({"status": "ok", "pairs": count})


ROUTES = [
    _private("clips", files.clip),
    _private("sprites", files.sprite),
    _private("exports", files.export),
    Route("/health", health, methods=["GET"]),
]


# ---- the guard ------------------------------------------------------------------------------------------------------
class Guard:
    """Refuses unknown hosts (DNS rebinding), adds the security headers, and gives each browser its cookie.

    Pure ASGI, because Starlette's base middleware would buffer videos and does not see WebSockets.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.headers = security_headers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif not host_allowed(Headers(scope=scope).get("host", "")):
            await _refuse_host(scope, receive, send)
        else:
            await self.app(scope, receive, self._with_headers(scope, send))

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        known = f"{COOKIE}=" in Headers(scope=scope).get("cookie", "")

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers[name] = value
                # Only with a page: files asked for at the same moment would each bring another value.
                if not known and headers.get("content-type", "").startswith("text/html"):
                    headers.append("Set-Cookie", f"{COOKIE}={secrets.token_hex(16)}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        return send_on


async def _refuse_host(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    text = "This host name is not allowed here. Name it in server.allowedHosts in .streamlit/config.toml."
    await PlainTextResponse(text, 400)(scope, receive, send)


def host_allowed(host: str) -> bool:
    """Loopback names, and those of `server.allowedHosts`. TEMPO_INSECURE=1 allows any."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    known = {"localhost", "127.0.0.1", "::1", *(str(host).lower() for host in config.get_option("server.allowedHosts"))}
    return bool(name) and (name in known or insecure())


def security_headers() -> dict[str, str]:
    """The content security policy and its companions. No foreign host appears in any directive."""
    policy = {
        "default-src": "'self'",
        # blob: the desk's script is a component and reaches the page as a blob; see FRONTEND in docs/decisions.
        "script-src": f"'self' 'wasm-unsafe-eval' blob: {_inline_scripts()}".strip(),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "media-src": "'self' blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "worker-src": "'self' blob:",
        "frame-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def _inline_scripts() -> str:
    """Hashes of the inline scripts in Streamlit's own page, so that no other inline script may run."""
    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    return " ".join(f"'sha256-{value}'" for value in hashes)


MIDDLEWARE = [Middleware(Guard)]


# A folder called `pages` makes Streamlit guess the pages by itself until `st.navigation` has run once: the first
# visitor after a start who asks for /review would be shown that page alone, with a wrong sidebar.
PagesManager.uses_pages_directory = False


def _few_arenas() -> None:
    """Let threads share memory that was given back.

    Streamlit runs each rerun in a thread, and glibc gives threads arenas of their own: of what one frees the others
    get nothing, so the server grew by 15 MB in 200 pairs, with two arenas by 4 (measured).
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library has no such switch, and no arenas
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


_M_ARENA_MAX = -8
_few_arenas()


# ---- start ----------------------------------------------------------------------------------------------------------
@contextlib.asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[dict[str, Any]]:
    """Refuse an open bind, then make the key, upgrade the database and start the worker."""
    refuse_open_bind()
    await asyncio.to_thread(state.prepare)
    yield {}


@cache
def settle(_page: str) -> None:
    """After a page's first visit: what it brought in stays, so the collector need not look at it again.

    Streamlit collects after every run. With the 180,000 objects that are loaded, that held the process for 130 ms each
    time (measured), in which no clip was sent either.
    """
    gc.collect()
    gc.freeze()


def refuse_open_bind() -> None:
    """The studio has no passwords of its own, so without a login it listens on loopback only."""
    address = config.get_option("server.address")
    if _is_loopback(address) or insecure() or state.login_configured():
        return
    told = (
        f"TEMPO Studio does not listen on {address or 'all addresses'}: everybody in reach could use it, because no "
        "login is configured.\nUse --server.address 127.0.0.1, configure a login ([auth] and [tempo] people in "
        ".streamlit/secrets.toml), or set TEMPO_INSECURE=1 if something in front of it keeps others out."
    )
    print(told, file=sys.stderr, flush=True)
    raise SystemExit(2)


def only_this_machine() -> bool:
    """Whether it listens on this machine alone: only then may a page name its files.

    A proxy in front may let others in all the same; then a login says who is an admin (SECURITY.md).
    """
    return _is_loopback(config.get_option("server.address"))


def insecure() -> bool:
    """A person said that something else protects the studio (a container's port mapping, a proxy with a login)."""
    return os.environ.get("TEMPO_INSECURE") == "1"


def _is_loopback(address: str | None) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False
