"""Servers that answer questions over the OpenAI-compatible protocol: which addresses may be asked, and with which key.

The one thing to know: what a server is asked leaves this process. So only plain http and https addresses are taken, no
secret may stand in one (it is stored with every response), and the key is read from the environment alone.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from tempo_core.errors import ServerRefused

KEY = "TEMPO_SERVER_KEY"
"""The environment variable that holds the key. It is never stored, logged or shown."""

FramesAs = Literal["video", "images"]
FRAMES_AS: tuple[FramesAs, ...] = ("video", "images")
"""How frames travel: each video as one list of pictures with its rate (vLLM), or every picture by itself, which any
server with eyes takes but which tells the model neither the rate nor that they are one video."""

AT_ONCE = 8
"""Questions that are in a server's hands at the same time; our choice, a small queue for one GPU."""


@dataclass(frozen=True, slots=True)
class Server:
    """Who answers: the address up to and with its version ("http://127.0.0.1:8000/v1"), and the model's name there."""

    url: str
    model: str
    frames_as: FramesAs = "video"
    at_once: int = AT_ONCE


def checked_url(text: str) -> str:
    """The address in one spelling.

    Raises:
        ServerRefused: It is no http or https address, or holds a secret, a query or the path of one question.
    """
    example = "Write it like http://127.0.0.1:8000/v1."
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise ServerRefused(f"The server's address cannot be read: {error}. {example}") from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        # The address itself is not repeated: what stands there may be a secret.
        raise ServerRefused(
            f"A server's address is stored, so it holds no user, password or query. A key goes into {KEY}. {example}"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or not _plain(text.strip()):
        raise ServerRefused(f"{text.strip()!r} is no address of a server: http and https are taken. {example}")
    if parts.path.rstrip("/").endswith(("/completions", "/models")):
        raise ServerRefused(f"{text.strip()!r} is the address of one question; leave its end away. {example}")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def host(url: str) -> str:
    """The machine of an address, with its port: what a page shows, where a whole address would become a link."""
    return urlsplit(url).netloc


def on_this_machine(url: str) -> bool:
    """Whether what is sent there stays on this machine: a loopback address, or the name localhost."""
    name = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def key() -> str:
    """The key for the server; empty where it wants none.

    Raises:
        ServerRefused: It holds what no header can carry.
    """
    found = os.environ.get(KEY, "").strip()
    if not (found.isascii() and found.isprintable()):
        raise ServerRefused(f"{KEY} holds letters that no key has. Set it anew, without line breaks or quotes.")
    return found
