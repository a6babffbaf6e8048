"""The one thing to do next, from where the studio stands, and what is in its way. No Streamlit here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from db.overview import Stand


@dataclass(frozen=True, slots=True)
class Step:
    """Where to go and why: a page, what its button says, and a sentence."""

    page: str
    button: str
    why: str
    query: Mapping[str, str] = field(default_factory=dict)


def next_step(now: Stand, under_way: Collection[str] = ()) -> Step:
    """The first stage at which something waits for a person; `under_way` are kinds of jobs that run or wait."""
    return _data(now, under_way) or _review(now) or _train(now, under_way)


def _data(now: Stand, under_way: Collection[str]) -> Step | None:
    if now.n_kept == 0 and {"draw", "scan", "judge"} & set(under_way):
        return Step("library", "Watch the scan", "Videos are being scanned. Each shows up as soon as it is measured.")
    if now.n_videos == 0:
        return Step("library", "Add videos", "Choose a folder of videos, or draw the embedded world: no download.")
    if now.n_kept == 0 and now.n_missing:
        return Step("library", "Find the files", "The folder of the videos is gone. Say where it went.",
                    {"view": "folders"})  # fmt: skip
    if now.n_kept == 0:
        return Step("library", "Look at the rules", "No video passes every rule. See which rule left them out.",
                    {"view": "rules"})  # fmt: skip
    if now.n_pairs == 0 and "pair" in under_way:
        return Step("pairs", "Watch the pairs", "A model is being asked. Pairs show up video by video.")
    if now.n_pairs == 0:
        return Step("pairs", "Make pairs", "Ask a model about the kept videos, in their true and in another order.")
    return None


def _review(now: Stand) -> Step | None:
    if now.pairs_of("accepted") == 0 and now.pairs_of("pending"):
        return Step("review", "Review pairs", "Nothing may train before a person has seen some of it. Accept the good.")
    if now.pairs_of("accepted") == 0:
        return Step("pairs", "Look at the pairs", "No pair is accepted, and none waits for a decision.")
    return None


def _train(now: Stand, under_way: Collection[str]) -> Step:
    if now.n_versions == 0:
        accepted = f"{now.pairs_of('accepted'):,} pairs are accepted"
        return Step(
            "curriculum", "Set the levels and freeze", f"{accepted}. Freeze them, so that a run can be repeated."
        )
    if not now.runs:
        return Step("runs", "Start a run", "A version is frozen. See what a run would take, then start it.")
    if now.runs_of("running", "queued"):
        return Step("runs", "Watch the run", "A run is under way.")
    if now.newest_done is not None and now.newest_done not in now.measured_runs and "evaluate" not in under_way:
        return Step("evaluate", "Evaluate the run", f"Run {now.newest_done} is done. What did it learn?",
                    {"run": str(now.newest_done)})  # fmt: skip
    if now.newest_done is None:
        return Step("runs", "Look at the runs", "No run is done yet: the last ones failed or were stopped.")
    fresh = now.pairs_of("accepted") - (now.newest_version[3] if now.newest_version else 0)
    if fresh > 0:
        return Step("curriculum", "Freeze again", f"{fresh:,} more pairs are accepted than the newest version holds.")
    if now.pairs_of("pending"):
        return Step(
            "review", "Review more", f"{now.pairs_of('pending'):,} pairs wait. More accepted pairs, better runs."
        )
    return Step("pairs", "Make more pairs", "Every step was taken once. More videos or another model bring more pairs.")


TITLES = {"library": "Library", "pairs": "Pairs", "runs": "Runs", "evaluate": "Evaluate", "exchange": "Exchange",
          "doctor": "Health"}  # fmt: skip
_QUEUED_ON = {
    "draw": "library", "scan": "library", "judge": "library", "relink": "library", "copies": "library",
    "pair": "pairs", "captions": "pairs", "evaluate": "evaluate", "ask": "evaluate", "paper": "evaluate",
    "export": "exchange", "import": "exchange", "check": "doctor",
}  # fmt: skip


def queued_on(kind: str) -> str:
    """The page from which jobs of this kind are queued, and tried again when they failed; its title is in `TITLES`."""
    return _QUEUED_ON.get(kind, "runs")
