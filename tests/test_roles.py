"""Who may do what, verb by verb: found by reading every verb, so that a new one without a check fails here."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from sqlalchemy.sql.dml import UpdateBase

from db import migrate
from db.people import ROLES, Person
from db.session import Database
from tempo_core.errors import NotAllowed
from tempo_core.settings import Home

ROOT = Path(__file__).parent.parent
ROOMS = [f"db.{path.stem}" for path in sorted((ROOT / "db").glob("*.py"))]
ROOMS += ["jobs.launch", "jobs.starting", "jobs.experimenting"]

NEEDS = {
    "artifacts.offer": "admin",
    "bulk.decide": "reviewer",
    "bulk.decide_all": "reviewer",
    "bulk.undo": "reviewer",
    "bulk.undo_all": "reviewer",
    "campaigns.check_rules": "admin",
    "campaigns.claim": "reviewer",
    "campaigns.close": "admin",
    "campaigns.release": "viewer",
    "campaigns.sample": "admin",
    "campaigns.second": "admin",
    "claims.claim": "reviewer",
    "claims.hold": "reviewer",
    "claims.release": "viewer",
    "claims.renew": "reviewer",
    "curricula.remove": "reviewer",
    "curricula.rename": "reviewer",
    "curricula.save": "reviewer",
    "datasets.freeze": "admin",
    "experimenting.cancel_rest": "admin",
    "experimenting.go_on": "admin",
    "experimenting.queue": "admin",
    "experiments.create": "admin",
    "guidelines.write": "admin",
    "imports.begin": "admin",
    "launch.bundle_run": "admin",
    "launch.cancel": "admin",
    "launch.enqueue": "admin",
    "launch.enqueue_in": "admin",
    "launch.resume_run": "admin",
    "launch.resume_run_in": "admin",
    "opinions.give": "reviewer",
    "people.set_active": "admin",
    "people.set_role": "admin",
    "reviews.decide": "reviewer",
    "run_notes.saw": "viewer",
    "runs.create": "admin",
    "saved_views.delete": "reviewer",
    "saved_views.rename": "reviewer",
    "saved_views.save": "reviewer",
    "settings.set_keys": "viewer",
    "settings.set_phrasings": "admin",
    "settings.set_reasons": "admin",
    "settling.settle": "admin",
    "settling.undo": "admin",
    "sft_sets.create": "admin",
    "starting.estimate_run": "admin",
    "starting.queue_checked": "admin",
    "starting.start_run": "admin",
    "starting.world_sft_set": "admin",
    "withdrawals.give_back": "admin",
    "withdrawals.withdraw": "admin",
}
"""The least role that a verb asks for. `viewer`: it touches only what is the person's own."""

ENTERING = {"people.add", "people.local", "migrate.upgrade", "migrate.create_all", "moving.to_server"}
"""Before anybody is there: tables are brought up to date or to a server, and somebody who may enter gets a row."""
PARTS = {
    "campaigns.new", "jobs.cancel", "jobs.enqueue", "jobs.retry", "runs.attach_job", "settings.write",
    "starting.checked_data", "strata.draw", "strata.fill_up", "withdrawals.tell_run",
}  # fmt: skip
"""Parts of verbs that ask themselves; no page calls them."""
BY_JOBS = {
    "artifacts.record", "caption_sets.record", "evaluations.record", "experimenting.after_training",
    "experiments.add_run", "health.keep_check", "imports.finish", "imports.keep", "jobs.beat", "jobs.claim",
    "jobs.fail", "jobs.lead", "jobs.lost", "jobs.progress", "jobs.resign", "jobs.started", "jobs.succeed",
    "metrics.record", "metrics.resumed", "models.register", "pairs.create", "pairs.create_many", "places.relink",
    "plans.record", "plans.record_many", "prompts.id_of", "responses.record", "responses.record_captions",
    "responses.record_many", "run_notes.add", "run_notes.leave_out", "runs.forget_checkpoints", "runs.forget_outcome",
    "runs.record_checkpoint", "runs.score_pairs", "runs.set_stage", "runs.set_stages", "runs.set_state",
    "runs.settle_sft_steps", "runs.store_plan", "runs.trained_with", "samplings.id_of", "samplings.id_of_settings",
    "timelines.record", "timelines.record_segmentation", "videos.library", "videos.mark_absent",
    "videos.missing_without_place", "videos.record", "videos.record_failure",
}  # fmt: skip
"""Written by the worker and its children, for work that somebody with the role has queued."""


# ---- reading the verbs ----------------------------------------------------------------------------------------------
def modules() -> list[ModuleType]:
    return [importlib.import_module(name) for name in ROOMS]


def verbs() -> dict[str, FunctionType]:
    """{"bulk.decide": function} of every public function, where it is written."""
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}": found
        for module in modules()
        for name, found in vars(module).items()
        if isinstance(found, FunctionType) and found.__module__ == module.__name__ and not name.startswith("_")
    }


@cache
def tree_of(function: FunctionType) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))


@cache
def called(function: FunctionType) -> frozenset[FunctionType]:
    """Functions of ours that it names, also those handed on without a call."""
    names, named = function.__globals__, set()
    for node in ast.walk(tree_of(function)):
        found: Any = None
        if isinstance(node, ast.Name):
            found = names.get(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = names.get(node.value.id)
            found = getattr(owner, node.attr, None) if isinstance(owner, ModuleType) else None
        if isinstance(found, FunctionType) and found.__module__ in ROOMS and found is not function:
            named.add(found)
    return frozenset(named)


def writes_itself(function: FunctionType) -> bool:
    """It adds, changes or deletes rows: by the session, by SQL, or by a value given to a row's attribute."""
    for node in ast.walk(tree_of(function)):
        if isinstance(node, ast.Name) and isinstance(function.__globals__.get(node.id), UpdateBase):
            return True
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            name = node.func.attr if isinstance(node.func, ast.Attribute) else name
            owner = node.func.value if isinstance(node.func, ast.Attribute) else None
            by_us = owner is None or (isinstance(owner, ast.Name) and owner.id in ("session", "dialect"))
            if by_us and name in ("insert", "insert_for", "update", "delete", "add_all", "merge", "flush"):
                return True
            if owner is not None and by_us and name == "add":
                return True
        if isinstance(node, ast.Assign):
            targets = [part for target in node.targets for part in getattr(target, "elts", [target])]
            if any(isinstance(target, ast.Attribute) for target in targets):
                return True
    return False


@cache
def writing() -> frozenset[FunctionType]:
    """Every function of the rooms that writes, itself or by one that it calls."""
    every = {f for m in modules() for f in vars(m).values() if isinstance(f, FunctionType) and f.__module__ in ROOMS}
    found = {function for function in every if writes_itself(function)}
    while more := {f for f in every - found if not found.isdisjoint(called(f))}:
        found |= more
    return frozenset(found)


def test_every_verb_that_writes_asks_for_a_role_or_says_why_it_does_not():
    found = writing()
    assert {name for name, verb in verbs().items() if verb in found} == set(NEEDS) | ENTERING | PARTS | BY_JOBS


def test_no_page_calls_a_verb_that_writes_without_asking():
    found, names = writing(), {verb: name for name, verb in verbs().items()}
    for path in [ROOT / "app.py", *(ROOT / "pages").glob("*.py"), *(ROOT / "ui").glob("*.py")]:
        for verb in _named_in(path):
            name = names.get(verb)
            assert verb not in found or name in NEEDS or (name in ENTERING and path.name == "state.py"), (path, name)


def _named_in(path: Path) -> Iterator[FunctionType]:
    """Functions of the rooms that a file names, by its own imports; nothing of the file is run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("db", "jobs"):
            for alias in node.names:
                owner = importlib.import_module(node.module)
                if not hasattr(owner, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                names[alias.asname or alias.name] = getattr(owner, alias.name)
    for node in ast.walk(tree):
        found: Any = names.get(node.id) if isinstance(node, ast.Name) else None
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found = getattr(names.get(node.value.id), node.attr, None)
        if isinstance(found, FunctionType) and found.__module__ in ROOMS:
            yield found


# ---- calling them ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    home = Home(tmp_path_factory.mktemp("roles")).make()
    migrate.upgrade(home)
    opened = Database.open(home.database)
    yield opened
    opened.close()


def answer(database: Database, verb: Callable[..., Any], person: Person) -> Exception | None:
    """What the verb raises for this person; everything else it is given is nothing it could use."""
    given: dict[str, Any] = {}
    for name, parameter in inspect.signature(verb).parameters.items():
        if parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            given[name] = object()
    given["person"] = person
    try:
        if "database" in given:
            verb(**given | {"database": database})
            return None
        with database.session() as session:
            verb(**given | {"session": session})
            raise Undo
    except Undo:
        return None
    except Exception as error:
        return error


class Undo(Exception):
    """Nothing of what a verb did here is kept."""


@pytest.mark.parametrize("name", NEEDS)
def test_a_verb_refuses_who_may_less_before_it_looks_at_anything(database, name):
    verb, needed = verbs()[name], NEEDS[name]
    for role in ("inactive", *ROLES):
        raised = answer(database, verb, Person(1, "Vic", role))
        if role not in ROLES or ROLES.index(role) < ROLES.index(needed):
            assert isinstance(raised, NotAllowed) and f"Vic is {role}; this needs {needed}" in str(raised), (
                role,
                raised,
            )
        else:
            assert not isinstance(raised, NotAllowed), role
