"""`python -m jobs captions FILE`, and pairs that are made of such captions without asking for any."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from db import caption_sets, models, pairs, people, responses, timelines
from db.pair_filters import PairFilter
from db.session import Database
from jobs import caption_files, launch
from jobs.__main__ import main
from jobs.payloads import CaptionsPayload, PairPayload
from jobs.tasks import JobRef, pair
from jobs.tasks import captions as task
from tempo_core.errors import TooFew, Unknown
from tempo_core.settings import EMBEDDED_MODEL, Home
from tests import studio
from tests.answering import MODEL, answering

N_VIDEOS = 2


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("filled"))
    studio.fill(home, N_VIDEOS).close()
    return home


@pytest.fixture
def home(filled, monkeypatch):
    """The same place again with its database as it was."""
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
    opened = Database.open(home.database)
    yield opened
    opened.close()


def clips_of(database, video_id: int) -> list[tuple[float, float]]:
    """When each clip of a drawn video begins and ends; each is one shot there."""
    with database.reading() as session:
        timeline = timelines.current(session, video_id).timeline
    return [(clip.ranges[0][0] / studio.FPS, clip.ranges[-1][1] / studio.FPS) for clip in timeline]


def rows(database, video_id: int, name: str) -> list[dict]:
    """A caption for every clip, in the words of the drawn world."""
    return [
        {"video": name, "start_s": round(start, 3), "end_s": round(end, 3), "caption": f"{studio.ACTS[i % 12]}."}
        for i, (start, end) in enumerate(clips_of(database, video_id))
    ]


def lines(folder: Path, *records: dict) -> Path:
    path = folder / "segments.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n")
    return path


def drawn(home: Home) -> Path:
    return home.media / "drawn"


def test_the_command_keeps_a_caption_for_each_clip_and_tells_what_was_not_used(home, database, tmp_path, capsys):
    given = rows(database, 1, "drawn-0.mp4")
    more = [
        {"video": "drawn-0.mp4", "start_s": 900, "end_s": 901, "caption": "late"},
        {"video": "drawn-1.mp4", "caption": "all of it"},
    ]
    file = lines(tmp_path, *given, *more)
    assert main(["captions", str(file), "--videos", str(drawn(home)), "--name", "mine"]) == 0
    said = capsys.readouterr().out
    assert "1 not used: about a time that is in no clip" in said
    assert "1 not used: about a whole video of several clips" in said and "python -m jobs sft" in said
    assert (
        f"mine, {len(given)} of {len(given) + 2} captions describe {len(given)} clips of 1 videos; of 1 every" in said
    )
    with database.reading() as session:
        (card,) = caption_sets.listing(session)
        timeline = timelines.current(session, 1)
        kept = caption_sets.of_timelines(session, card.id, [timeline.id])
        model = models.get(session, card.id)
    assert kept == {timeline.id: {i: row["caption"] for i, row in enumerate(given)}}
    assert (model.family, model.path, card.n_captions, card.n_timelines) == ("captions", file, len(given), 1)
    assert f"--captions-from {card.id}" in said


def test_a_table_gives_the_same_and_the_same_file_again_is_the_same_set(home, database, tmp_path):
    path = tmp_path / "segments.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["video", "start_s", "end_s", "caption"])
        writer.writeheader()
        writer.writerows(rows(database, 1, "drawn-0.mp4"))
    first, second = (caption_files.read_in(database, home, path, folder=drawn(home)) for _ in range(2))
    assert first == second and first.n_whole == 1
    with database.reading() as session:
        assert caption_sets.get(session, first.set_id).n_captions == first.n_clips
        with pytest.raises(Unknown, match=rf"no set of captions 77; there is {first.set_id} \(segments\)"):
            caption_sets.get(session, 77)


def test_whole_videos_alone_are_refused_with_the_reason_and_the_other_way(home, database, tmp_path):
    talk = [{"from": "human", "value": "<image>\nDescribe."}, {"from": "gpt", "value": "A ball rolls."}]
    path = tmp_path / "cap.json"
    path.write_text(json.dumps([{"id": "1", "video": "drawn-0.mp4", "data_source": "x", "conversations": talk}]))
    with pytest.raises(TooFew, match=r"1 not used: about a whole video of several clips.*python -m jobs sft"):
        caption_files.read_in(database, home, path, folder=drawn(home))
    with database.reading() as session:
        assert caption_sets.listing(session) == []


@pytest.mark.parametrize(
    "name", ["../drawn/drawn-0.mp4", "{folder}/drawn-0.mp4", "https://evil/drawn-0.mp4", "..\\drawn-0.mp4", "link.mp4"]
)
def test_a_name_that_leads_out_of_the_folder_is_not_looked_at(home, database, tmp_path, name):
    (tmp_path / "link.mp4").symlink_to(drawn(home) / "drawn-0.mp4")
    record = rows(database, 1, name.format(folder=drawn(home)))
    with pytest.raises(Unknown, match="its name leads out of the folder of the videos"):
        caption_files.read_in(database, home, lines(tmp_path, *record), folder=tmp_path)


def test_videos_that_were_not_scanned_refuse_the_file_or_are_left_out_by_name(home, database, tmp_path):
    file = lines(tmp_path, *rows(database, 1, "drawn-0.mp4"), {"video": "gone.mp4", "caption": "x"})
    with pytest.raises(Unknown, match=r"1 of 2 videos cannot be used \(gone\.mp4"):
        caption_files.read_in(database, home, file)
    done = caption_files.read_in(database, home, file, skip_missing=True)
    assert list(done.left_out) == ["gone.mp4"] and done.n_whole == 1


def test_the_job_of_the_page_tells_the_same(home, database, tmp_path):
    file = lines(tmp_path, *rows(database, 1, "drawn-0.mp4"), {"video": "gone.mp4", "caption": "x"})
    payload = CaptionsPayload(str(file), str(drawn(home)), "page", skip_missing=True)
    job = JobRef(1, "captions", payload, 1, "t", tmp_path, home)
    result = task.run(database, job, lambda progress: None)
    assert (result["name"], result["left_out"], result["n_whole"]) == ("page", 1, 1)
    assert result["left_out_named"][0].startswith("gone.mp4: ")
    json.dumps(result)


# -- pairs from them --------------------------------------------------------------------------------------------------


def paired(database, home, tmp_path, payload: PairPayload) -> dict:
    """The job in this process."""
    with database.session() as session:
        job_id = caption_job(session, payload)
    return pair.run(database, JobRef(job_id, "pair", payload, 1, "t", tmp_path, home), lambda progress: None)


def caption_job(session, payload: PairPayload) -> int:

    return launch.enqueue_in(session, payload, people.local(session))


def test_only_the_description_is_asked_and_only_of_videos_whose_every_clip_has_a_caption(home, database, tmp_path):
    first, second = rows(database, 1, "drawn-0.mp4"), rows(database, 2, "drawn-1.mp4")
    file = lines(tmp_path, *first, *second[:-1])
    set_id = caption_files.read_in(database, home, file, folder=drawn(home)).set_id
    with answering() as server:
        payload = PairPayload(server=server.url, served_model=MODEL, captions_from=set_id, kinds=("reverse",),
                              magnitudes=(2,), seed=3)  # fmt: skip
        result = paired(database, home, tmp_path, payload)
        asked = [request.content for request in server.questions if request.json["max_tokens"] != 1]
    assert (result["videos"], result["pairs"], result["failed"]) == (1, 1, {})
    assert len(asked) == 2 and all(isinstance(text, str) for text in asked)
    told = [[text.index(row["caption"]) for row in first] for text in asked]
    # Both are on their way at once, so either may come first: one lists the clips in order, the other reversed.
    assert sorted(places == sorted(places) for places in told) == [False, True]
    with database.reading() as session:
        (card,) = [pairs.get(session, line.id) for line in pairs.page(session, PairFilter(model_id=model_of(session)))]
        sha256 = caption_sets.get(session, set_id).sha256
    assert card.from_clean.sampling["captions"] == sha256 and "frames_as" not in card.from_clean.sampling
    assert (card.input, card.video_id) == ("captions", 1)


def model_of(session) -> int:
    return next(card.id for card in models.listing(session) if card.family == "server")


def test_the_embedded_model_describes_from_captions_of_a_file_without_captioning(home, database, tmp_path):
    set_id = caption_files.read_in(database, home, lines(tmp_path, *rows(database, 1, "drawn-0.mp4"))).set_id
    with database.reading() as session:
        before = responses.count(session)
    payload = PairPayload(
        str(EMBEDDED_MODEL), captions_from=set_id, kinds=("reverse",), magnitudes=(2,), max_new_tokens=8
    )
    result = paired(database, home, tmp_path, payload)
    with database.reading() as session:
        assert responses.count(session) == before + 2
        assert {card.id for card in models.listing(session) if card.family == "captions"} == {set_id}
        assert caption_sets.get(session, set_id).n_captions == len(clips_of(database, 1))
    assert result["videos"] == 1


def test_a_set_that_describes_no_video_whole_says_what_is_lacking(home, database, tmp_path):
    set_id = caption_files.read_in(database, home, lines(tmp_path, *rows(database, 1, "drawn-0.mp4")[:3])).set_id
    payload = PairPayload(str(EMBEDDED_MODEL), captions_from=set_id)
    with pytest.raises(TooFew, match="every clip of 0 of 2 kept videos, and some clips of 1 more"):
        paired(database, home, tmp_path, payload)
