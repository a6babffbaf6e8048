"""`export-model` and `export-clip`: what the database knows about a run or a pair, written out whole."""

import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from db import artifacts, bulk, datasets, evaluations, metrics, pairs, people, runs, timelines, videos
from db.pair_filters import PairFilter
from db.runs import StageLine
from db.session import Database
from jobs import clips, payloads, starting
from jobs.__main__ import main
from jobs.tasks import JobRef, export_model
from tempo_core import media
from tempo_core.errors import DatasetDrift, FolderTaken, FrameTimesChanged, NoSpace, TempoError, TooFew, Unknown
from tempo_core.recipes import PRESETS
from tempo_core.settings import EMBEDDED_MODEL, Home
from tempo_core.types import ItemScore, Metric, Score
from tests import studio
from tests.links import add_link

N_VIDEOS = 2
CONFIG = replace(PRESETS["embedded"], recipe="dpo", pairs_per_step=2, micro_batch=2)
yaml = pytest.importorskip("yaml")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Run 1 finished two stages and was measured before and after; run 2 has finished none."""
    home = Home(tmp_path_factory.mktemp("home"))
    database = studio.fill(home, N_VIDEOS)
    with database.session() as session:
        person = people.local(session)
        bulk.decide(session, person, PairFilter(), "accepted", token="all")
        version = datasets.freeze(session, person, "demo")
    first, second = (
        starting.start_run(database, person, CONFIG, EMBEDDED_MODEL, version_id=version, name=f"run {i}")
        for i in (1, 2)
    )
    assert (first, second) == (1, 2)
    made = []
    for n, name in enumerate(("l1", "l2"), start=1):
        link = add_link(EMBEDDED_MODEL, home.runs / "run-1" / "chain", made, name, "dpo")
        made.append(link)
        with database.session() as session:
            runs.set_stages(session, 1, [StageLine(n, "dpo", name, (n,), 20, 1, 20)])
            adapter = str(link.path.relative_to(home.root))
            runs.set_stage(session, 1, n, "succeeded", adapter=adapter, manifest_sha256=link.sha256)
    _measure(database)
    yield home
    database.close()


def _measure(database):
    """Accuracy rises to 1; recall falls from 1 to 0."""
    with database.session() as session:
        metrics.record(session, 1, [Metric("l1/loss", step, 0.7 - step / 50) for step in range(1, 21)])
        model = runs.get(session, 1).base_model_id
        for moment, who, better in (("base", None, 0.0), ("dpo", 1, 1.0)):
            values = {"order": better, "recall": 1 - better}
            scores = [
                Score("drawn_world", metric, value, value, value, 20, 10, 0, None, tuple(
                    ItemScore(str(i), f"video {i % 10}", value) for i in range(20)
                ))
                for metric, value in values.items()
            ]  # fmt: skip
            evaluations.record(session, scores, model, {"dataset": "d"}, run_id=who, moment=moment)
        runs.set_state(session, 1, "succeeded")


@pytest.fixture
def database(home, monkeypatch):
    monkeypatch.setenv("TEMPO_HOME", str(home.root))
    opened = Database.open(home.database)
    yield opened
    opened.close()


def export(database, home, **told):
    payload = payloads.ExportModelPayload(**{"run_id": 1, **told})
    folder = home.runs / "jobs" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    # Its id is that of the run's own job: an artifact names a job that exists.
    job = JobRef(1, "export_model", payload, 1, "token", folder, home)
    return export_model.run(database, job, lambda progress: None)


def test_the_card_is_written_from_the_database(database, home, tmp_path):
    export(database, home, form="merged", folder=str(tmp_path / "out"))
    text = (tmp_path / "out" / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    own = yaml.safe_load(header)["tempo_studio"]
    with database.reading() as session:
        run, version = runs.get(session, 1), datasets.listing(session)[0]
    assert own["dataset"]["content_sha256"] == version.content_sha256
    assert (own["dataset"]["name"], own["dataset"]["version"]) == ("demo", 1)
    assert own["config"]["beta"] == CONFIG.beta and own["training_plan_sha256"] == run.training_plan_sha256
    body = body.replace("&#95;", "_")
    assert "| l1 | 20 | 0.640 to 0.340 |" in body
    assert re.search(r"drawn_world \| order .* \| better \|", body)
    assert "Worse beyond chance: drawn_world/recall." in body


def test_adapters_are_also_packed_to_be_taken_away_and_a_second_export_takes_a_new_name(database, home):
    first, second = (export(database, home) for _ in range(2))
    assert [Path(done["folder"]).name for done in (first, second)] == ["run-1-adapter", "run-1-adapter-2"]
    with database.reading() as session:
        made = artifacts.listing(session, "export", run_id=1)
    assert [artifact.id for artifact in made] == [second["artifact_id"], first["artifact_id"]]
    with zipfile.ZipFile(home.root / made[1].rel_path) as packed:
        names = packed.namelist()
    assert {"README.md", "chain.json", "01-dpo-l1/adapter_model.safetensors"} <= set(names)


def test_a_run_without_a_finished_stage_has_nothing_to_export(database, home):
    with pytest.raises(TooFew, match="Run 2 has finished no stage yet"):
        export(database, home, run_id=2)
    with pytest.raises(Unknown, match="no run 9"):
        export(database, home, run_id=9)


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_a_link_that_changed_since_training_does_not_leave(form, database, home, tmp_path):
    weights = home.runs / "run-1" / "chain" / "02-dpo-l2" / "adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        with pytest.raises(DatasetDrift, match="missing or was changed"):
            export(database, home, form=form, folder=str(tmp_path / "out"))
        assert list(tmp_path.iterdir()) == []
    finally:
        weights.write_bytes(kept)


# -- clips --------------------------------------------------------------------------------------------------------


def pair_of_kind(database, kind):
    with database.reading() as session:
        line = next(line for line in pairs.page(session, limit=200) if line.kind == kind and line.video_id == 1)
        card = pairs.get(session, line.id)
        return card, timelines.get(session, card.timeline_id).timeline, videos.path_of(session, 1)


def colours(path):
    """The middle of each frame's upper edge, where no square moves."""
    return np.array([media.picture(frame)[5:40, 5:40].mean(axis=(0, 1)) for frame in media.decode(path)])


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_a_side_of_a_pair_is_a_video_of_its_clips_in_the_order_that_was_answered_on(side, database, tmp_path, capsys):
    card, timeline, source = pair_of_kind(database, "shuffle")
    out = tmp_path / "new" / "side.mp4"
    argv = ["export-clip", str(card.id), "--side", side, "--out", str(out), "--no-titles"]
    assert main(argv) == 0
    order = tuple(range(len(timeline))) if side == "chosen" else card.plan.order
    assert f"{out}: clips {', '.join(str(clip + 1) for clip in order)}" in capsys.readouterr().out
    wanted = [number for i in order for start, end in timeline[i].ranges for number in range(start, end)]
    shown, source_colours = colours(out), colours(source)
    assert len(shown) == len(wanted)
    assert np.abs(shown - source_colours[wanted]).max() < 12
    if side == "rejected":
        assert np.abs(shown - source_colours[sorted(wanted)]).max() > 60, "the test above would see another order"


def test_a_clip_overwrites_nothing_and_says_what_it_can_write(database, home, tmp_path):
    card, _, _ = pair_of_kind(database, "drop")
    (tmp_path / "mine.mp4").write_text("mine")
    with pytest.raises(FolderTaken, match="nothing is overwritten"):
        clips.export_side(database, home, card.id, "rejected", tmp_path / "mine.mp4")
    with pytest.raises(TempoError, match=r"\.mp4 or \.gif"):
        clips.export_side(database, home, card.id, "rejected", tmp_path / "mine.avi")
    with pytest.raises(Unknown, match="no pair 9999"):
        clips.export_side(database, home, 9999, "rejected", tmp_path / "new.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.mp4"]
    assert (tmp_path / "mine.mp4").read_text() == "mine"


def test_a_video_that_is_no_longer_the_one_that_was_scanned_is_not_cut(database, home, tmp_path):
    card, _, source = pair_of_kind(database, "reverse")
    shutil.copy(source, tmp_path / "kept.mp4")
    try:
        studio.draw(source, [20, 20], seed=3)
        with pytest.raises(FrameTimesChanged, match="not what was scanned"):
            clips.export_side(database, home, card.id, "rejected", tmp_path / "new.mp4")
    finally:
        shutil.copy(tmp_path / "kept.mp4", source)


def test_a_clip_on_a_full_disk_is_told_and_leaves_nothing(database, home, tmp_path):
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(tmp_path)], capture_output=True
    ).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        card, _, _ = pair_of_kind(database, "reverse")
        with pytest.raises(NoSpace, match="nothing was written"):
            clips.export_side(database, home, card.id, "both", tmp_path / "new.mp4")
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
