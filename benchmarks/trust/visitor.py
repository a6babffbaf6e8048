"""A browser without a window: speaks Streamlit's own WebSocket protocol with the studio's server.

It does what Streamlit's page does: takes the XSRF cookie and sends it back as a subprotocol, names its origin, keeps
the state of every widget it has touched, remembers large messages by their hash, and reruns fragments that ask for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

HANG_S = 60.0
_XSRF = "_streamlit_xsrf"
_DONE = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)


class PageFailed(Exception):
    """The server showed an exception, or did not finish a run."""


@dataclass(slots=True)
class Visitor:
    """One session. `elements` holds what the page shows, by kind and id, label or text."""

    socket: ClientConnection
    page: str = ""
    query: str = ""
    elements: dict[tuple[int, ...], Any] = field(default_factory=dict)
    fragments: dict[str, float] = field(default_factory=dict)
    """Seconds between the reruns that each fragment asks for."""
    _pages: dict[str, str] = field(default_factory=dict)
    _states: dict[str, WidgetState] = field(default_factory=dict)
    _inside: dict[str, str] = field(default_factory=dict)
    """The fragment that a widget belongs to, by the widget's id: touching it reruns that part alone."""
    _large: dict[str, ForwardMsg] = field(default_factory=dict)

    async def open(self, page: str, query: str = "") -> float:
        """Go to a page as a click in the sidebar does; seconds until it stands."""
        self.page, self.query = page, query
        self._states.clear()
        return await self._run()

    async def press(self, key: str) -> float:
        """Click the button of this key; seconds until the page stands."""
        state = WidgetState(id=self._id_of(key), trigger_value=True)
        return await self._run(state, fragment=self._inside.get(state.id, ""))

    async def type(self, key: str, text: str) -> float:
        """Fill in a text field; seconds until the page stands."""
        return await self._change(WidgetState(id=self._id_of(key), string_value=text))

    async def tell(self, component: str, state: Mapping[str, Any]) -> float:
        """Give a component of ours another state, as its script does; seconds until the page stands."""
        return await self._change(WidgetState(id=self._component(component).id, json_value=json.dumps(state)))

    async def poll(self, fragment: str) -> float:
        """One rerun of a fragment that asked for it; seconds until it stands."""
        return await self._run(fragment=fragment, by_itself=True)

    async def think(self, seconds: float) -> list[float]:
        """Look at the page, whose fragments rerun as they ask; seconds of each of these reruns."""
        end, due = time.monotonic() + seconds, {f: time.monotonic() + every for f, every in self.fragments.items()}
        took = []
        while due and (first := min(due, key=due.__getitem__)) and due[first] < end:
            await asyncio.sleep(max(0.0, due[first] - time.monotonic()))
            took.append(await self.poll(first))
            due = {f: due.get(f, time.monotonic()) for f in self.fragments}
            if first in due:
                due[first] = time.monotonic() + self.fragments[first]
        await asyncio.sleep(max(0.0, end - time.monotonic()))
        return took

    def data_of(self, component: str) -> Any:
        """What the server gave a component of ours."""
        found = self._component(component)
        return json.loads(found.bytes or found.json)

    # ---- one run --------------------------------------------------------------------------------------------------
    async def _change(self, state: WidgetState) -> float:
        self._states[state.id] = state
        return await self._run(fragment=self._inside.get(state.id, ""))

    async def _run(
        self, pressed: WidgetState | None = None, *, fragment: str = "", by_itself: bool = False
    ) -> float:  # fmt: skip
        """Ask for a rerun, of one fragment or of the page, and read until it has ended.

        `pressed` is a widget that is set for this run only.
        """
        asked = BackMsg()
        client: ClientState = asked.rerun_script
        client.query_string, client.fragment_id, client.is_auto_rerun = self.query, fragment, by_itself
        client.page_name = "" if self.page in self._pages else self.page
        client.page_script_hash = self._pages.get(self.page, "")
        client.widget_states.widgets.extend([*self._states.values(), *([pressed] if pressed else [])])
        client.cached_message_hashes.extend(self._large)
        start = time.monotonic()
        await self.socket.send(asked.SerializeToString())
        async with asyncio.timeout(HANG_S):
            while not self._take(ForwardMsg.FromString(await self.socket.recv(decode=False))):
                pass
        return time.monotonic() - start

    def _take(self, told: ForwardMsg) -> bool:
        """Keep what one message says; whether the run has ended with it."""
        kind = told.WhichOneof("type")
        if kind == "ref_hash":
            told = _again(self._large[told.ref_hash], told)
        elif told.metadata.cacheable:
            self._large[told.hash] = told
        if told.WhichOneof("type") == "delta":
            self._draw(tuple(told.metadata.delta_path), told.delta)
        elif kind == "new_session" and not told.metadata.run.fragment_ids:
            self.elements.clear()
            self.fragments.clear()
        elif kind == "navigation":
            self._pages = {page.url_pathname: page.page_script_hash for page in told.navigation.app_pages}
        elif kind == "page_info_changed":
            self.query = told.page_info_changed.query_string
        elif kind == "auto_rerun":
            self.fragments[told.auto_rerun.fragment_id] = told.auto_rerun.interval
        elif kind == "stop_auto_rerun":
            for fragment in told.stop_auto_rerun.fragment_ids:
                self.fragments.pop(fragment, None)
        elif kind == "session_event" and told.session_event.HasField("script_compilation_exception"):
            raise PageFailed(told.session_event.script_compilation_exception.message)
        elif kind == "page_not_found":
            raise PageFailed(f"there is no page {self.page}")
        elif kind == "script_finished" and told.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
            raise PageFailed(f"the page {self.page} does not compile")
        return kind == "script_finished" and told.script_finished in _DONE

    def _draw(self, path: tuple[int, ...], delta: Any) -> None:
        if delta.WhichOneof("type") != "new_element":
            return
        element = getattr(delta.new_element, delta.new_element.WhichOneof("type"))
        if delta.new_element.WhichOneof("type") == "exception":
            raise PageFailed(f"{self.page}: {element.type} {element.message}")
        self.elements[path] = element
        if delta.fragment_id and getattr(element, "id", ""):
            self._inside[element.id] = delta.fragment_id

    def _id_of(self, key: str) -> str:
        ids = [element.id for element in self.elements.values() if str(getattr(element, "id", "")).endswith(f"-{key}")]
        if len(ids) != 1:
            raise PageFailed(f"the page {self.page} holds {len(ids)} widgets with the key {key}")
        return str(ids[0])

    def _component(self, name: str) -> Any:
        found = [e for e in self.elements.values() if getattr(e, "component_name", "") == name]
        if len(found) != 1:
            raise PageFailed(f"the page {self.page} holds {len(found)} components {name}")
        return found[0]


def _again(large: ForwardMsg, reference: ForwardMsg) -> ForwardMsg:
    """A message that came before, at the place where it is shown now."""
    copy = ForwardMsg()
    copy.CopyFrom(large)
    copy.metadata.CopyFrom(reference.metadata)
    return copy


@contextlib.asynccontextmanager
async def visiting(url: str, headers: Mapping[str, str]) -> AsyncIterator[Visitor]:
    """A browser that has loaded the studio's page and connected, with nothing run yet."""
    cookies = await asyncio.to_thread(_cookies, url)
    told = {**headers, "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    address = f"{url.replace('http', 'ws', 1)}/_stcore/stream"
    protocols = [Subprotocol("streamlit"), Subprotocol(cookies[_XSRF])]
    async with connect(address, origin=url, subprotocols=protocols, additional_headers=told, max_size=None) as socket:  # type: ignore[arg-type]
        yield Visitor(socket)


def _cookies(url: str) -> dict[str, str]:
    """What the page and its first question leave in a browser."""
    found: dict[str, str] = {}
    for path in ("/", "/_stcore/health", "/_stcore/host-config"):
        with urllib.request.urlopen(f"{url}{path}", timeout=HANG_S) as answer:
            for cookie in answer.headers.get_all("Set-Cookie") or ():
                name, _, value = cookie.partition(";")[0].partition("=")
                found[name] = value
    return found
