"""Requests to one server, from many threads: no redirect, bounded waits, and another try where a try can help.

The one thing to know: a try can help when the server is busy, broke off or cannot be reached. What it understood and
refused (address, key, model, question) is told at once, in its own words without the key.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import random
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from tempo_core import servers
from tempo_core.errors import QuestionRefused, ServerAway, ServerRefused, TempoError

WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)
"""Before each further try; each is shortened by chance to a half or more, so that many askers do not return at once."""
MOST_WAIT_S = 120.0
"""A server that asks for a longer pause is away."""
CONNECT_S, ANSWER_S = 10.0, 900.0
"""A long answer in the queue of a busy server takes minutes, a connection does not."""
MOST_BYTES = 8_000_000
"""Of a reply; an answer has a few thousand."""
SHOWN = 300
"""Characters of what a server says that go into a message."""

_BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY,
         HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)  # fmt: skip
_QUESTION = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    retry_after_s: float | None
    location: str
    data: bytes


class _Again(Exception):
    """This try came to nothing; `error` is what it was if no further one helps."""

    def __init__(self, error: TempoError, wait_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.wait_s = error, wait_s


class Line:
    """The way to one server. One connection a request, so any number of threads may ask."""

    def __init__(
        self, url: str, *, waits_s: Sequence[float] = WAITS_S, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.url = servers.checked_url(url)
        self._key = servers.key()
        self._waits_s, self._sleep = tuple(waits_s), sleep

    def get(self, path: str) -> Any:
        """One look, without a second try: what does not answer now is told now."""
        try:
            return self._once("GET", path, None)
        except _Again as again:
            raise ServerAway(f"{again} See that the server runs and that its address is right.") from None

    def post(self, path: str, body: bytes) -> Any:
        """The reply's JSON, whatever number of tries it takes.

        Raises:
            QuestionRefused: The server will not take this body, or fails at it again and again.
            ServerAway: It could not be reached or was busy all the time.
            ServerRefused: The address, the key or the model is wrong.
        """
        for wait_s in (*self._waits_s, None):
            try:
                return self._once("POST", path, body)
            except _Again as again:
                if wait_s is None or (again.wait_s or 0.0) > MOST_WAIT_S:
                    raise _for_good(again.error) from None
                self._sleep(wait_s * random.uniform(0.5, 1.0) if again.wait_s is None else again.wait_s)
        raise AssertionError("the last try returns or raises")

    def _once(self, method: str, path: str, body: bytes | None) -> Any:
        try:
            reply = self._exchange(method, path, body)
        except socket.gaierror:
            raise ServerRefused(f"{self.url}: no machine has this name. Look for a slip in the address.") from None
        except ssl.SSLCertVerificationError as error:
            raise ServerRefused(f"{self.url} shows no valid certificate ({error.verify_message}).") from None
        except (OSError, http.client.HTTPException) as error:
            what = str(error) or type(error).__name__
            raise _Again(ServerAway(f"{self.url} cannot be reached or broke off ({self._shown(what)}).")) from None
        if reply.status != HTTPStatus.OK:
            self._refuse(method, path, reply)
        try:
            return json.loads(reply.data)
        except (ValueError, RecursionError):
            said = self._shown(reply.data.decode(errors="replace"))
            raise _Again(QuestionRefused(f"{self.url} broke off its reply, or it is no JSON: {said}")) from None

    def _exchange(self, method: str, path: str, body: bytes | None) -> _Reply:
        parts = urlsplit(self.url)
        headers = {"Accept": "application/json", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        connection = self._connection(ANSWER_S if method == "POST" else CONNECT_S)
        try:
            connection.request(method, f"{parts.path}{path}", body, headers)
            response = connection.getresponse()
            data = response.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise ServerRefused(
                    f"{self.url} sent more than {MOST_BYTES:,} bytes for one answer. It is no such server."
                )
            pause, location = response.getheader("Retry-After", ""), response.getheader("Location", "")
            return _Reply(response.status, float(pause) if pause.isdecimal() else None, location, data)
        finally:
            connection.close()

    def _connection(self, wait_s: float) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=CONNECT_S)
        connection.connect()
        # Where clouds keep the keys of their machines; no model is served there, whatever name led to it.
        if _link_local(connection.sock.getpeername()[0]):
            connection.close()
            raise ServerRefused(f"{self.url} leads to a link-local address. Name the server by its own address.")
        connection.sock.settimeout(wait_s)
        return connection

    def _refuse(self, method: str, path: str, reply: _Reply) -> None:
        """Raise what a reply other than 200 means."""
        said = self._said(reply)
        if reply.status in _BUSY:
            raise _Again(ServerAway(f"{self.url} is busy: {said}."), reply.retry_after_s)
        if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _Again(QuestionRefused(f"{self.url} fails at this question again and again: {said}"))
        if HTTPStatus.MULTIPLE_CHOICES <= reply.status < HTTPStatus.BAD_REQUEST:
            where = self._shown(reply.location)
            raise ServerRefused(f"{self.url} redirects to {where}, which is not followed. Name that address itself.")
        if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            state = "refuses the key" if self._key else "wants a key"
            raise ServerRefused(
                f"{self.url} {state}: {said}. Set {servers.KEY} where the studio and its worker are started, and start "
                "both anew."
            )
        if reply.status == HTTPStatus.NOT_FOUND:
            raise ServerRefused(
                f"{self.url} does not know {path} or the model: {said}. An address usually ends in /v1."
            )
        if method == "POST" and reply.status in _QUESTION:
            raise QuestionRefused(f"{self.url} does not take the question: {said}")
        raise ServerRefused(f"{self.url} refuses {method} {path}: {said}")

    def _said(self, reply: _Reply) -> str:
        """The server's own words, by the fields in which such servers put them."""
        text = reply.data.decode(errors="replace")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        inner = found.get("error", found) if isinstance(found, dict) else None
        words = inner.get("message", inner.get("detail")) if isinstance(inner, dict) else inner
        return f"{reply.status} {self._shown(words if isinstance(words, str) else text)}".strip()

    def _shown(self, text: str) -> str:
        """One line, not long, and never with the key, which some servers repeat."""
        line = " ".join(text.split())
        line = line.replace(self._key, "***") if self._key else line
        return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"


def _for_good(error: TempoError) -> TempoError:
    """What is told when no further try is made."""
    if not isinstance(error, ServerAway):
        return error
    return ServerAway(f"{error} What it has answered is kept: see to the server, then start the job again.")


def _link_local(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    return (getattr(found, "ipv4_mapped", None) or found).is_link_local
