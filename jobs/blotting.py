"""Keys of the environment never reach a job's log or its stored error: libraries put what they sent into their errors.

A key is what stands in a variable that is called one. Programs that a job starts write into the log by themselves.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_NAMES = re.compile(r"(^|_|^PG)(TOKEN|KEY|SECRET|PASSWORD)$")
_SHORTEST = 8
"""Characters; what is shorter would blot ordinary words, and is no key."""

DATABASE = "TEMPO_DATABASE_URL"


def blotted(text: str) -> str:
    """The text with the variable's name in the place of each key."""
    # The longest first: one key may begin like another.
    for name, value in sorted(_keys().items(), key=lambda key: -len(key[1])):
        text = text.replace(value, f"<{name}>")
    return text


def _keys() -> dict[str, str]:
    found = {name: value.strip() for name, value in os.environ.items() if _NAMES.search(name)}
    found[DATABASE] = database_password()
    return {name: value for name, value in found.items() if len(value) >= _SHORTEST}


def database_password() -> str:
    """The password in the address of the database, at either of the two places where one may stand; "" for none."""
    address = urlsplit(os.environ.get(DATABASE, ""))
    return unquote(address.password or "") or parse_qs(address.query).get("password", [""])[0]


class Blotting:
    """A stream that writes blotted text and is otherwise the one it stands for."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(blotted(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
