"""The scatter of the pairs page under a real mouse: a lasso names pairs, a box becomes ranges of the filter."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from at_desk import at_rest
from playwright.sync_api import Page
from running import Studio

SHARES = {
    "lasso": [(0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98), (0.02, 0.04)],
    "box": [(0.3, 0.02), (0.98, 0.98)],
}


def drawn(page: Page, tool: str) -> None:
    """Press, move from corner to corner, let go: over the plot's own field, whose corners are shares of it."""
    plot = page.locator(".js-plotly-plot").first
    plot.scroll_into_view_if_needed()
    plot.hover()
    if tool == "box":
        page.locator('.modebar-btn[data-val="select"]').first.click()
    field = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    assert field is not None
    corners = [(field["x"] + x * field["width"], field["y"] + y * field["height"]) for x, y in SHARES[tool]]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=12)
    page.mouse.up()


@pytest.mark.parametrize(("tool", "told", "kept"), [
    ("lasso", "inside the lasso are a view now", "ids"), ("box", "The box is a view now", "difficulty"),
])  # fmt: skip
def test_what_is_drawn_around_points_is_a_view(page: Page, looked_at: Studio, tool: str, told: str, kept: str) -> None:
    page.goto(f"{looked_at.url}/pairs?show=points")
    at_rest(page)
    page.locator(".js-plotly-plot .nsewdrag").first.wait_for()
    drawn(page, tool)
    page.get_by_text(told).wait_for()
    page.wait_for_function("(name) => new URLSearchParams(location.search).has(name)", arg=kept)
    asked = parse_qs(urlsplit(page.url).query)
    assert asked["show"] == ["points"] and asked[kept]
