"""Every page and every view of the studio by its address: where a test must look that looks everywhere."""

from __future__ import annotations

PAGES = (
    "overview", "library", "pairs", "review", "sampling", "curriculum", "datasets", "runs", "evaluate", "team",
    "exchange", "settings", "doctor",
)  # fmt: skip
VIEWS = {
    "library": ("view", ("videos", "rules", "copies", "folders")),
    "pairs": ("show", ("list", "points")),
    "datasets": ("part", ("Content", "Difference", "Runs", "Export")),
    "runs": ("view", ("Curves", "Suspects", "Compare", "Log", "Settings")),
    "evaluate": ("view", ("scores", "compare", "answers", "try", "experiments", "transfer", "paper")),
    "team": ("tab", ("Agreement", "Activity", "Rules", "People")),
    "exchange": ("part", ("Import", "History", "Export")),
    "settings": ("tab", ("Guidelines", "Reasons", "Keys", "Prompts")),
}
CHOSEN = {"library": "video", "pairs": "pair", "runs": "run", "review": "pair"}
"""Pages that open one row besides the list; its number is 1 in the addresses below."""

ADDRESSES: tuple[tuple[str, dict[str, str]], ...] = tuple(
    (page, ({name: view} if view else {}) | ({CHOSEN[page]: "1"} if page in CHOSEN else {}))
    for page in PAGES
    for name, views in (VIEWS.get(page, ("", ("",))),)
    for view in views
)
