"""The pairs behind a run's figures, its stages before they begin, its notes, and who knows that it ended."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from db import datasets, dialect, metrics, migrate, run_notes, run_pairs, runs, sft_sets
from db.people import Person
from db.reviews import ReviewItem, decide
from db.run_pairs import SuspectCounts
from db.runs import PairScore, StageLine
from db.session import Database
from db.sft_sets import SftDraft
from tempo_core.recipes import RunConfig
from tempo_core.settings import Home
from tempo_core.types import Metric, PlannedPair

pytestmark = pytest.mark.long_on_postgres

KINDS = ("drop", "shuffle", "reverse", "shuffle", "shuffle", "drop")
LEVELS = (1, 1, 2, 2, None, 1)
CONFIG = RunConfig(pairs_per_step=2, sft_examples_per_step=2, sft_steps=3)


@pytest.fixture
def pair_ids(shelf):
    return [shelf.pair(number=number, kind=kind) for number, kind in enumerate(KINDS)]


@pytest.fixture
def run(shelf, me, pair_ids):
    """Pairs 1 to 6 in steps of two: a stage of level 1, one of level 2, one imported."""
    for pair_id in pair_ids:
        shelf.do(decide, me, ReviewItem(f"t{pair_id}", pair_id, 1, "accept"))
    version = shelf.do(datasets.freeze, me, "v")
    questions = shelf.do(sft_sets.create, me, "q", "world", [SftDraft("e", 1, 1, "q", "a")])
    model, _, _ = shelf.asked()
    made = shelf.do(runs.create, me, CONFIG, model, dataset_version_id=version, sft_set_id=questions)
    order = [(0, 0, 0), (0, 0, 1), (1, 1, 2), (1, 1, 3), (2, 2, 4)]
    planned = [
        PlannedPair(i, step, stage, pair_ids[place], LEVELS[place], None)
        for i, (step, stage, place) in enumerate(order)
    ]
    shelf.do(runs.store_plan, made, planned, "plan")
    return made


def scored(shelf, run, pair_ids, before, final):
    for moment, margins in (("before", before), ("final", final)):
        rows = {i: PairScore(margin) for i, margin in zip(pair_ids, margins, strict=False) if margin is not None}
        shelf.do(runs.score_pairs, run, moment, rows)


# ---- stages and steps ------------------------------------------------------------------------------------------------
def test_stages_that_wait_are_known_from_the_plan_and_the_recipe(shelf, run):
    waiting = shelf.look(runs.outline, run)
    assert [(s.phase, s.name, s.levels, s.n_items, s.first_step, s.last_step) for s in waiting] == [
        ("dpo", "l1", (1,), 2, 1, 1), ("dpo", "l2", (2,), 2, 2, 2), ("dpo", "imported", (None,), 1, 3, 3),
        ("sft", "sft", (), 6, 4, 6),
    ]  # fmt: skip
    shelf.do(runs.set_stages, run, [StageLine(1, "dpo", "l1", (), 2, 1, 1)])
    shelf.do(runs.set_stage, run, 1, "running")
    begun = shelf.look(runs.outline, run)
    assert [(s.name, s.state, s.levels) for s in begun[:2]] == [("l1", "running", (1,)), ("l2", "queued", (2,))]
    assert len(begun) == 4


def test_a_step_and_a_level_name_their_pairs(shelf, run, pair_ids):
    def ids(*arguments, **named):
        return [pair.id for pair in shelf.look(run_pairs.of_steps, run, *arguments, **named)]

    assert ids(1, 1, 1) == pair_ids[:2]
    assert ids(2, 2, 2) == pair_ids[2:4] and ids(2, 2, 1) == []
    assert ids(3, 3, None) == [pair_ids[4]]
    assert ids(1, 3, any_level=True) == pair_ids[:5]
    assert ids(4, 9, any_level=True) == []
    assert shelf.look(run_pairs.levels_trained, run) == (1, 2, None)


def test_steps_count_from_where_an_earlier_phase_ended(shelf, run, pair_ids):
    """Plan step 0 is the run's step 101 when 100 steps of SFT come first."""
    shelf.do(
        runs.set_stages, run, [StageLine(1, "sft", "sft", (), 9, 1, 100), StageLine(2, "dpo", "l1", (), 2, 101, 101)]
    )
    assert shelf.look(run_pairs.first_step, run) == 101
    assert [pair.id for pair in shelf.look(run_pairs.of_steps, run, 101, 101, 1)] == pair_ids[:2]


def test_the_times_of_the_last_steps_are_known_whatever_the_phase(shelf, run):
    shelf.do(metrics.record, run, [Metric("dpo/loss", 1, 0.6), Metric("l1/loss", 1, 0.6)])
    shelf.do(metrics.record, run, [Metric("dpo/loss", 2, 0.6)])
    shelf.do(metrics.record, run, [Metric("sft/loss", 3, 0.6)], attempt=2)
    assert [(beat.step, beat.attempt) for beat in shelf.look(metrics.beats, run)] == [(1, 1), (2, 1), (3, 2)]
    assert [beat.step for beat in shelf.look(metrics.beats, run, 2)] == [2, 3]


# ---- suspects --------------------------------------------------------------------------------------------------------
def test_suspects_are_the_pairs_that_are_ranked_wrong_or_fell_the_worst_first(shelf, run, pair_ids):
    scored(shelf, run, pair_ids, before=(0.1, 0.5, -2.0, 0.0, None), final=(0.9, 0.2, -1.0, -3.0, -0.5))
    found = shelf.look(run_pairs.suspects, run)
    assert [(pair.id, pair.final) for pair in found] == [
        (pair_ids[3], -3.0), (pair_ids[2], -1.0), (pair_ids[4], -0.5), (pair_ids[1], 0.2),
    ]  # fmt: skip
    assert [pair.why for pair in found] == ["still ranked the wrong way"] * 3 + ["its margin fell"]
    assert found[0].level == 2 and found[2].level is None and found[3].before == 0.5
    assert shelf.look(run_pairs.count_suspects, run) == SuspectCounts(5, 3, 1, True)


def test_suspects_are_filtered_by_kind_and_level_and_turned_page_by_page(shelf, run, pair_ids):
    scored(shelf, run, pair_ids, before=(), final=(-1.0, -1.0, -1.0, -2.0, -1.0))

    def ids(**named):
        return [pair.id for pair in shelf.look(run_pairs.suspects, run, **named)]

    everything = ids()
    assert everything == [pair_ids[3], pair_ids[0], pair_ids[1], pair_ids[2], pair_ids[4]]
    assert ids(kinds=["drop"]) == [pair_ids[0]]
    assert ids(levels=[2]) == [pair_ids[3], pair_ids[2]]
    assert ids(levels=[2, None]) == [pair_ids[3], pair_ids[2], pair_ids[4]]
    seen, after = [], None
    while lines := shelf.look(run_pairs.suspects, run, after=after, limit=2):
        seen += [line.id for line in lines]
        after = run_pairs.key_of(lines[-1])
    assert seen == everything


def test_a_run_without_stored_margins_has_no_suspects(shelf, run):
    assert shelf.look(run_pairs.suspects, run) == ()
    assert shelf.look(run_pairs.count_suspects, run) == SuspectCounts(0, 0, 0, False)


# ---- notes -----------------------------------------------------------------------------------------------------------
def test_a_note_is_kept_once_however_often_an_attempt_says_it(shelf, run):
    for attempt in (1, 2):
        shelf.do(run_notes.add, run, "memory", "stepped down to 1 pair a forward", attempt)
    shelf.do(run_notes.add, run, "plan", "l4 is empty")
    assert [(n.kind, n.text, n.attempt) for n in shelf.look(run_notes.listing, run)] == [
        ("memory", "stepped down to 1 pair a forward", 1), ("plan", "l4 is empty", 1),
    ]  # fmt: skip


def test_pairs_that_are_too_long_are_kept_with_their_length_and_counted_in_a_note(shelf, run, pair_ids):
    lengths = {pair_ids[0]: 17_000, pair_ids[1]: 21_318}
    for _ in range(2):
        shelf.do(run_notes.leave_out, run, lengths, 1204)
    assert list(shelf.look(run_notes.left_out, run).items()) == [(pair_ids[1], 21_318), (pair_ids[0], 17_000)]
    (note,) = shelf.look(run_notes.listing, run)
    assert note.text == "2 of 1,204 pairs are too long and left out (longest 21,318 tokens)"


# ---- news ------------------------------------------------------------------------------------------------------------
def test_the_end_of_a_run_is_news_to_each_person_until_seen_and_a_second_end_is_news_again(shelf, me, ada, run):
    assert shelf.look(run_notes.news, me) == ()
    shelf.do(runs.set_state, run, "failed", error="Out of memory.")
    (told,) = shelf.look(run_notes.news, me)
    assert (told.run_id, told.state, told.error) == (run, "failed", "Out of memory.")
    shelf.do(run_notes.saw, me, run)
    assert shelf.look(run_notes.news, me) == () and len(shelf.look(run_notes.news, ada)) == 1
    shelf.do(runs.set_state, run, "running")
    shelf.do(run_notes.saw, ada, run)
    assert shelf.look(run_notes.news, ada) == ()
    ended_ms = told.ended_ms
    while shelf.look(runs.get, run).ended_ms in (None, ended_ms):
        shelf.do(runs.set_state, run, "succeeded")
    assert [(n.state, n.error) for n in shelf.look(run_notes.news, me)] == [("succeeded", None)]


# ---- the upgrade -----------------------------------------------------------------------------------------------------
@pytest.fixture
def old_home(tmp_path):
    """A home of revision 0001 with a person, and one run that ended before there were notices."""
    home = Home(tmp_path / "old").make()
    database = Database.open(home.database)
    with database.writer.connect() as connection, connection.begin():
        config = Config()
        config.set_main_option("script_location", str(migrate.SCRIPTS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        later = ("opinion_", "guideline_")
        first = {name: body for name, body in dialect.TRIGGERS.items() if not name.startswith(later)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dialect, "TRIGGERS", first)
            migrate.finish(connection)
    database.close()
    with closing(sqlite3.connect(home.database)) as raw:
        raw.executescript(
            """
            INSERT INTO app_user (id, subject, name, role, active, preferences, created_ms)
                VALUES (1, 'local|local', 'local', 'admin', 1, '{}', 5);
            INSERT INTO model (id, path, family, files_sha256, name, created_ms) SELECT 1, '/m', 'tiny',
                '0000000000000000000000000000000000000000000000000000000000000000', 'm', 5;
            INSERT INTO run (id, name, recipe, preset, base_model_id, config, config_sha256, seed, code_version, env,
                state, created_by, created_ms, ended_ms)
                VALUES (7, 'old', 'sft', 'paper', 1, '{}', 'h', 0, 'abc', '{}', 'succeeded', 1, 6, 9);
            INSERT INTO metric (run_id, key, step, attempt, value, ts_ms) VALUES (7, 'sft/loss', 1, 1, 0.5, 8);
            """
        )
    return home


def test_a_filled_database_of_the_first_revision_is_upgraded_with_a_backup_and_its_old_runs_are_no_news(old_home):
    before = _copy(old_home.database)
    done = migrate.upgrade(old_home)
    assert (done.before, done.after) == ("0001", migrate.HEAD)
    assert done.backup is not None and _rows(done.backup, "metric") == _rows(before, "metric")
    database = Database.open(old_home.database)
    with database.reading() as session:
        person = Person(1, "local", "admin")
        assert run_notes.news(session, person) == ()
        assert metrics.series(session, 7) == {"sft/loss": [(1, 0.5)]}
        assert runs.get(session, 7).ended_ms == 9
    with database.session() as session:
        run_notes.add(session, 7, "note", "it can be written to")
        runs.set_state(session, 7, "failed", error="again")
        assert [n.state for n in run_notes.news(session, person)] == ["failed"]
    database.close()


def _copy(path: Path) -> Path:
    return Path(shutil.copy(path, path.with_suffix(".copy")))


def _rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()
