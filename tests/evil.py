"""Hostile text in every place that a person, a file or a model fills: a finished studio, spoilt by raw SQL.

No verb is asked: what one of them refuses today may come in another way tomorrow, so each column of the tables is
either spoilt here or named as closed, and a new column is neither until somebody says what it is.
"""

from __future__ import annotations

import itertools
import json
import sqlite3

from sqlalchemy import Text

from db import (
    campaigns,
    caption_sets,
    curricula,
    experiments,
    guidelines,
    imports,
    jobs,
    models,
    pairs,
    people,
    run_notes,
    runs,
    saved_views,
    settings,
    sft_sets,
    timelines,
    videos,
)
from db.pair_filters import PairFilter
from db.reviews import ReviewItem, decide
from db.session import Database
from db.sft_sets import SftDraft
from db.tables import Base
from tempo_core.experiments import Design, arms
from tempo_core.settings import Home
from tests.pages.finished import CONFIG

SPOILT = {
    "app_user": ("name", "email"),
    "caption": ("text",),
    "campaign": ("name",),
    "comment": ("text",),
    "curriculum": ("name",),
    "dataset_version": ("name",),
    "evaluation_item": ("response",),
    "experiment": ("name",),
    "guideline": ("text",),
    "import": ("name",),
    "job": ("error", "progress_text"),
    "library": ("name",),
    "model": ("name",),
    "opinion": ("note", "reason"),
    "pair": ("prompt", "chosen", "rejected"),
    "prompt": ("text",),
    "response": ("text",),
    "review": ("reason", "edited_chosen", "edited_rejected", "note"),
    "run": ("name", "code_version", "error"),
    "run_note": ("text",),
    "run_stage": ("reason",),
    "saved_view": ("name",),
    "sft_item": ("question", "answer"),
    "sft_set": ("name", "source"),
    "video": ("name", "message"),
}
"""Text that somebody outside the code wrote, by table and column."""

IN_PART = {
    "evaluation": {"benchmark": "held_out_preference", "metric": "recall"},
    "evaluation_item": {"item": "0/0", "group_key": "video 0"},
    "location": {"rel_path": "broken.mp4"},
}
"""Text from files, by table and column, spoilt in the rows with this value: without the others pages are empty."""

OURS = {
    "id", "sha256", "status", "state", "kind", "key", "token", "role", "subject", "family", "path", "root", "rel_path",
    "reason", "finish", "uid", "input", "axis", "pacing", "format", "needs", "resource", "idempotency_key", "host",
    "boot_id", "launcher", "handle", "error_class", "version", "page", "detector", "recipe", "preset", "bulk", "law",
    "left_out_by", "log_path", "moment", "split", "arm", "phase", "name", "adapter", "rule", "act",
    "verdict", "example", "template", "value",
}  # fmt: skip
"""Words and hashes of the code's own, and addresses of files; every `*_sha256` with them."""


def columns() -> dict[str, list[str]]:
    """Every column of text there is."""
    return {
        table.name: [c.name for c in table.columns if isinstance(c.type, Text) and not c.name.endswith("_sha256")]
        for table in Base.metadata.sorted_tables
    }


def text(beacon: str) -> str:
    """Markup of every kind that a page might read; each address in it leads to the listener."""
    return (
        f'<img src="{beacon}/img" onerror="window.evil=1"><script>window.evil=2</script><script src="{beacon}/js">'
        f'</script>![x]({beacon}/md) [link](javascript:window.evil=3) <a href="{beacon}/a">a</a> <b>bold</b>'
        f'<style>@import "{beacon}/css";</style><svg onload="window.evil=4"><iframe src="{beacon}/frame"></iframe>'
        "$\\frac{1}{2}$ :material/home: :red[red] :smile: \u202egpj.exe\u202c \x1b[31mred\x1b[0m ```\n# head\n| a | b |"
    )


def fill(home: Home) -> None:
    """What a finished studio lacks: one of everything that bears a name or a text of somebody's."""
    database = Database.open(home.database)
    with database.session() as session:
        me = people.local(session)
        ada = people.add(session, "test|ada", "Ada", "reviewer", "ada@example.org")
        guidelines.write(session, me, "Look twice.")
        settings.set_reasons(session, me, ["wrong order"])
        settings.set_phrasings(session, me, ["Tell it.", "What happens?"])
        saved_views.save(session, me, "pairs", "mine", {"status": "pending"})
        curricula.save(session, me, "mine", (0.2, 0.5, 0.8))
        first = pairs.page(session, limit=1)[0].id
        decide(session, ada, ReviewItem("c1", first, pairs.get(session, first).version, "comment", note="Look."))
        campaigns.second(session, me, "again", PairFilter())
        version = 1
        models.register(session, home.models / "other", "qwen3_vl", "9" * 64, "other")
        kept = timelines.kept(session)[0]
        sft = sft_sets.create(session, me, "talks", "jsonl", [SftDraft("1", kept.video_id, kept.timeline.id, "Q", "A")])
        caption_sets.record(session, home.media / "c.csv", "told", "8" * 64, {}, {kept.timeline.id: {0: "A dog."}})
        experiments.create(session, me, "orders", arms(Design(CONFIG)), (0,), version_id=version, sft_set_id=sft,
                           asked=experiments.Asked())  # fmt: skip
        source = imports.begin(session, me, "trl", "pairs.jsonl", "7" * 64)
        imports.finish(session, source, 1, [(1, "no such video")])
        run_notes.add(session, 1, "plan", "said")
        _failed(session, database, me)
        videos.withdraw(session, me, kept.video_id, "not ours")
    database.close()


def _failed(session, database, me) -> None:
    """A failed run that nobody has looked at, whose news stands in the sidebar of every page."""
    run = runs.get(session, 1)
    other = runs.create(session, me, CONFIG, run.base_model_id, name="second", dataset_version_id=1)
    job = jobs.enqueue(session, "train", {"run_id": other}, created_by=me.id, needs="gpu")
    runs.attach_job(session, other, job.id)
    claimed = jobs.claim(session, "gpu:0", lease_ms=60_000)
    runs.set_state(session, other, "running")
    jobs.fail(session, job.id, claimed.token, "bug", "it broke")


def spoil(home: Home, beacon: str) -> None:
    """Write the hostile text into every row of `SPOILT`, some of `IN_PART`, and into the texts inside JSON."""
    evil = text(beacon)
    with sqlite3.connect(home.database) as database:
        database.create_function("count_up", 0, itertools.count(1).__next__)
        triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            database.execute(f'DROP TRIGGER "{name}"')
        for table, names in SPOILT.items():
            for name in names:
                # Another number in each, for columns that hold every value once.
                database.execute(
                    f'UPDATE "{table}" SET "{name}" = count_up() || ? || coalesce("{name}", ?)', (evil, "")
                )
        for table, parts in IN_PART.items():
            for name, value in parts.items():
                done = database.execute(
                    f'UPDATE "{table}" SET "{name}" = "{name}" || ? WHERE "{name}" = ?', (evil, value)
                )
                assert done.rowcount, (table, name)
        lines = json.dumps([evil[:400], f"2 {evil}"])
        database.execute("UPDATE setting SET value = ? WHERE key IN ('reasons', 'phrasings')", (lines,))
        database.execute('UPDATE "import" SET skipped = ?', (json.dumps([[1, evil]]),))
        database.execute("UPDATE video SET probe = json_set(probe, '$.codec', ?, '$.container', ?)", (evil, evil))
        database.execute("UPDATE run SET env = json_set(env, '$.python', ?)", (evil,))
        database.execute("INSERT INTO pair_fts(pair_fts) VALUES ('rebuild')")
        for _, made in triggers:
            database.execute(made)
    database.close()
