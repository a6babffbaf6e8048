"""Many sessions at once, over Streamlit's own WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from uuid import uuid4

from websockets.exceptions import ConnectionClosed

from benchmarks import many_pairs
from benchmarks.trust import databases, running_run, serving, visitor
from benchmarks.trust.rows import Row, at_most, none_of
from benchmarks.trust.visitor import PageFailed, Visitor
from tempo_core.settings import Home
from tests.browser.running import Studio

N_SESSIONS, N_PAIRS, THINK_S = 10, 2_000, 2.0
WORDS = ("kettle", "harbour", "paper boat", "train", "onion rings")


@dataclass(slots=True)
class Seen:
    """What the sessions saw: seconds of each rerun, what failed, and the tokens of decisions that were acknowledged."""

    took_s: list[float] = field(default_factory=list)
    polls_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)


def measure(scratch: Path, effort: float) -> list[Row]:
    home = Home(scratch / "sessions").make()
    database = many_pairs.build(home, N_PAIRS, n_videos=200)
    n_rows = round(20_000 * effort) // running_run.A_STEP * running_run.A_STEP
    run_id = running_run.start(database, n_rows // running_run.A_STEP)
    database.close()
    with serving.serving(home, serving.named(N_SESSIONS)) as studio:
        return sessions(studio, max(6.0, 60 * effort)) + polling(studio, run_id, n_rows, max(5.0, 30 * effort))


# ---- sessions -------------------------------------------------------------------------------------------------------
def sessions(studio: Studio, seconds: float) -> list[Row]:
    """One person works for a while, then ten; they leave, come back for a round, and leave again.

    Before that ten have been there for a round, so that what a server grows by once is not counted for a session.
    """
    first, _ = asyncio.run(working(studio, N_SESSIONS, rounds=1))
    _left_mb(studio)
    one, one_mb = asyncio.run(working(studio, 1, seconds / 2, 0.5))
    ten, ten_mb = asyncio.run(working(studio, N_SESSIONS, seconds, THINK_S))
    left_mb = _left_mb(studio)
    last, _ = asyncio.run(working(studio, N_SESSIONS, rounds=1))
    grown_mb = (_left_mb(studio) - left_mb) / N_SESSIONS
    waves = (first, one, ten, last)
    n, failed = sum(len(wave.took_s) for wave in waves), sum(len(wave.failed) for wave in waves)
    tokens = [token for wave in waves for token in wave.tokens]
    for text in (text for wave in waves for text in wave.failed):
        print(text, file=sys.stderr)
    lost = len(set(tokens) - databases.tokens(studio.home.database))
    times = _p95(ten.took_s) / _p95(one.took_s)
    what = f"{N_SESSIONS} sessions x {seconds:.0f} s, think {THINK_S:g} s"
    return [
        Row(f"{what}: median and p95 of {len(ten.took_s):,} reruns against those of one session", "p95 < 4x",
            f"{_told(ten.took_s)} against {_told(one.took_s)}: {times:.1f}x", times < 4),
        at_most(f"{what}: a rerun, p95", 1000 * _p95(ten.took_s), 800, " ms", digits=0),
        none_of(f"{what}, and 2 x {N_SESSIONS} without a pause: errors", failed, n, "reruns"),
        none_of("decisions of these sessions that are not in the database", lost, len(tokens),
                "acknowledged decisions"),
        at_most(f"{what}: memory of a session", (ten_mb - one_mb) / (N_SESSIONS - 1), 1, " MB", digits=2),
        at_most(f"what each of {N_SESSIONS} sessions leaves when it is forgotten (after {serving.TTL_S} s, not 120)",
                grown_mb, 0.5, " MB", digits=2),
    ]  # fmt: skip


async def working(
    studio: Studio, n: int, seconds: float = float("inf"), think_s: float = 0.0, rounds: int | None = None
) -> tuple[Seen, float]:
    """So many people at work, until their time is over or their rounds are done; one of the two is given.

    What they saw, and the server's memory in MB while all are still there.
    """
    seen, end_s = Seen(), time.monotonic() + seconds
    async with contextlib.AsyncExitStack() as stack:
        visitors = [await stack.enter_async_context(_person(studio, name)) for name in serving.named(n)]
        await asyncio.gather(
            *(_work(one, seen, end_s, think_s, i * think_s / n, rounds) for i, one in enumerate(visitors)),
        )
        return seen, serving.rss_mb(studio)


def _person(studio: Studio, name: str) -> contextlib.AbstractAsyncContextManager[Visitor]:
    return visitor.visiting(studio.url, serving.headers(name))


async def _work(
    one: Visitor, seen: Seen, end_s: float, think_s: float, late_s: float, rounds: int | None
) -> None:  # fmt: skip
    """The overview, a search, two decisions, the runs; again and again."""
    await asyncio.sleep(late_s)
    for round_ in range(1_000_000 if rounds is None else rounds):
        if time.monotonic() > end_s:
            return
        try:
            async for took_s in _round(one, seen, round_):
                seen.took_s.append(took_s)
                if time.monotonic() > end_s:
                    break
                seen.polls_s += await one.think(think_s)
        except (PageFailed, TimeoutError) as error:
            seen.failed.append(str(error))
        except ConnectionClosed as error:
            seen.failed.append(str(error))
            return


A_ROUND = 8
"""Reruns of one round."""


async def _round(one: Visitor, seen: Seen, round_: int) -> AsyncIterator[float]:
    yield await one.open("")
    yield await one.open("pairs")
    yield await one.type("facet_search", WORDS[round_ % len(WORDS)])
    yield await one.press("facet_status_pending")
    yield await one.open("review")
    for _ in range(2):
        yield await _decide(one, seen)
    yield await one.open("runs")


async def _decide(one: Visitor, seen: Seen) -> float:
    token = uuid4().hex
    pair = one.data_of("tempo_desk")["queue"][0]
    item = {"token": token, "act": "accept", "pair": pair["id"], "version": pair["version"]}
    took_s = await one.tell("tempo_desk", {"outbox": {"beat": 1, "items": [item]}})
    if one.data_of("tempo_desk")["acked"].get(token) != "saved":
        raise PageFailed(f"the decision {token} was not acknowledged")
    seen.tokens.append(token)
    return took_s


def _left_mb(studio: Studio) -> float:
    """Memory once the sessions are forgotten; another visit makes the server look for what is gone."""
    time.sleep(serving.TTL_S + 2)
    asyncio.run(_glance(studio))
    time.sleep(serving.TTL_S + 2)
    return serving.rss_mb(studio)


async def _glance(studio: Studio) -> None:
    async with _person(studio, serving.named(1)[0]) as one:
        await one.open("")


# ---- a run's page while it trains -----------------------------------------------------------------------------------
def polling(studio: Studio, run_id: int, n_rows: int, seconds: float) -> list[Row]:
    """Three people watch a run whose values come from another process."""
    spawn = get_context("spawn")
    told, n_steps = spawn.Queue(), n_rows // running_run.A_STEP
    what = (studio.home.database, run_id, n_steps, seconds / n_steps, told)
    writer = spawn.Process(target=running_run.write, args=what)
    writer.start()
    seen = asyncio.run(_watching(studio, 3, seconds + 2))
    wrote_s = told.get(timeout=60)
    writer.join(60)
    line = f"{n_rows:,} metric rows arrive in {seconds:.0f} s while 3 pages poll"
    return [
        at_most(f"{line}: a step's transaction, p95", 1000 * _p95(wrote_s), 5, " ms"),
        at_most(f"{line}: one of {len(seen.polls_s):,} reruns of the run's part, p95", 1000 * _p95(seen.polls_s), 800,
                " ms", digits=0),
        none_of(f"{line}: errors", len(seen.failed), len(seen.polls_s), "reruns"),
    ]  # fmt: skip


async def _watching(studio: Studio, n: int, seconds: float) -> Seen:
    seen = Seen()

    async def watch(name: str) -> None:
        async with _person(studio, name) as one:
            try:
                await one.open("runs")
                seen.polls_s += await one.think(seconds)
            except (PageFailed, TimeoutError, ConnectionClosed) as error:
                seen.failed.append(str(error))

    await asyncio.gather(*(watch(name) for name in serving.named(n)))
    return seen


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def _told(values: Sequence[float]) -> str:
    return f"{1000 * statistics.median(values):.0f} / {1000 * _p95(values):.0f} ms"
