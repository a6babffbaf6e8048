"""Video features on disk: nothing stale, nothing half, never over the budget, and never the end of a training."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import shutil
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from tempo_core import video_llms
from tempo_core.prompts import PROMPT_SETS
from tempo_core.training import backbone, tensor_file  # noqa: F401  the first registers `attention="tree"`
from tempo_core.training.features import FeatureCache, Uses, tower_key, video_key
from tempo_core.types import Question, Video
from tempo_core.video_llms import FAMILIES
from tests.checkpoints import folder_of, frames  # noqa: F401

TOWER, OTHER_TOWER = "a" * 64, "b" * 64
META = {"video_grid_thw": torch.tensor([[4, 6, 8]]), "second_per_grid_ts": torch.tensor([0.5])}
ROOM = 4
"""Videos that fit into the budget of `cache`."""


def key(number: int) -> str:
    return f"{number:064x}"


def encoded(seed: int = 0) -> dict[str, torch.Tensor]:
    values = torch.randn(2, 48, 64, generator=torch.Generator().manual_seed(seed)).bfloat16()
    return {"features": values[0], "deepstack.0": values[1]}


def cache(folder: Path, tower: str = TOWER, *, n_videos: int = ROOM, **options) -> FeatureCache:
    size = tensor_file.size({**encoded(), **META})
    return FeatureCache(folder, tower, budget_bytes=n_videos * size, free_bytes=0, **options)


def stored(folder: Path, tower: str = TOWER) -> set[int]:
    return {int(file.stem, 16) for file in (folder / tower).glob("*.safetensors")}


# --- what goes in comes out ----------------------------------------------------------------------------------


def test_a_stored_video_comes_back_bit_by_bit_in_its_own_number_type(tmp_path):
    cache(tmp_path).put(key(1), encoded(), META)
    found = cache(tmp_path).get(key(1))
    assert found.tensors.keys() == {"features", "deepstack.0"}
    assert found.meta.keys() == META.keys()
    for name, tensor in encoded().items():
        assert found.tensors[name].dtype == torch.bfloat16
        assert torch.equal(found.tensors[name], tensor)
    assert all(torch.equal(found.meta[name], tensor) for name, tensor in META.items())


def test_views_and_tensors_without_elements_or_dimensions_are_stored_too(tmp_path):
    whole = torch.arange(24.0).reshape(4, 6)
    odd = {"features": whole.T[1:3], "empty": torch.zeros(0, 8), "scalar": torch.tensor(3)}
    store = FeatureCache(tmp_path, TOWER, budget_bytes=10**6, free_bytes=0)
    store.put(key(1), odd, {})
    assert all(torch.equal(store.get(key(1)).tensors[name], tensor) for name, tensor in odd.items())


def test_hits_and_misses_are_counted(tmp_path):
    store = cache(tmp_path)
    assert store.get(key(1)) is None
    store.put(key(1), encoded(), META)
    store.get(key(1))
    store.get(key(1))
    assert (store.hits, store.misses) == (2, 1)


def test_a_key_cannot_lead_out_of_the_folder(tmp_path):
    for wrong in ("../" * 21 + "x", "A" * 64, "", key(1) + "/.."):
        with pytest.raises(ValueError, match="no key"):
            cache(tmp_path).get(wrong)
        with pytest.raises(ValueError, match="no key"):
            cache(tmp_path, wrong)


# --- damage --------------------------------------------------------------------------------------------------


def test_a_file_cut_anywhere_is_a_miss_and_is_removed(tmp_path):
    store = cache(tmp_path)
    store.put(key(1), encoded(), META)
    file = tmp_path / TOWER / f"{key(1)}.safetensors"
    content = file.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1]:
        file.write_bytes(content[:length])
        assert store.get(key(1)) is None, length
        assert not file.exists(), length


def test_one_changed_byte_anywhere_is_a_miss_and_is_removed(tmp_path):
    store = cache(tmp_path)
    store.put(key(1), encoded(), META)
    file = tmp_path / TOWER / f"{key(1)}.safetensors"
    content = file.read_bytes()
    start = content.index(b'"__metadata__"')
    n_header = 8 + int.from_bytes(content[:8], "little")
    places = [*range(start, n_header), *random.Random(0).sample(range(n_header, len(content)), 200)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 0x01
        file.write_bytes(changed)
        found = store.get(key(1))
        # A changed blank between entries changes nothing that is read.
        same = found is not None and torch.equal(found.tensors["features"], encoded()["features"])
        assert not file.exists() or (same and content[place : place + 1] == b" "), place


def test_another_videos_file_under_this_name_is_a_miss(tmp_path):
    store = cache(tmp_path)
    store.put(key(1), encoded(), META)
    home = tmp_path / TOWER
    shutil.copy(home / f"{key(1)}.safetensors", home / f"{key(2)}.safetensors")
    assert store.get(key(2)) is None
    assert stored(tmp_path) == {1}


def test_after_damage_the_video_can_be_stored_again(tmp_path):
    store = cache(tmp_path)
    store.put(key(1), encoded(), META)
    (tmp_path / TOWER / f"{key(1)}.safetensors").write_bytes(b"half")
    before = store.n_bytes
    assert store.get(key(1)) is None
    assert store.n_bytes < before
    store.put(key(1), encoded(), META)
    assert store.get(key(1)) is not None


def test_what_a_killed_process_left_is_swept_and_what_is_being_written_stays(tmp_path):
    home = tmp_path / TOWER
    home.mkdir()
    old, young = home / ".tmp-old", home / ".tmp-young"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    two_hours_ago = time.time() - 7200
    os.utime(old, (two_hours_ago, two_hours_ago))
    cache(tmp_path)
    assert not old.exists()
    assert young.exists()


def write_for_ever(folder: Path) -> None:
    while True:
        for number in range(4):
            path = folder / f"{key(number)}.safetensors"
            tensor_file.write(path, {"features": torch.full((300, 300), float(number))})


def test_two_processes_that_write_the_same_files_and_are_killed_leave_whole_files(tmp_path):
    # Forked: two more imports of torch would take longer than everything else here.
    writers = [multiprocessing.get_context("fork").Process(target=write_for_ever, args=(tmp_path,)) for _ in range(2)]
    paths = [tmp_path / f"{key(number)}.safetensors" for number in range(4)]
    n_read = 0
    try:
        for writer in writers:
            writer.start()
        while n_read < 200:
            for number, path in enumerate(paths):
                if path.exists():
                    # What cannot be read would come back as None and be removed.
                    found = tensor_file.read(path)
                    assert found is not None and bool((found["features"] == number).all())
                    n_read += 1
            assert all(writer.is_alive() for writer in writers)
    finally:
        for writer in writers:
            writer.kill()
            writer.join()
    assert all(tensor_file.read(path) is not None for path in paths)


# --- the budget ----------------------------------------------------------------------------------------------


def test_the_folder_never_holds_more_than_the_budget(tmp_path):
    store = cache(tmp_path)
    for number in range(10):
        store.put(key(number), encoded(number), META)
        sizes = [file.stat().st_size for file in tmp_path.rglob("*.safetensors")]
        assert sum(sizes) == store.n_bytes <= ROOM * tensor_file.size({**encoded(), **META})
    assert len(sizes) == ROOM


def test_outside_a_run_the_least_recently_used_leaves(tmp_path):
    store = cache(tmp_path)
    for number in range(ROOM):
        store.put(key(number), encoded(), META)
    store.get(key(0))
    store.put(key(9), encoded(), META)
    assert stored(tmp_path) == {0, 2, 3, 9}


def test_the_use_is_remembered_by_the_next_process(tmp_path):
    store = cache(tmp_path)
    for number in range(ROOM):
        store.put(key(number), encoded(), META)
    store.get(key(0))
    cache(tmp_path).put(key(9), encoded(), META)
    assert stored(tmp_path) == {0, 2, 3, 9}


def test_in_a_run_the_video_with_the_farthest_next_use_leaves(tmp_path):
    next_use = {key(0): 10, key(1): 40, key(2): 20, key(3): 30, key(9): 15}
    store = cache(tmp_path, next_use=next_use.get)
    for number in (*range(ROOM), 9):
        store.put(key(number), encoded(), META)
    assert stored(tmp_path) == {0, 2, 3, 9}


def test_a_video_that_is_never_used_again_leaves_first(tmp_path):
    next_use = {key(0): 10, key(1): 40, key(3): 30, key(9): 15}
    store = cache(tmp_path, next_use=next_use.get)
    for number in (*range(ROOM), 9):
        store.put(key(number), encoded(), META)
    assert stored(tmp_path) == {0, 1, 3, 9}


def test_a_video_used_later_than_all_that_are_stored_does_not_enter_a_full_cache(tmp_path):
    next_use = {key(0): 10, key(1): 40, key(2): 20, key(3): 30, key(9): 50}
    store = cache(tmp_path, next_use=next_use.get)
    for number in (*range(ROOM), 9):
        store.put(key(number), encoded(), META)
    assert stored(tmp_path) == {0, 1, 2, 3}


def test_features_of_another_tower_leave_before_any_that_the_run_still_wants(tmp_path):
    old = cache(tmp_path, OTHER_TOWER)
    for number in range(2):
        old.put(key(number), encoded(), META)
    store = cache(tmp_path, next_use=lambda video_key: 1000 + int(video_key, 16))
    for number in range(ROOM):
        store.put(key(number), encoded(), META)
    assert stored(tmp_path) == {0, 1, 2, 3}
    assert stored(tmp_path, OTHER_TOWER) == set()


def test_the_next_use_is_the_first_after_the_row_that_is_being_made():
    uses = Uses([key(1), key(2), key(1), key(1)])
    assert (uses(key(1)), uses(key(2)), uses(key(3))) == (2, 1, None)
    uses.now = 2
    assert (uses(key(1)), uses(key(2))) == (3, None)


def hits(folder: Path, visits: list[int], *, planned: bool) -> int:
    uses = Uses([key(number) for number in visits])
    store = cache(folder, next_use=uses if planned else None)
    for uses.now, number in enumerate(visits):
        if store.get(key(number)) is None:
            store.put(key(number), encoded(), META)
    return store.hits


def test_a_stage_larger_than_the_budget_finds_videos_again_with_the_plan_and_none_without(tmp_path):
    # Two stages of 6 videos in the same order, room for 4: the last used are always the wrong ones to keep.
    visits = [*range(6), *range(6)]
    assert hits(tmp_path / "lru", visits, planned=False) == 0
    assert hits(tmp_path / "plan", visits, planned=True) == 4


def most_hits(visits: list[int], room: int) -> int:
    """By trying everything: each new video may leave out any other, or itself."""
    reached = {frozenset[int](): 0}
    for number in visits:
        after: dict[frozenset[int], int] = {}
        for kept, n_hits in reached.items():
            ways = [kept] if number in kept or len(kept) == room else []
            ways += [(kept - {old}) | {number} for old in (kept if len(kept) == room else [-1])]
            for way in ways:
                after[way] = max(after.get(way, 0), n_hits + (number in kept))
        reached = after
    return max(reached.values())


@pytest.mark.parametrize("seed", range(8))
def test_no_other_choice_of_what_to_keep_has_more_hits(tmp_path, seed):
    rng = random.Random(seed)
    visits = [rng.randrange(7) for _ in range(18)]
    assert hits(tmp_path, visits, planned=True) == most_hits(visits, ROOM)


def test_a_video_larger_than_the_whole_budget_pushes_nothing_out(tmp_path):
    store = cache(tmp_path)
    store.put(key(1), encoded(), META)
    store.put(key(2), {"features": torch.zeros(10_000, 64)}, META)
    assert stored(tmp_path) == {1}


def test_without_a_budget_nothing_is_stored_and_nobody_is_told(tmp_path):
    notes: list[str] = []
    store = FeatureCache(tmp_path / "features", TOWER, budget_bytes=0, note=notes.append)
    store.put(key(1), encoded(), META)
    assert store.get(key(1)) is None
    assert not (tmp_path / "features").exists()
    assert notes == []


def test_only_our_own_files_are_counted_and_removed(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / TOWER).mkdir()
    mine = [tmp_path / "notes" / f"{key(5)}.safetensors", tmp_path / TOWER / "holiday.safetensors"]
    for file in mine:
        file.write_bytes(bytes(10**6))
    store = cache(tmp_path)
    assert store.n_bytes == 0
    for number in range(2 * ROOM):
        store.put(key(number), encoded(), META)
    assert all(file.exists() for file in mine)


# --- several ranks -------------------------------------------------------------------------------------------


def test_a_rank_reads_what_another_stored_and_does_not_store_it_twice(tmp_path):
    first, second = cache(tmp_path), cache(tmp_path)
    first.put(key(1), encoded(), META)
    file = tmp_path / TOWER / f"{key(1)}.safetensors"
    written = file.stat().st_ino
    second.put(key(1), encoded(), META)
    assert file.stat().st_ino == written
    assert second.get(key(1)) is not None


def test_what_another_rank_evicted_is_a_miss_and_no_error(tmp_path):
    first, second = cache(tmp_path), cache(tmp_path)
    for number in range(ROOM):
        first.put(key(number), encoded(), META)
    shutil.rmtree(tmp_path / TOWER)
    assert first.get(key(0)) is None
    for number in range(4, 4 + ROOM):
        second.put(key(number), encoded(), META)
        first.put(key(number + ROOM), encoded(), META)
    # Each looks at the disk again after a 64th of the budget, here after every video.
    assert len(stored(tmp_path)) <= ROOM + 1


# --- a full disk ---------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk():
    """Every file that grows over 1 MB fails in the middle of its write, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_the_storing_with_one_note_and_leaves_no_half_file(tmp_path, small_disk):
    notes: list[str] = []
    store = FeatureCache(tmp_path, TOWER, budget_bytes=10**9, free_bytes=0, note=notes.append)
    store.put(key(1), encoded(), META)
    for number in (2, 3):
        store.put(key(number), {"features": torch.zeros(1000, 1000)}, META)
    assert [file.name for file in (tmp_path / TOWER).iterdir()] == [f"{key(1)}.safetensors"]
    assert len(notes) == 1
    assert "Training goes on" in notes[0]
    assert store.get(key(1)) is not None, "what was stored can still be read"


def test_the_cache_leaves_the_disk_to_checkpoints_before_it_is_full(tmp_path):
    notes: list[str] = []
    store = FeatureCache(tmp_path, TOWER, budget_bytes=10**9, free_bytes=10**18, note=notes.append)
    store.put(key(1), encoded(), META)
    store.put(key(2), encoded(), META)
    assert stored(tmp_path) == set()
    assert len(notes) == 1
    assert "must stay free" in notes[0]


def test_a_folder_that_cannot_be_made_ends_the_storing_with_one_note(tmp_path):
    (tmp_path / "file").write_text("in the way")
    notes: list[str] = []
    store = FeatureCache(tmp_path / "file", TOWER, budget_bytes=10**9, free_bytes=0, note=notes.append)
    store.put(key(1), encoded(), META)
    assert store.get(key(1)) is None
    assert len(notes) == 1


# --- keys ----------------------------------------------------------------------------------------------------

VIDEO = Video("5" * 64, Path("a.mp4"), Fraction(30), 300, 10.0, 640, 360)
SHOWN = {"times_sha256": "7" * 64, "numbers": (0, 30, 60, 90), "fps": 2.0, "height": 252, "width": 448}


def test_a_video_key_names_exactly_what_the_tower_is_shown():
    first = video_key(VIDEO, **SHOWN)
    others = [video_key(replace(VIDEO, sha256="6" * 64), **SHOWN)]
    changes = {"times_sha256": "8" * 64, "numbers": (0, 30, 90, 60), "fps": 2.5, "height": 224, "width": 400}
    others += [video_key(VIDEO, **{**SHOWN, name: value}) for name, value in changes.items()]
    assert len({first, *others}) == 7
    assert video_key(replace(VIDEO, path=Path("moved.mp4")), **SHOWN) == first


@pytest.fixture
def llm(base):
    return video_llms.load(base, device="cpu", dtype="float32")


def test_the_same_model_loaded_twice_from_two_places_has_one_tower_key(llm, base, tmp_path):
    shutil.copytree(base, tmp_path / "copy")
    assert tower_key(video_llms.load(tmp_path / "copy", device="cpu", dtype="float32")) == tower_key(llm)


def load(folder: Path, **options):
    return video_llms.load(folder, device="cpu", dtype="float32", **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_of_tower_and_projector_change_the_tower_key_and_no_others(family, folder_of):  # noqa: F811
    llm = load(folder_of(family))
    first = tower_key(llm)
    weights = dict(llm.bare_model.named_parameters())
    for part in (*llm.tower_names, "model.language_model", "lm_head"):
        names = [name for name in weights if f"{name}.".startswith(f"{part}.")]
        # The first and the last of each part: a key that reads only some of them would miss one.
        for name in {*names[:1], *names[-1:]}:
            weight = weights[name].data.view(-1)
            kept = weight[-1].clone()
            weight[-1] = torch.nextafter(kept, kept + 1)
            assert (tower_key(llm) != first) == (part in llm.tower_names), name
            weight[-1] = kept
    assert tower_key(llm) == first


@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_features_come_back_from_disk_as_the_tower_gave_them(family, folder_of, tmp_path):  # noqa: F811
    llm = load(folder_of(family))
    pictures = frames(4, size_px=min(llm.long_side or 56, 56))
    given = llm.features(llm.encode(Question(PROMPT_SETS[llm.prompt_set].describe[0], pictures)))
    # How answers are kept apart is the language model's business; the tower is the same.
    store = FeatureCache(tmp_path, tower_key(llm), budget_bytes=10**9, free_bytes=0)
    store.put(key(1), given, META)
    other = load(folder_of(family), attention="tree")
    found = FeatureCache(tmp_path, tower_key(other), budget_bytes=10**9, free_bytes=0).get(key(1))
    assert found.tensors.keys() == given.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in given.items())


def test_processor_number_type_settings_and_library_change_the_tower_key(llm, base, monkeypatch):
    keys = {tower_key(llm), tower_key(video_llms.load(base, device="cpu", dtype="bfloat16"))}
    llm.processor.video_processor.image_mean = [0.5, 0.5, 0.5]
    keys.add(tower_key(llm))
    monkeypatch.setattr(llm, "video_options", {**llm.video_options, "cap_pixels_per_frame": False})
    keys.add(tower_key(llm))
    llm.bare_model.config.vision_config.window_size *= 2
    keys.add(tower_key(llm))
    monkeypatch.setattr(torch, "__version__", "1.13.1")
    keys.add(tower_key(llm))
    assert len(keys) == 6
    monkeypatch.setattr(torch, "__version__", "1.13.2+cpu")
    assert tower_key(llm) in keys
