"""Reviewers at real desks: several Chromium processes, a profile for each person, keys as fast as they go."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from playwright.async_api import Page, async_playwright

from benchmarks.trust import serving
from tests.browser.at_desk import DESK
from tests.browser.running import HANG_MS, Studio

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
N_BROWSERS = 3
HANG_S = 600
KEYS = ("a", "f")
"""Accept, flag: each goes on to the next pair by itself."""
LISTEN = f"""() => {{
  const desk = ({DESK})(), answered = desk._answered.bind(desk), say = desk._say.bind(desk);
  window.trust = {{ desk, answers: {{}}, said: [] }};
  desk._answered = (item, answer) => {{ window.trust.answers[item.token] = answer; answered(item, answer); }};
  desk._say = (text, ...more) => {{ if (text) window.trust.said.push(text); say(text, ...more); }};
}}"""
SENT = "() => [window.trust.desk.outbox.ours.size, Boolean(window.trust.desk.pair)]"
TOLD = "() => ({ answers: window.trust.answers, said: window.trust.said, sent: [...window.trust.desk.outbox.ours] })"


@dataclass(frozen=True, slots=True)
class Decided:
    """What one person's desk did: every token that it sent, those that were saved, the refused ones and what was said
    about them, and the script errors of the page."""

    sent: frozenset[str]
    saved: frozenset[str]
    refused: frozenset[str]
    told: tuple[str, ...]
    errors: tuple[str, ...]


def decide(studio: Studio, names: Sequence[str], pair_ids: Sequence[int]) -> list[Decided]:
    """Each person goes through the same pairs, all at the same time."""
    return asyncio.run(_decide(studio, names, pair_ids))


async def _decide(studio: Studio, names: Sequence[str], pair_ids: Sequence[int]) -> list[Decided]:
    async with async_playwright() as playwright:
        opened = [
            await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            for _ in range(min(N_BROWSERS, len(names)))
        ]
        pages, errors = [], []
        for i, name in enumerate(names):
            context = await opened[i % len(opened)].new_context(extra_http_headers=serving.headers(name))
            context.set_default_timeout(HANG_MS)
            found: list[str] = []
            page = await context.new_page()
            page.on("pageerror", lambda error, found=found: found.append(str(error)))
            pages.append(page)
            errors.append(found)
        address = f"{studio.review_url}?ids={','.join(map(str, pair_ids))}"
        await asyncio.gather(*(_sit_down(page, address) for page in pages))
        said = await asyncio.gather(*(_press(page, KEYS[i % len(KEYS)], len(pair_ids)) for i, page in enumerate(pages)))
        for browser in opened:
            await browser.close()
        return [_decided(one, tuple(found)) for one, found in zip(said, errors, strict=True)]


async def _sit_down(page: Page, address: str) -> None:
    await page.goto(address)
    await page.get_by_test_id("pair").wait_for()
    await page.evaluate(LISTEN)


async def _press(page: Page, key: str, n: int) -> dict[str, object]:
    """Press until so many decisions are sent; where the queue has run dry, look again."""
    async with asyncio.timeout(HANG_S):
        while True:
            n_sent, has_pair = await page.evaluate(SENT)
            if n_sent >= n:
                break
            await (page.keyboard.press(key) if has_pair else page.wait_for_timeout(50))
    await page.get_by_test_id("save").get_by_text("saved", exact=True).wait_for()
    return dict(await page.evaluate(TOLD))


def _decided(told: dict, errors: tuple[str, ...]) -> Decided:  # type: ignore[type-arg]
    answers = told["answers"]
    return Decided(
        sent=frozenset(told["sent"]),
        saved=frozenset(token for token, answer in answers.items() if answer == "saved"),
        refused=frozenset(token for token, answer in answers.items() if answer != "saved"),
        told=tuple(text for text in told["said"] if "yours was not counted" in text),
        errors=errors,
    )
