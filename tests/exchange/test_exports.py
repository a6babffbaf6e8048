"""What leaves the studio: readable by the trainers' own loader, complete or absent, and nothing lost in silence."""

import errno
import hashlib
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tempo_core.errors import FolderTaken, NoSpace
from tempo_core.exchange import FORMATS, READERS, ExportPair, Provenance, Version, ms_swift
from tempo_core.exchange.base import bundle, write_file
from tempo_core.types import FilterVerdict

VERSION = Version("demo", 3, "c0ffee" * 10, videos_from="Drawn by the studio itself.")
FILTERS = (FilterVerdict("drop_longer", True, 12.0, "The chosen answer is longer."),)
PROVENANCE = Provenance(
    model="tiny", input="captions", n_clips=4, seed=2**62, law="tempo", sampling={"temperature": 0.7, "top_p": None},
    filters=FILTERS, reviewer="r1", edited=True,
)  # fmt: skip
AWKWARD = [
    "He said \"go\", then\nleft.\tEnd \\n",
    "=HYPERLINK(\"http://x\")",
    "红圆上升，然后蓝环下落。 \u2028 😀 \x1f \ufeff",
    "a" * 20_000,
    "'; DROP TABLE pair; --",
    "--- \nlicense: mit\n---",
]  # fmt: skip


RENDERED = Path(__file__), Path(__file__).with_name("test_llava.py")
"""Two files that are there, in place of the rendered clips."""
DATA = {"llama_factory": "*.json", "hub": "*.parquet"}
NO_DATA = ("provenance", "manifest", "dataset_info")


def pair(i=0, **changes):
    values = ExportPair(
        uid=f"p-{i:06}", video=Path(f"/data/films/a/{i}.mp4"), video_sha256="ab" * 32,
        prompt="Tell what happens, in order.", chosen="red circle rises, then blue ring falls.",
        rejected="blue ring falls, then red circle rises.", kind="reverse", magnitude=4, difficulty=0.857, level=2,
        order=(2, 3, 0, 1), split="train", provenance=PROVENANCE, clips=RENDERED,
    )  # fmt: skip
    return replace(values, **changes)


def version_of_pairs():
    imported = {"kind": "imported", "magnitude": None, "difficulty": None, "level": None, "order": None}
    return [
        pair(0, **imported, provenance=Provenance(n_clips=None)),
        pair(1),
        pair(2, kind="drop", magnitude=2, order=(1, 3), level=4),
        pair(3, split="held_out"),
        *(pair(4 + i, chosen=text, rejected=text[::-1][:19_999] + "!") for i, text in enumerate(AWKWARD)),
    ]


def load(form, folder, tmp_path):
    """The splits as the trainers' loader gives them."""
    datasets = pytest.importorskip("datasets")
    cache = str(tmp_path / "cache")
    if form == "hub":
        return dict(datasets.load_dataset(str(folder), cache_dir=cache))
    found = {path.stem: str(path) for path in folder.glob(DATA.get(form, "*.jsonl")) if path.stem not in NO_DATA}
    files = {name.replace("pairs", "train"): path for name, path in found.items()}
    return dict(datasets.load_dataset("json", data_files=files, cache_dir=cache))


def texts(form, row):
    """(prompt, chosen, rejected, video) of a row; a rejected video's rejected answer stands in the sidecar only."""
    row = {name: value for name, value in row.items() if value is not None}
    if form == "hub":
        return row["question"], row["chosen"], row["rejected"], row["video"]
    (read,) = READERS[form].read(row)
    return read.prompt, read.chosen, read.rejected, read.video


def told(form, p):
    if form == "ms_swift_rejected_video":
        return p.prompt, p.chosen, p.chosen, f"clips/{RENDERED[0].name}"
    return p.prompt, p.chosen, p.rejected, f"a/{p.video.name}"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_loads_and_gives_the_pairs_back_word_by_word(form, tmp_path):
    pairs = version_of_pairs()
    exported = FORMATS[form](pairs, VERSION, tmp_path / "out", video_root=Path("/data/films"))
    assert (exported.n_pairs, exported.skipped) == (len(pairs), ())
    rows = load(form, tmp_path / "out", tmp_path)
    assert {split: len(some) for split, some in rows.items()} == {"train": len(pairs) - 1, "held_out": 1}
    for split, some in rows.items():
        wanted = [told(form, p) for p in pairs if p.split == split]
        assert [texts(form, row) for row in some] == wanted


def test_the_hub_rows_hold_the_provenance_in_typed_columns(tmp_path):
    FORMATS["hub"](version_of_pairs(), VERSION, tmp_path / "out")
    rows = load("hub", tmp_path / "out", tmp_path)["train"]
    assert rows[0]["magnitude"] is None and rows[0]["order"] is None and rows[0]["level"] == "imported"
    row = rows[1]
    assert (row["kind"], row["magnitude"], row["difficulty"], row["level"]) == ("reverse", 4, 0.857, "l2")
    assert (row["order"], row["seed"], row["edited"], row["bulk"]) == ([2, 3, 0, 1], 2**62, True, False)
    assert json.loads(row["sampling"]) == {"temperature": 0.7, "top_p": None}
    assert json.loads(row["filters"])[0]["name"] == "drop_longer"


def test_a_pair_without_values_first_does_not_fix_the_types_of_fifteen_megabytes_of_others(tmp_path):
    pairs = [pair(0, magnitude=None, difficulty=None, order=None, provenance=Provenance())]
    pairs += [pair(i, chosen=f"event {i} " * 500) for i in range(1, 3_000)]
    for form in ("ms_swift", "trl", "hub"):
        FORMATS[form](pairs, VERSION, tmp_path / form)
        assert len(load(form, tmp_path / form, tmp_path)["train"]) == 3_000


def test_a_line_for_ms_swift_is_the_documented_one(tmp_path):
    ms_swift.write([pair(7)], VERSION, tmp_path / "out", video_root=Path("/data"))
    assert (tmp_path / "out" / "train.jsonl").read_text() == (
        '{"messages": [{"role": "user", "content": "<video>Tell what happens, in order."}, '
        '{"role": "assistant", "content": "red circle rises, then blue ring falls."}], '
        '"rejected_response": "blue ring falls, then red circle rises.", '
        '"videos": ["films/a/7.mp4"], "channel": "l2"}\n'
    )


def test_ms_swift_reads_the_same_keys_as_in_the_shared_sample(tmp_path):
    data = os.environ.get("TEMPO_TEST_DATA")
    sample = Path(data or "/nowhere") / "formats" / "ms_swift_dpo.jsonl"
    if not sample.is_file():
        pytest.skip("TEMPO_TEST_DATA names no folder with formats/ms_swift_dpo.jsonl")
    wanted = json.loads(sample.read_text().splitlines()[0])
    ours = ms_swift.record(pair())
    assert list(wanted) == list(ours)[: len(wanted)]
    assert [list(message) for message in wanted["messages"]] == [list(message) for message in ours["messages"]]


def test_the_provenance_of_each_line_is_found_by_its_hash(tmp_path):
    ms_swift.write(version_of_pairs(), VERSION, tmp_path / "out")
    lines = [
        line
        for name in ("train", "held_out")
        for line in (tmp_path / "out" / f"{name}.jsonl").read_bytes().split(b"\n")
    ]
    sidecar = [json.loads(line) for line in (tmp_path / "out" / "provenance.jsonl").read_bytes().splitlines()]
    digests = {hashlib.sha256(line).hexdigest() for line in lines if line}
    assert {one["record_sha256"] for one in sidecar} == digests and len(digests) == 10
    assert next(one for one in sidecar if one["pair_id"] == "p-000001")["order"] == [2, 3, 0, 1]


def test_videos_laid_beside_the_parquet_do_not_make_a_video_folder_of_it(tmp_path):
    """With `metadata.jsonl`, or parquet in the root, the loader would drop every column and decode videos."""
    FORMATS["hub"]([pair(0)], VERSION, tmp_path / "out")
    (tmp_path / "out" / "clips").mkdir()
    (tmp_path / "out" / "clips" / "0.mp4").write_bytes(b"a video")
    assert load("hub", tmp_path / "out", tmp_path)["train"][0]["question"] == pair(0).prompt
    assert not list((tmp_path / "out").rglob("metadata.jsonl"))


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "hub"])
def test_the_readme_says_how_many_rows_the_trainer_must_show(form, tmp_path):
    FORMATS[form]([pair(i) for i in range(7)] + [pair(8, split="held_out")], VERSION, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "7 training pairs, 1 held out" in text and ("must show 7 rows" in text or "must say 7 pairs" in text)


USELESS = [
    ("a text is empty", {"rejected": " \n"}),
    ("chosen and rejected are the same", {"chosen": "A dog. ", "rejected": "A dog."}),
    ("a text is no valid Unicode", {"chosen": "half \ud800 of a character"}),
    ("the video lies outside the video folder", {"video": Path("/etc/passwd")}),
    ("the video lies outside the video folder", {"video": Path("../../secret.mp4")}),
    ("split 'test' is neither train nor held_out", {"split": "test"}),
]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("reason", "changes"), USELESS)
def test_what_a_trainer_would_drop_is_left_out_with_a_reason(form, reason, changes, tmp_path):
    exported = FORMATS[form]([pair(0), pair(1, **changes)], VERSION, tmp_path / "out", video_root=Path("/data/films"))
    assert exported.n_pairs == 1
    assert [(one.uid, one.reason) for one in exported.skipped] == [("p-000001", reason)]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["n_pairs"] + len(manifest["skipped"]) == 2


@pytest.mark.parametrize("tag", ["<video>", "<image>", "</VIDEO>", "< mask >"])
def test_media_tags_in_answers_are_left_out_where_they_would_be_counted(tag, tmp_path):
    broken = pair(1, chosen=f"A {tag} of a dog.")
    counted = {form: write([pair(0), broken], VERSION, tmp_path / form).n_pairs for form, write in FORMATS.items()}
    assert counted.pop("hub") == 2 and set(counted.values()) == {1}


def test_paths_are_relative_to_the_folder_that_holds_all_videos(tmp_path):
    pairs = [pair(0, video=Path("/home/ada/films/a/x.mp4")), pair(1, video=Path("/home/ada/films/b/c/y.mp4"))]
    ms_swift.write(pairs, VERSION, tmp_path / "out")
    text = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert "ada" not in text and '"a/x.mp4"' in text and '"b/c/y.mp4"' in text


@pytest.mark.parametrize("form", FORMATS)
def test_the_manifest_lists_the_hash_of_every_file(form, tmp_path):
    folder = tmp_path / "out"
    exported = FORMATS[form](version_of_pairs(), VERSION, folder)
    on_disk = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert set(exported.files) == set(on_disk)
    assert all(hashlib.sha256(on_disk[name].read_bytes()).hexdigest() == sha for name, sha in exported.files.items())


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_version_gives_the_same_bytes_and_replaces_the_export_before(form, tmp_path):
    first = FORMATS[form](version_of_pairs(), VERSION, tmp_path / "out").files
    (tmp_path / "out" / "stale.txt").write_text("from an earlier export")
    assert FORMATS[form](version_of_pairs(), VERSION, tmp_path / "out").files == first
    assert not (tmp_path / "out" / "stale.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing is left beside it"


@pytest.mark.parametrize("form", FORMATS)
def test_a_folder_with_other_things_is_not_touched(form, tmp_path):
    (tmp_path / "thesis.tex").write_text("ten years")
    with pytest.raises(FolderTaken, match="no export"):
        FORMATS[form](version_of_pairs(), VERSION, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_version_without_usable_pairs_is_written_and_says_so(form, tmp_path):
    exported = FORMATS[form]([pair(0, chosen="")], VERSION, tmp_path / "out")
    assert (exported.n_pairs, len(exported.skipped)) == (0, 1)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["by_split"] == {"train": 0, "held_out": 0}


def test_an_export_that_fails_midway_leaves_the_one_before(tmp_path):
    ms_swift.write([pair(0)], VERSION, tmp_path / "out")
    before = (tmp_path / "out" / "train.jsonl").read_bytes()
    with pytest.raises(ZeroDivisionError), bundle(tmp_path / "out") as partial:
        write_file(partial / "train.jsonl", b"half")
        raise ZeroDivisionError
    assert (tmp_path / "out" / "train.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_export_killed_between_its_renames_is_put_back(tmp_path):
    ms_swift.write([pair(0)], VERSION, tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / ".out.old")
    with pytest.raises(ZeroDivisionError), bundle(tmp_path / "out"):
        raise ZeroDivisionError
    assert (tmp_path / "out" / "train.jsonl").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told_with_the_way_out():
    with pytest.raises(NoSpace, match="nothing was exported") as told:
        write_file(Path("/dev/full"), b"x")
    assert told.value.__cause__.errno == errno.ENOSPC


@pytest.mark.parametrize("form", FORMATS)
def test_on_a_full_disk_nothing_is_begun_and_the_export_before_stays(form, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        before = FORMATS[form]([pair(0)], VERSION, disk / "out").files
        rows = [pair(i, chosen=hashlib.sha256(b"%d" % i).hexdigest() * 8) for i in range(1000)]
        with pytest.raises(NoSpace):
            FORMATS[form](rows, VERSION, disk / "out")
        assert {p.name for p in disk.iterdir()} == {"out"}
        assert hashlib.sha256((disk / "out" / "manifest.json").read_bytes()).hexdigest() == before["manifest.json"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_card_is_valid_yaml_whatever_people_typed(tmp_path):
    yaml = pytest.importorskip("yaml")
    rude = replace(VERSION, name='x"\n---\nlicense: mit # | `rm`', licence="cc-by-4.0")
    FORMATS["hub"](version_of_pairs(), rude, tmp_path / "out")
    _, header, body = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    found = yaml.safe_load(header)
    assert found["license"] == "cc-by-4.0" and found["pretty_name"] == rude.name
    assert found["task_categories"] == ["video-text-to-text"] and found["size_categories"] == ["n<1K"]
    assert [one["split"] for one in found["configs"][0]["data_files"]] == ["train", "held_out"]
    assert "`rm`" not in body


def test_the_card_counts_pairs_by_kind_level_and_split(tmp_path):
    FORMATS["hub"](version_of_pairs(), VERSION, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    for line in ("| drop | l4 | 1 | 0 |", "| imported | imported | 1 | 0 |", "| reverse | l2 | 7 | 1 |"):
        assert line in text
    assert f"`{VERSION.content_sha256}`" in text and "Drawn by the studio itself." in text
    assert "10 accepted by 1 reviewer, 0 of them in bulk, 9 after editing." in text


def test_what_samples_showed_stands_on_the_card_and_in_the_manifest(tmp_path):
    said = "drop, level 1, tiny: at most 4.3 % bad, 95 %, 180 of 9,400 read"
    FORMATS["hub"](version_of_pairs(), replace(VERSION, stated=(said,)), tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "Accepted unread on the strength of a blind sample each" in text and "180 of 9,400 read" in text
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["version"]["stated"] == [said]
    FORMATS["hub"](version_of_pairs(), VERSION, tmp_path / "none")
    assert "unread" not in (tmp_path / "none" / "README.md").read_text()
