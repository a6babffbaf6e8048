"""A folder that moved: files are known by their bytes, and only their places change."""

import hashlib
import shutil
from fractions import Fraction

import pytest

from db import pairs, places, videos
from db.places import NothingFound, Relinked
from db.tables import VideoRow
from tempo_core.types import Video

pytestmark = pytest.mark.long_on_postgres


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def library(shelf, tmp_path):
    """Three videos in a folder, one in a subfolder; each of other bytes, two of one size."""
    root = tmp_path / "old"
    for name, text in {"a.mp4": "aaaa", "b.mp4": "bbbb", "sub/c.mp4": "cc"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        add(shelf, root, name)
    return root


def add(shelf, root, name):
    path = root / name
    value = Video(sha256(path), path, Fraction(24), 400, 13.0, 64, 48)
    with shelf.database.session() as session:
        return videos.record(session, videos.library(session, root), name, value, "t" * 64, {})


def relink(shelf, old, new):
    wanted = shelf.look(places.lost, old)
    done = Relinked()
    for file, found, done.n_hashed in places.matches(wanted, new, sha256):
        if found is None:
            done.missing.append(file)
        else:
            done.found[file] = found
    shelf.do(places.relink, old, new, done)
    return done


def where(shelf, video_id):
    return shelf.look(videos.path_of, video_id)


def test_a_folder_that_moved_as_a_whole_is_the_same_library_elsewhere(shelf, library, tmp_path):
    new = tmp_path / "new"
    library.rename(new)
    (folder,) = shelf.look(places.folders)
    assert (folder.there, folder.n_files, folder.n_missing) == (False, 3, 3)
    assert folder.examples == ("a.mp4", "b.mp4", "sub/c.mp4")
    done = relink(shelf, library, new)
    assert (len(done.found), done.missing, done.n_hashed) == (3, [], 3)
    assert [where(shelf, i) for i in (1, 2, 3)] == [new / "a.mp4", new / "b.mp4", new / "sub/c.mp4"]
    (folder,) = shelf.look(places.folders)
    assert (folder.root, folder.n_missing) == (new, 0)


def test_renamed_and_rearranged_files_are_found_by_their_bytes(shelf, library, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    for before, now in (("a.mp4", "first.mp4"), ("b.mp4", "a.mp4"), ("sub/c.mp4", "deep/er/c.mp4")):
        (new / now).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(library / before, new / now)
    shutil.rmtree(library)
    relink(shelf, library, new)
    assert [where(shelf, i) for i in (1, 2, 3)] == [new / "first.mp4", new / "a.mp4", new / "deep/er/c.mp4"]


def test_a_partial_move_leaves_the_others_where_they_are(shelf, library, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    shutil.move(library / "b.mp4", new / "b.mp4")
    done = relink(shelf, library, new)
    assert [file.rel_path for file in done.found] == ["b.mp4"]
    assert [where(shelf, i) for i in (1, 2, 3)] == [library / "a.mp4", new / "b.mp4", library / "sub/c.mp4"]
    assert [(f.root, f.n_files, f.n_missing) for f in shelf.look(places.folders)] == [(library, 2, 0), (new, 1, 0)]


def test_a_folder_that_went_to_two_places_is_found_in_two_steps(shelf, library, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    shutil.move(library / "a.mp4", one / "a.mp4")
    shutil.move(library / "b.mp4", two / "b.mp4")
    shutil.rmtree(library)
    first = relink(shelf, library, one)
    assert [file.rel_path for file in first.missing] == ["b.mp4", "sub/c.mp4"]
    second = relink(shelf, one, two)
    assert [file.rel_path for file in second.missing] == ["sub/c.mp4"]
    assert (where(shelf, 1), where(shelf, 2)) == (one / "a.mp4", two / "b.mp4")


def test_a_folder_without_these_bytes_is_refused_and_nothing_changes(shelf, library, tmp_path):
    wrong, moved = tmp_path / "wrong", tmp_path / "moved"
    wrong.mkdir()
    (wrong / "a.mp4").write_text("AAAA")
    library.rename(moved)
    with pytest.raises(NothingFound, match="None of the 3 missing files"):
        relink(shelf, library, wrong)
    assert [(f.root, f.n_missing) for f in shelf.look(places.folders)] == [(library, 3)]


def test_nothing_missing_and_a_folder_nobody_scanned_are_said(shelf, library, tmp_path):
    with pytest.raises(NothingFound, match="all 3 files that were seen are there"):
        relink(shelf, library, tmp_path)
    with pytest.raises(NothingFound, match=f"No video was seen in {tmp_path}/never.*{library}"):
        relink(shelf, tmp_path / "never", tmp_path)


def test_a_video_that_a_scan_gave_up_comes_back_and_a_withdrawn_one_stays_withdrawn(shelf, library, tmp_path, me):
    new = tmp_path / "new"
    library.rename(new)
    library_id = shelf.do(videos.library, library)
    shelf.do(videos.withdraw, me, 2, "licence")
    shelf.do(videos.mark_absent, library_id, ["sub/c.mp4"])
    assert [shelf.look(videos.get, i).status for i in (1, 2, 3)] == ["missing", "quarantine", "ok"]
    relink(shelf, library, new)
    assert [shelf.look(videos.get, i).status for i in (1, 2, 3)] == ["ok", "quarantine", "ok"]
    assert where(shelf, 1) == new / "a.mp4"


def test_a_withdrawn_video_moves_with_its_folder_and_is_usable_when_given_back(shelf, library, tmp_path, me):
    shelf.do(videos.withdraw, me, 1, "licence")
    library.rename(tmp_path / "new")
    relink(shelf, library, tmp_path / "new")
    assert shelf.look(videos.get, 1).reason == "withdrawn"
    assert shelf.do(videos.give_back, me, 1) == "ok"
    assert where(shelf, 1) == tmp_path / "new" / "a.mp4"


def test_pairs_of_moved_videos_keep_working(shelf, tmp_path):
    before = shelf.folder
    (pair_id,) = shelf.pairs(1, "a")
    with shelf.database.session() as session:
        session.get_one(VideoRow, 1).sha256 = sha256(before / "a.mp4")
    before.rename(tmp_path / "moved")
    relink(shelf, before, tmp_path / "moved")
    card = shelf.look(pairs.get, pair_id)
    assert where(shelf, card.video_id) == tmp_path / "moved" / "a.mp4"


def test_a_file_is_read_once_however_many_look_for_its_size(shelf, library, tmp_path):
    new, read = tmp_path / "new", []
    library.rename(new)
    for n in range(5):
        (new / f"other{n}.mp4").write_text("xxxx")

    def counting(path):
        read.append(path)
        return sha256(path)

    found = list(places.matches(shelf.look(places.lost, library), new, counting))
    assert all(path for _, path, _ in found)
    assert len(read) == len(set(read)) == 3
