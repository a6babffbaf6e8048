"""Pairs that leave a studio and come back, into the same one and into another; and pairs of other tools."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from db import bulk, datasets, imports, jobs, migrate, pairs, people, timelines, videos
from db.pair_filters import PairFilter
from db.reviews import ReviewItem, decide
from db.session import Database
from jobs import pair_imports, payloads, starting
from jobs.__main__ import main
from jobs.tasks import JobRef, export, import_pairs
from tempo_core.errors import Cancelled, NotAllowed, Unknown
from tempo_core.exchange import FORMS
from tempo_core.exchange.records import BadFile
from tempo_core.measures import load_measures
from tempo_core.recipes import PRESETS
from tempo_core.scan import scan
from tempo_core.settings import Home
from tempo_core.timeline import Richness, judge, timeline_sha256
from tests import studio
from ui import desk_data

ASKED = "What happens?"
FIELDS = (
    "uid", "kind", "magnitude", "difficulty", "prompt", "final_chosen", "final_rejected", "plan", "measures",
    "timeline", "verdicts", "input",
)  # fmt: skip


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """Two drawn videos with pairs, all accepted but one that is edited, frozen as version 1."""
    home = Home(tmp_path_factory.mktemp("made"))
    database = studio.fill(home, 2)
    with database.session() as session:
        me = people.local(session)
        first = pairs.page(session, limit=1)[0].id
        decide(session, me, ReviewItem("edit", first, 1, "edit", chosen="red circle rises, at last."))
        bulk.decide(session, me, PairFilter(), "accepted", token="all")
        datasets.freeze(session, me, "demo", held_out_share=0.5)
    database.close()
    return home


@pytest.fixture(scope="module")
def videos_only(made_once, tmp_path_factory):
    """Another studio, which scanned the same files and has made nothing of them."""
    home = Home(tmp_path_factory.mktemp("other")).make()
    migrate.upgrade(home)
    database = Database.open(home.database)
    for path in sorted((made_once.media / "drawn").glob("*.mp4")):
        found = scan(path, made_once.cache)
        judgement = judge(load_measures(found.measures_path), Richness())
        sha = timeline_sha256(found.video.sha256, found.times_sha256, judgement.timeline)
        with database.session() as session:
            library = videos.library(session, path.parent)
            video = videos.record(session, library, path.name, found.video, found.times_sha256, found.probe)
            timelines.record(session, video, Richness(), judgement, sha)
            people.local(session)
    database.close()
    return home


def copied(home, place):
    shutil.copytree(home.root, place)
    return Home(place)


@pytest.fixture
def home(made_once, tmp_path):
    return copied(made_once, tmp_path / "home")


@pytest.fixture
def other(videos_only, tmp_path):
    return copied(videos_only, tmp_path / "other")


@pytest.fixture
def opened():
    """Databases of homes, closed at the end."""
    all_opened = []

    def open_one(home):
        all_opened.append(Database.open(home.database))
        return all_opened[-1]

    yield open_one
    for database in all_opened:
        database.close()


def did(task, database, home, payload):
    kind = payloads.kind_of(payload)
    with database.session() as session:
        job = jobs.enqueue(session, kind, payloads.as_json(payload), created_by=1, needs="cpu")
    folder = home.runs / "jobs" / str(job.id)
    folder.mkdir(parents=True, exist_ok=True)
    return task.run(database, JobRef(job.id, kind, payload, 1, "token", folder, home), lambda progress: None)


def exported(database, home, form):
    return did(export, database, home, payloads.ExportPayload(1, form))["folder"]


def imported(database, home, place, **how):
    return did(import_pairs, database, home, payloads.ImportPayload(str(place), **how))


def lines_of(path):
    with open(path, "rb") as lines:
        return [json.loads(line) for line in lines]


def look(database, verb, *arguments):
    with database.reading() as session:
        return verb(session, *arguments)


def cards(database):
    with database.reading() as session:
        return [pairs.get(session, line.id) for line in pairs.page(session, limit=100)]


def foreign(folder, *changes, name="pairs.jsonl"):
    """Flat rows about the first drawn video."""
    row = {"video": "clips/drawn-0.mp4", "question": ASKED, "rejected": "blue ring falls. red circle rises."}
    rows = [row | {"chosen": f"red circle rises. blue ring falls. {n}."} | change for n, change in enumerate(changes)]
    (folder / name).write_text("".join(json.dumps(one) + "\n" for one in rows))
    return folder / name


# ---- there and back --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", [form for form in FORMS if form != "ms_swift_rejected_video"])
def test_an_export_that_comes_back_to_its_own_studio_makes_no_pair_anew(form, home, opened):
    database = opened(home)
    before = look(database, pairs.counts).total
    folder = exported(database, home, form)
    n = look(database, datasets.get, 1).n_pairs
    result = imported(database, home, folder)
    assert (result["read"], result["imported"], result["skipped"]) == (n, 0, n)
    assert look(database, pairs.counts).total == before
    reasons = {reason.split(":")[0] for card in look(database, imports.listing) for _, reason in card.skipped}
    assert reasons == {"it is here already"}


def test_without_the_sidecar_its_texts_are_known_all_the_same(home, opened):
    database = opened(home)
    folder = exported(database, home, "ms_swift")
    result = imported(database, home, f"{folder}/train.jsonl")
    (home.exports / "demo-1-ms_swift" / "provenance.jsonl").unlink()
    assert imported(database, home, f"{folder}/train.jsonl") | {"imports": [1]} == result and not result["imported"]


@pytest.mark.parametrize("form", ["trl", "hub"])
def test_in_another_studio_with_the_same_videos_every_pair_comes_back_whole(form, home, other, opened):
    here, there = opened(home), opened(other)
    folder = exported(here, home, form)
    result = imported(there, other, folder)
    n = look(here, datasets.get, 1).n_pairs
    assert (result["imported"], result["whole"], result["skipped"]) == (n, n, 0)
    back = {card.uid: card for card in cards(there)}
    for card in cards(here):
        if card.status == "accepted":
            assert [getattr(back[card.uid], name) for name in FIELDS] == [getattr(card, name) for name in FIELDS]
            assert back[card.uid].status == "pending" and back[card.uid].from_clean.model == card.from_clean.model


def test_a_rejected_video_is_rendered_for_both_orders_and_the_pair_comes_back_with_its_answer(home, other, opened):
    here, there = opened(home), opened(other)
    with here.session() as session:
        me = people.local(session)
        datasets.freeze(session, me, "few", PairFilter(magnitudes=(4,), kinds=("reverse",)), held_out_share=0.0)
    done = did(export, here, home, payloads.ExportPayload(2, "ms_swift_rejected_video"))
    assert done["pairs"] == 2 and done["left_out"] == 0
    rows = lines_of(f"{done['folder']}/train.jsonl")
    names = {row[key][0] for row in rows for key in ("videos", "rejected_videos")}
    assert len(names) == 4
    assert all((home.exports / "few-1-ms_swift_rejected_video" / name).stat().st_size > 1000 for name in names)
    assert imported(there, other, done["folder"])["whole"] == 2
    assert {card.final_rejected for card in cards(there)} <= {card.final_rejected for card in cards(here)}


def test_a_video_that_changed_or_went_is_left_out_of_the_bundle_by_name(home, opened, tmp_path):
    database = opened(home)
    shutil.copytree(home.media / "drawn", tmp_path / "moved")
    with database.session() as session:
        library = videos.library(session, tmp_path / "moved")
        for video_id, name, _, times in videos.scanned(session):
            videos.record(session, library, name, videos.value(session, video_id), times, {})
    with (tmp_path / "moved" / "drawn-0.mp4").open("ab") as file:
        file.write(b"more")
    (tmp_path / "moved" / "drawn-1.mp4").unlink()
    done = did(export, database, home, payloads.ExportPayload(1, "hub", licence="cc-by-4.0", videos_from="Drawn."))
    assert done["pairs"] == 0
    assert set(done["reasons"]) == {"its video is not the one that was scanned",
                                    "its video is not where it was last seen"}  # fmt: skip
    card = (home.exports / "demo-1-hub" / "README.md").read_text()
    assert "cc-by-4.0" in card and "Drawn." in card and "| made or imported |" in card


def test_a_reviewer_is_a_number_outside_the_studio(home, opened):
    database = opened(home)
    name = look(database, people.listing)[0].name
    folder = exported(database, home, "trl")
    lines = lines_of(f"{folder}/provenance.jsonl")
    assert {line["reviewer"] for line in lines} == {"1"} and name not in {
        str(v) for line in lines for v in line.values()
    }
    assert sorted({line["bulk"] for line in lines}) == [False, True] and sum(line["edited"] for line in lines) == 1


# ---- pairs of other tools --------------------------------------------------------------------------------------------
def test_a_foreign_pair_waits_for_review_and_can_be_accepted_frozen_and_trained_as_a_level_of_its_own(
    other, opened, tmp_path
):
    database = opened(other)
    result = imported(database, other, foreign(tmp_path, {}, {"score": 5}))
    assert (result["read"], result["imported"], result["whole"], result["skipped"]) == (2, 2, 0, 0)
    first, second = cards(database)
    assert (first.kind, first.magnitude, first.difficulty, first.plan) == ("imported", None, None, None)
    assert (first.status, first.input, first.level) == ("pending", "imported", None)
    assert {verdict.name for verdict in first.verdicts} >= {"nearly_identical", "repetition", "refusal"}
    origin = look(database, imports.origin, second.id)
    assert (origin.name, origin.line, origin.origin["extra"]) == ("pairs.jsonl", 2, {"score": 5})
    with database.session() as session:
        me = people.local(session)
        assert pairs.facets(session, PairFilter(kinds=("imported",))).models
        shown = desk_data.described(session, other, [first.id], lambda room, number: f"/{room}/{number}")[0]
        assert shown["kind"] == "imported" and shown["order"] == list(range(len(shown["ranges"])))
        assert bulk.decide(session, me, PairFilter(input="imported"), "accepted", token="all").n == 2
        version = datasets.freeze(session, me, "foreign", held_out_share=0.0)
        frozen = datasets.items(session, version)
    assert {item.pair.level for item in frozen} == {None} and all(item.pair.clip_key_frames for item in frozen)
    config = replace(PRESETS["embedded"], recipe="dpo", pairs_per_step=2, micro_batch=2)
    plan = look(database, starting.preview, version, config)
    assert {place.pair_id for place in plan.planned} == {first.id, second.id}
    assert {place.level for place in plan.planned} == {None}


def test_what_is_skipped_is_counted_and_named_line_by_line(other, opened, tmp_path):
    database = opened(other)
    path = foreign(
        tmp_path, {}, {"chosen": "red circle rises. blue ring falls. 0."}, {"video": "http://x/drawn-0.mp4"},
        {"video": "../drawn-0.mp4"}, {"video": "/etc/drawn-0.mp4"}, {"video": "file:drawn-0.mp4"},
        {"video": "gone.mp4"}, {"chosen": "a <video>"}, {"chosen": ""}, {"video": "drawn-1"},
    )  # fmt: skip
    result = imported(database, other, path, skip_missing=True)
    assert (result["read"], result["imported"], result["skipped"]) == (10, 2, 8)
    (card,) = look(database, imports.listing)
    assert card.n_read == card.n_imported + len(card.skipped) and card.done
    said = dict(card.skipped)
    assert said[2] == "the same as line 1" and "media tag" in said[8] and "empty" in said[9]
    assert all("is no path below the library" in said[line] for line in (3, 4, 5, 6))
    assert "no video of the library is called gone.mp4" in said[7]
    assert imported(database, other, path, skip_missing=True)["imported"] == 0


def test_a_video_that_is_not_in_the_library_refuses_the_file_before_anything_is_written(other, opened, tmp_path):
    database = opened(other)
    with pytest.raises(Unknown, match=r"1 videos are not in the library.*gone\.mp4.*Nothing was imported.*--skip"):
        imported(database, other, foreign(tmp_path, {}, {"video": "gone.mp4"}))
    with pytest.raises(BadFile, match="holds no record"):
        imported(database, other, foreign(tmp_path))
    assert look(database, imports.listing) == [] and look(database, pairs.counts).total == 0


def test_bytes_decide_where_a_folder_is_named_and_a_link_out_of_it_is_not_followed(other, made_once, opened, tmp_path):
    database, folder = opened(other), tmp_path / "files"
    folder.mkdir()
    shutil.copy(made_once.media / "drawn" / "drawn-1.mp4", folder / "drawn-0.mp4")
    (folder / "link.mp4").symlink_to(made_once.media / "drawn" / "drawn-0.mp4")
    (folder / "unknown.mp4").write_bytes(b"other bytes")
    path = foreign(tmp_path, {"video": "drawn-0.mp4"}, {"video": "link.mp4"}, {"video": "unknown.mp4"})
    assert imported(database, other, path, videos=str(folder), skip_missing=True)["imported"] == 1
    assert [card.video_name for card in cards(database)] == ["drawn-1.mp4"]
    said = dict(look(database, imports.listing)[0].skipped)
    assert "no file link.mp4 below the folder" in said[2] and "has its bytes" in said[3]


def test_two_videos_of_one_name_are_asked_about_and_never_guessed(other, opened, tmp_path):
    database = opened(other)
    with database.session() as session:
        library = videos.library(session, tmp_path)
        value = videos.value(session, 2)
        videos.record(session, library, "deep/drawn-0.mp4", value, "t", {})
    path = foreign(tmp_path, {"video": "drawn-0.mp4"}, {"video": "deep/drawn-0.mp4"}, {"video": "x/drawn-0.mp4"})
    result = imported(database, other, path, skip_missing=True)
    assert result["imported"] == 2
    assert "2 videos of the library are called x/drawn-0.mp4" in look(database, imports.listing)[0].skipped[0][1]


def test_a_withdrawn_video_and_a_pair_that_a_rule_refuses_do_not_enter_the_queue(other, opened, tmp_path):
    database = opened(other)
    with database.session() as session:
        videos.withdraw(session, people.local(session), 2, "no licence")
    path = foreign(tmp_path, {"video": "drawn-1.mp4"}, {"chosen": "I cannot see the video, blue ring falls."})
    result = imported(database, other, path)
    assert (result["imported"], result["refused_by_a_rule"], result["skipped"]) == (1, 1, 1)
    assert [card.status for card in cards(database)] == ["filtered"]
    assert look(database, imports.listing)[0].skipped == ((1, "its video was withdrawn"),)


def test_an_import_that_was_interrupted_goes_on_and_doubles_nothing(other, opened, tmp_path):
    database = opened(other)
    path = foreign(tmp_path, *[{"chosen": f"red circle rises. blue ring falls. {n}."} for n in range(450)])
    me = look(database, people.local)
    files = pair_imports.read_through(database, path, form=None, folder=None, skip_missing=False)

    def stop(progress):
        if progress.done >= 200:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        pair_imports.import_files(database, me, files, stop, None)
    (halfway,) = look(database, imports.listing)
    assert not halfway.done and halfway.n_imported == 200
    (result,) = pair_imports.import_files(database, me, files, lambda progress: None, None)
    (card,) = look(database, imports.listing)
    assert (card.n_read, card.n_imported, card.skipped) == (450, 450, ()) and card.done
    assert (result.n_read, result.kept.n) == (450, 450) and look(database, pairs.counts).total == 450


def test_what_a_sidecar_claims_and_this_studio_does_not_have_comes_without_it(home, other, opened):
    here, there = opened(home), opened(other)
    folder = home.exports / "demo-1-ms_swift"
    exported(here, home, "ms_swift")
    lines = lines_of(folder / "provenance.jsonl")
    lies = [{"timeline_sha256": "e" * 64}, {"order": [0, 0]}, {"order": [99]}, {"kind": "explode"}]
    changed = [line | lie for line, lie in zip(lines, lies, strict=False)] + lines[len(lies) :]
    (folder / "provenance.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed))
    result = imported(there, other, folder)
    assert result["imported"] - result["whole"] == len(lies)
    kinds = [card.kind for card in cards(there) if card.plan is None]
    assert kinds == ["imported"] * len(lies)


def test_only_an_admin_may_import(other, opened, tmp_path):
    database = opened(other)
    with database.session() as session:
        ada = people.add(session, "test|ada", "Ada", "reviewer")
        with pytest.raises(NotAllowed):
            imports.begin(session, ada, "hub", "pairs.jsonl", "a" * 64)


def test_a_dry_run_of_the_command_says_what_would_come_and_writes_nothing(other, opened, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TEMPO_HOME", str(other.root))
    path = foreign(tmp_path, {}, {"video": "gone.mp4"})
    assert main(["import", str(path), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "pairs.jsonl (hub): 2 read, 1 would be imported, 1 skipped" in out and "line 2: no video of" in out
    assert look(opened(other), imports.listing) == []
    assert main(["import", str(tmp_path / "none")]) == 2
    assert "does not exist on this machine" in capsys.readouterr().err
