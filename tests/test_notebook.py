"""The notebook runs as it stands, with the core alone, and what it says of its results is true."""

import ast
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "docs" / "notebook.py"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """What its cells leave behind."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(ROOT)
        patched.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("notebook")))
        return runpy.run_path(str(NOTEBOOK))


def test_it_needs_the_core_and_the_standard_library_only():
    tree = ast.parse(NOTEBOOK.read_text())
    named = {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    named |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert named == {"sys", "tempfile", "collections", "pathlib", "tempo_core"}


def test_every_video_of_the_drawn_world_is_rich_enough_and_a_threshold_leaves_some_out(notebook):
    assert notebook["kept"] == list(range(8))
    few = [len(found.timeline) < 8 for found in notebook["judged"]]
    left_out = [
        notebook["timeline"].judge(measures, notebook["strict"]).left_out_by for measures in notebook["measures"]
    ]
    assert left_out == ["too_few_clips" if short else None for short in few] and any(few)


def test_its_pairs_tell_the_clean_order_and_another_one(notebook):
    usable, worlds = notebook["usable"], notebook["worlds"]
    assert {pair.plan.kind for pair in usable} == {"drop", "shuffle", "reverse"}
    orders = {"chosen": [], "rejected": []}
    for pair in usable:
        if pair.plan.kind == "reverse":
            events = worlds.read_events(notebook["paths"][pair.video_id])
            for side in orders:
                orders[side].append(worlds.agreement(events, getattr(pair, side).text).order)
    assert min(orders["chosen"]) > 0.9 and max(orders["rejected"]) < 0.7


def test_both_models_name_the_events_and_neither_knows_their_order(notebook):
    for scores in (notebook["of_first"], notebook["of_second"]):
        assert scores["recall"].value > 0.9
        assert scores["swap"].low <= 0.5 <= scores["swap"].high
        assert {score.n_groups for score in scores.values()} == {4}, "no video that pairs were made of"
    assert notebook["verdict"]["recall"].difference == pytest.approx(
        notebook["of_second"]["recall"].value - notebook["of_first"]["recall"].value
    )
