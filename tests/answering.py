"""A small OpenAI-compatible server of the standard library, which keeps every request and fails when it is told to.

It counts tokens as such servers do (words, and some for each picture), and what it says depends on the whole question,
so that two questions that are the same get the same answer and no others do.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

MODEL = "served/tiny"
WORDS = ("red", "circle", "rises", "blue", "square", "falls", "then", "green", "ring", "moves")
TOKENS_A_PICTURE = 16
HANG_S = 60
"""Nothing here takes as long; it only keeps a fault from hanging the suite."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def content(self) -> Any:
        return self.json["messages"][0]["content"]


@dataclass(frozen=True)
class Fault:
    """What to do instead of an answer: a status with its words, or break off."""

    status: int = 0
    body: bytes = b'{"error": {"message": "told to fail"}}'
    headers: dict[str, str] = field(default_factory=dict)
    broken: str = ""
    """"drop" closes the connection without a word, "cut" in the middle of the answer."""


@dataclass
class Answering:
    """The server's state. `trouble` is asked before each answer, with how many questions came before it."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    answered: list[bytes] = field(default_factory=list)
    """Bodies of the questions that got their whole answer."""
    trouble: Callable[[int, Request], Fault | None] = lambda n, request: None
    models: tuple[dict[str, Any], ...] = ({"id": MODEL, "object": "model", "root": "files/tiny"},)
    finish: str | None = "stop"
    sees: bool = True
    counts: bool = True
    slow_s: float = 0.0
    at_once: int = 0
    most_at_once: int = 0
    n_open: int = 0
    """Connections that were taken up and not yet done with."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def questions(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]

    def rest(self) -> None:
        """Wait until it has done with everything that was sent to it before now, also by who is gone since."""
        # Connections are taken up in the order in which they came, this one last.
        with socket.create_connection(("127.0.0.1", urlsplit(self.url).port or 0), timeout=HANG_S) as last:
            last.shutdown(socket.SHUT_WR)
            assert last.recv(1) == b""
        end_s = time.monotonic() + HANG_S
        while self.n_open:
            assert time.monotonic() < end_s, f"{self.n_open} connections are still open"
            time.sleep(0.01)

    def said(self, body: bytes) -> str:
        digest = hashlib.sha256(body).digest()
        return f"Answer {digest.hex()[:12]}: " + " ".join(WORDS[byte % len(WORDS)] for byte in digest[:12])

    def tokens(self, request: Request) -> int:
        if isinstance(request.content, str):
            return len(request.content.split())
        n = 0
        for part in request.content:
            if part["type"] == "text":
                n += len(part["text"].split())
            elif self.sees:
                url = part[part["type"]]["url"]
                n += TOKENS_A_PICTURE * len(url.partition("base64,")[2].split(","))
        return n

    def reply(self, request: Request) -> dict[str, Any]:
        message = {"role": "assistant", "content": self.said(request.body)}
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        found: dict[str, Any] = {"object": "chat.completion", "choices": [choice]}
        if self.counts:
            found["usage"] = {"prompt_tokens": self.tokens(request), "completion_tokens": 13}
        return found


class _Handler(BaseHTTPRequestHandler):
    state: Answering

    def do_GET(self) -> None:
        self._keep("GET", b"")
        fault = self.state.trouble(-1, self.state.requests[-1])
        if fault is not None:
            self._send(fault.status, fault.body, fault.headers)
        else:
            self._send(200, json.dumps({"object": "list", "data": self.state.models}).encode(), {})

    def do_POST(self) -> None:
        state = self.state
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with state.lock:
            state.at_once += 1
            state.most_at_once = max(state.most_at_once, state.at_once)
        n, request = self._keep("POST", body)
        time.sleep(state.slow_s)
        fault = state.trouble(n, request)
        with state.lock:
            state.at_once -= 1
        if fault is None:
            self._send(200, json.dumps(state.reply(request)).encode(), {})
            state.answered.append(body)
        elif fault.broken == "cut":
            whole = json.dumps(state.reply(request)).encode()
            self._send(200, whole[: len(whole) // 2], {"Content-Length": str(len(whole))})
        elif fault.broken != "drop":
            self._send(fault.status, fault.body, fault.headers)
        self.close_connection = True

    def _keep(self, method: str, body: bytes) -> tuple[int, Request]:
        request = Request(method, self.path, dict(self.headers), body)
        with self.state.lock:
            n = len(self.state.questions)
            self.state.requests.append(request)
        return n, request

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Into no log: the tests look at what was kept."""


class _Server(ThreadingHTTPServer):
    state: Answering

    def process_request(self, request: Any, client_address: Any) -> None:
        """In the one thread that takes connections up."""
        with self.state.lock:
            self.state.n_open += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        super().process_request_thread(request, client_address)
        with self.state.lock:
            self.state.n_open -= 1


@contextmanager
def answering() -> Iterator[Answering]:
    """A server on a free port of this machine."""
    state = Answering()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    server.state = state
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
