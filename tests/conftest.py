"""For the whole suite: files that take minutes are given out first, so that neither of two processes ends early."""

from __future__ import annotations

import pytest

LONGEST_FIRST = ("test_first_run.py", "tests/browser/", "tests/training/", "test_chaos.py", "tests/video_llms/")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((i for i, part in enumerate(LONGEST_FIRST) if part in item.nodeid), len(LONGEST_FIRST))

    items.sort(key=place)
