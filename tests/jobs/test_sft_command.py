"""`python -m jobs sft FILE`: which videos a file of conversations may be about, and that none of them leaks."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from db import bulk, datasets, people, sft_sets, timelines, videos
from db.pair_filters import PairFilter
from jobs import commands, conversations, starting
from jobs.__main__ import main, parser
from jobs.commands import config_of
from jobs.follow import Studio
from tempo_core.errors import DatasetDrift, HeldOutLeak, TooFew, Unknown
from tempo_core.exchange.llava import BadLine
from tempo_core.measures import load_measures
from tempo_core.recipes import PRESETS
from tempo_core.scan import scan
from tempo_core.settings import EMBEDDED_MODEL, Home
from tempo_core.timeline import Richness, judge, timeline_sha256
from tests import studio

N_VIDEOS = 5


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A studio with five videos and their pairs, made once and copied for each test."""
    home = Home(tmp_path_factory.mktemp("filled"))
    studio.fill(home, N_VIDEOS).close()
    return home


@pytest.fixture
def home(filled, monkeypatch):
    """The same place again with its database as it was, since libraries are known by their folder."""
    kept = filled.root / "before.db"
    if not kept.exists():
        shutil.copy(filled.database, kept)
    for name in ("tempo.db", "tempo.db-wal", "tempo.db-shm"):
        (filled.root / name).unlink(missing_ok=True)
    shutil.copy(kept, filled.database)
    monkeypatch.setenv("TEMPO_HOME", str(filled.root))
    return filled


@pytest.fixture
def database(home):
    opened = conversations.Database.open(home.database)
    yield opened
    opened.close()


@pytest.fixture
def person(database):
    with database.reading() as session:
        return people.local(session)


def written(folder: Path, *named: str, turns: int = 1) -> Path:
    """A file of one conversation about each named video."""
    path = folder / "talks.jsonl"
    said = [{"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "A ball rolls."}] * turns
    said = [
        {**text, "value": text["value"].removeprefix("<video>\n") if i else text["value"]}
        for i, text in enumerate(said)
    ]
    lines = [json.dumps({"id": str(i), "video": name, "conversations": said}) for i, name in enumerate(named)]
    path.write_text("\n".join(lines) + "\n")
    return path


def drawn(home: Home, number: int) -> Path:
    return home.media / "drawn" / f"drawn-{number}.mp4"


def frozen(database, person) -> int:
    """A version of all pairs; the ids of its held-out videos are `conversations.held_out_videos`."""
    with database.session() as session:
        bulk.decide(session, person, PairFilter(), "accepted", token="all")
        return datasets.freeze(session, person, "v", held_out_share=0.2)


def test_the_command_makes_a_set_of_questions_with_the_key_frames_of_the_videos(home, database, capsys):
    file = written(home.root, "drawn-0.mp4", "drawn-1.mp4", turns=2)
    assert main(["sft", str(file), "--videos", str(home.media / "drawn"), "--name", "mine"]) == 0

    assert "4 examples about 2 videos" in capsys.readouterr().out
    with database.reading() as session:
        (card,) = sft_sets.listing(session)
        found = sft_sets.items(session, card.id)
        shown = [clip.key_frames for clip in timelines.current(session, 1).timeline]
        sft_sets.verify(session, card.id)
    assert (card.name, card.kind, card.source, card.n_items) == ("mine", "jsonl", str(file.resolve()), 4)
    assert [(e.example_id, e.question, e.answer) for e in found[:2]] == [
        ("0#1.1", "What?", "A ball rolls."),
        ("0#1.2", "What?", "A ball rolls."),
    ]
    assert list(found[0].clip_key_frames) == shown


def test_a_video_is_known_by_its_bytes_wherever_the_file_finds_it(home, database, person, tmp_path):
    shutil.copy(drawn(home, 1), tmp_path / "renamed.mp4")
    done = conversations.import_file(database, person, written(tmp_path, "renamed.mp4", str(drawn(home, 0))))
    with database.reading() as session:
        found = [example.video.sha256 for example in sft_sets.items(session, done.sft_set_id)]
        assert found == [videos.value(session, 2).sha256, videos.value(session, 1).sha256]


def test_a_path_that_leads_to_no_file_is_looked_up_below_the_scanned_folders(home, database, person, tmp_path):
    done = conversations.import_file(database, person, written(tmp_path, "drawn-2.mp4"))
    with database.reading() as session:
        (example,) = sft_sets.items(session, done.sft_set_id)
        assert example.video.path == drawn(home, 2)


def test_videos_that_were_not_scanned_are_named_and_refuse_the_file(home, database, tmp_path, capsys):
    studio.draw(tmp_path / "new.mp4", [20, 20], seed=77)
    file = written(tmp_path, "drawn-0.mp4", "new.mp4", "gone.mp4")
    assert main(["sft", str(file)]) == 2
    error = capsys.readouterr().err
    assert "2 of 3 videos cannot be used (new.mp4: it was not scanned; gone.mp4: there is no such file" in error
    with database.reading() as session:
        assert sft_sets.listing(session) == []

    assert main(["sft", str(file), "--skip-missing"]) == 0
    said = capsys.readouterr().out
    assert "left out new.mp4: it was not scanned" in said
    assert "1 examples about 1 videos, 2 videos left out" in said


def test_a_file_about_unknown_videos_only_is_too_few_even_when_they_may_be_left_out(database, person, tmp_path):
    with pytest.raises(TooFew, match=r"gone\.mp4"):
        conversations.import_file(database, person, written(tmp_path, "gone.mp4"), skip_missing=True)


def test_a_broken_line_imports_nothing(home, database, person, tmp_path):
    file = written(tmp_path, "drawn-0.mp4")
    file.write_text(file.read_text() + '{"video": "drawn-1.mp4"}\n')
    with pytest.raises(BadLine, match="Line 2"):
        conversations.import_file(database, person, file)
    with database.reading() as session:
        assert sft_sets.listing(session) == []


def test_a_video_too_poor_in_events_for_pairs_may_still_be_asked_about(home, database, person, tmp_path):
    studio.draw(tmp_path / "two.mp4", [30, 30], seed=5)
    found = scan(tmp_path / "two.mp4", home.cache)
    judgement = judge(load_measures(found.measures_path), Richness())
    sha256 = timeline_sha256(found.video.sha256, found.times_sha256, judgement.timeline)
    with database.session() as session:
        library_id = videos.library(session, tmp_path)
        video_id = videos.record(session, library_id, "two.mp4", found.video, found.times_sha256, found.probe)
        timelines.record(session, video_id, Richness(), judgement, sha256)
        assert not videos.get(session, video_id).kept
    done = conversations.import_file(database, person, written(tmp_path, "two.mp4"))
    assert (done.n_examples, done.n_videos) == (1, 1)


def test_the_same_file_again_is_the_same_set(home, database, person, tmp_path):
    file = written(tmp_path, "drawn-0.mp4")
    first, second = (conversations.import_file(database, person, file) for _ in range(2))
    assert first.sft_set_id == second.sft_set_id


def test_a_run_refuses_a_set_with_held_out_videos_and_takes_the_set_without_them(home, database, person, tmp_path):
    version_id = frozen(database, person)
    file = written(tmp_path, *(str(drawn(home, number)) for number in range(N_VIDEOS)))
    whole = conversations.import_file(database, person, file).sft_set_id
    config = replace(PRESETS["embedded"], sft_examples_per_step=2)

    def start(sft_set_id: int) -> int:
        return starting.start_run(
            database, person, config, EMBEDDED_MODEL, version_id=version_id, sft_set_id=sft_set_id
        )

    with pytest.raises(HeldOutLeak, match=rf"1 of 5 examples .* --without-held-out {version_id}\)"):
        start(whole)
    clean = conversations.import_file(database, person, file, without_held_out=version_id)
    assert (clean.n_examples, list(clean.left_out.values())) == (4, [f"dataset version {version_id} holds it out"])
    assert start(clean.sft_set_id) == 1


def test_an_unknown_version_or_file_is_refused(home, database, person, tmp_path, capsys):
    with pytest.raises(Unknown, match="version 9"):
        conversations.import_file(database, person, written(tmp_path, "drawn-0.mp4"), without_held_out=9)
    assert main(["sft", "/no/such.jsonl"]) == 2
    assert "/no/such.jsonl is no file" in capsys.readouterr().err


def test_sft_alone_belongs_to_the_newest_version_so_that_its_held_out_videos_stay_held_out(home, database, person):
    given = config_of(parser().parse_args(["train", "--recipe", "sft"]))
    assert commands._newest_version(Studio(home, database, person), given) is None
    version_id = frozen(database, person)
    assert commands._newest_version(Studio(home, database, person), given) == version_id


def test_other_content_is_the_next_version_and_the_same_content_the_one_it_was(home, database, person, tmp_path):
    first = conversations.import_file(database, person, written(tmp_path, "drawn-0.mp4"), name="talks").sft_set_id
    second = conversations.import_file(
        database, person, written(tmp_path, "drawn-0.mp4", "drawn-1.mp4"), name="talks"
    ).sft_set_id
    again = conversations.import_file(database, person, written(tmp_path, "drawn-0.mp4"), name="talks").sft_set_id
    other = conversations.import_file(database, person, written(tmp_path, "drawn-2.mp4"), name="others").sft_set_id
    assert again == first != second
    with database.reading() as session:
        found = {card.id: (card.name, card.number, card.n_items) for card in sft_sets.listing(session)}
    assert found == {first: ("talks", 1, 1), second: ("talks", 2, 2), other: ("others", 1, 1)}


@pytest.mark.parametrize("change", ["UPDATE sft_item SET answer = 'x'", "DELETE FROM sft_item WHERE ordinal = 0"])
def test_a_set_whose_content_changed_is_refused_before_it_trains(home, database, person, tmp_path, change):
    file = written(tmp_path, "drawn-0.mp4", "drawn-1.mp4")
    set_id = conversations.import_file(database, person, file).sft_set_id
    with database.session() as session:
        session.execute(text(change))
    with database.reading() as session, pytest.raises(DatasetDrift, match="Make it again, or restore a backup"):
        sft_sets.verify(session, set_id)


BAD = [
    ("not json", '"not json" is no JSON', "write one whole JSON object on each line"),
    ('{"video": 7, "conversations": []}', "video is 7", "each line names one video file"),
    ('{"video": "drawn-1.mp4", "conversations": "hi"}', 'conversations is "hi"', "a list of questions and answers"),
    ('{"video": "drawn-1.mp4", "conversations": [{"from": "human", "value": "?"}]}', "1 texts", "add the last answer"),
    ('{"image": "a.jpg"}', "it is about an image", "leave this line out"),
]


@pytest.mark.parametrize(("line", "value", "way_out"), BAD)
def test_a_bad_line_is_told_with_its_number_its_value_and_the_way_out(home, tmp_path, capsys, line, value, way_out):
    file = written(tmp_path, "drawn-0.mp4")
    file.write_text(f"{file.read_text()}\n{line}\n")
    assert main(["sft", str(file)]) == 2
    said = capsys.readouterr().err
    for part in ("Line 3: ", value, way_out, "Nothing of the file was imported."):
        assert part in said
