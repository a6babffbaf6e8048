"""Files of pairs from elsewhere: known by their keys, read within limits, and refused or skipped by name."""

from __future__ import annotations

import json
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_exports import AWKWARD, PROVENANCE, RENDERED, VERSION, pair

from tempo_core.exchange import FORMS, READERS, Unreadable, records
from tempo_core.exchange.reading import Found, NotKnown, files_of, found, recognised
from tempo_core.exchange.records import BadFile
from tempo_core.exchange.sidecar import BadProvenance

TEXTS = {"prompt": "What happens?", "chosen": "A ball rises.", "rejected": "A ball falls."}
OURS = tuple(FORMS)
WHOLE = replace(PROVENANCE, model_sha256="c" * 64, timeline_sha256="d" * 64, aliases=(8, 16), attempt=1)


def awkward_pairs():
    """Two clips only, quotes, newlines, other scripts, and answers as long as they may be."""
    some = [
        pair(i, chosen=text, rejected=text[::-1][:19_999] + "!", provenance=WHOLE) for i, text in enumerate(AWKWARD)
    ]
    long = pair(90, chosen="a" * 20_000, rejected="b" * 20_000, provenance=WHOLE)
    two = replace(WHOLE, n_clips=2)
    return [*some[:3], *some[4:], long, pair(91, kind="shuffle", order=(1, 0), provenance=two, split="held_out")]


def written(folder, name, *some, text=None):
    path = folder / name
    path.write_text("".join(json.dumps(one) + "\n" for one in some) if text is None else text, encoding="utf-8")
    return path


def read_all(path, form=None):
    return list(found(path, READERS[form or recognised(path, READERS)]))


def exported(form, pairs, folder):
    FORMS[form].write(pairs, VERSION, folder, video_root=Path("/data/films"))
    return [one for path in files_of(folder) for one in read_all(path)]


# ---- there and back --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", OURS)
def test_what_a_bundle_holds_comes_back_equal_with_all_that_is_known_of_it(form, tmp_path):
    pairs = awkward_pairs()
    back = exported(form, pairs, tmp_path / "out")
    assert [one.reason for one in back] == [""] * len(pairs)
    by_uid = {one.returned.uid: one for one in back}
    for p in pairs:
        one, told = by_uid[p.uid].pair, by_uid[p.uid].returned
        assert (one.prompt, one.chosen, one.rejected) == (p.prompt, p.chosen, p.rejected)
        assert (told.video_sha256, told.kind, told.magnitude, told.order) == (p.video_sha256, p.kind, 4, p.order)
        assert (told.difficulty, told.split, told.seed) == (p.difficulty, p.split, p.provenance.seed)
        assert (told.model, told.model_sha256, told.input) == ("tiny", "c" * 64, "captions")
        assert (told.timeline_sha256, told.n_clips, told.law) == ("d" * 64, p.provenance.n_clips, "tempo")
        assert (told.aliases, told.attempt, told.sampling) == ((8, 16), 1, {"temperature": 0.7, "top_p": None})
        assert (told.filters, told.edited, told.bulk, told.reviewer) == (PROVENANCE.filters, True, False, "r1")


@pytest.mark.parametrize("form", [form for form in OURS if form not in ("hub", "ms_swift_rejected_video")])
def test_without_its_sidecar_a_bundle_is_a_file_of_any_other_tool(form, tmp_path):
    exported(form, awkward_pairs(), tmp_path / "out")
    (tmp_path / "out" / "provenance.jsonl").unlink()
    back = [one for path in files_of(tmp_path / "out") for one in read_all(path)]
    assert {one.returned for one in back} == {None} and not any(one.reason for one in back)
    assert {one.pair.video for one in back} == {f"a/{p.video.name}" for p in awkward_pairs()}


def test_the_same_answer_about_two_videos_is_no_pair_here_unless_our_own_sidecar_tells_the_other_answer(tmp_path):
    back = exported("ms_swift_rejected_video", [pair(1)], tmp_path / "out")
    assert back[0].pair.rejected == pair(1).rejected
    (tmp_path / "out" / "provenance.jsonl").unlink()
    (one,) = read_all(tmp_path / "out" / "train.jsonl")
    assert one.pair is None and "differ in their video" in one.reason


def test_two_plans_that_led_to_the_same_answers_come_back_as_two_pairs(tmp_path):
    back = exported("ms_swift", [pair(1, magnitude=2), pair(2, magnitude=8)], tmp_path / "out")
    assert [(one.returned.uid, one.returned.magnitude) for one in back] == [("p-000001", 2), ("p-000002", 8)]


GOLDEN = {
    "ms_swift": '{"messages": [{"role": "user", "content": "<video>Tell it."}, {"role": "assistant", "content": '
    '"Up, \\"then\\"\\ndown."}], "rejected_response": "下。", "videos": ["films/7.mp4"], "channel": "l2"}',
    "ms_swift_rejected_video": '{"messages": [{"role": "user", "content": "<video>Tell it."}, {"role": "assistant", '
    '"content": "Up, \\"then\\"\\ndown."}], "videos": ["clips/test_exports.py"], "rejected_messages": [{"role": '
    '"user", "content": "<video>Tell it."}, {"role": "assistant", "content": "Up, \\"then\\"\\ndown."}], '
    '"rejected_videos": ["clips/test_llava.py"]}',
    "trl": '{"images": [], "videos": ["films/7.mp4"], "prompt": [{"role": "user", "content": [{"type": "video"}, '
    '{"type": "text", "text": "Tell it."}]}], "chosen": [{"role": "assistant", "content": [{"type": "text", "text": '
    '"Up, \\"then\\"\\ndown."}]}], "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "下。"}]}]}',
    "llama_factory": '{"conversations": [{"from": "human", "value": "<video>Tell it."}], "chosen": {"from": "gpt", '
    '"value": "Up, \\"then\\"\\ndown."}, "rejected": {"from": "gpt", "value": "下。"}, "videos": ["films/7.mp4"]}',
}


@pytest.mark.parametrize("form", GOLDEN)
def test_three_fixed_pairs_give_these_bytes(form, tmp_path):
    one = pair(7, prompt="Tell it.", chosen='Up, "then"\ndown.', rejected="下。", video=Path("/data/films/7.mp4"))
    three = [replace(one, uid=f"p-{i}", video=Path(f"/data/films/{i}.mp4")) for i in (7, 8, 9)]
    FORMS[form].write(three, VERSION, tmp_path / "out", video_root=Path("/data"))
    lines = [GOLDEN[form].replace("films/7", f"films/{i}") for i in (7, 8, 9)]
    name, content = ("pairs.json", "[\n" + ",\n".join(lines) + "\n]\n") if form == "llama_factory" else (
        "train.jsonl", "\n".join(lines) + "\n")  # fmt: skip
    assert (tmp_path / "out" / name).read_bytes() == content.encode()


def test_a_rejected_video_needs_rendered_clips_and_brings_them(tmp_path):
    done = FORMS["ms_swift_rejected_video"].write([pair(0), pair(1, clips=None)], VERSION, tmp_path / "out")
    assert [(one.uid, one.reason) for one in done.skipped] == [
        ("p-000001", "no plan, so there is no perturbed video to render")
    ]
    assert (tmp_path / "out" / "clips" / RENDERED[1].name).read_bytes() == RENDERED[1].read_bytes()
    record = json.loads((tmp_path / "out" / "train.jsonl").read_text())
    assert record["videos"] != record["rejected_videos"] and record["messages"] == record["rejected_messages"]


def test_llama_factory_finds_both_files_and_the_columns_that_are_objects(tmp_path):
    FORMS["llama_factory"].write([pair(0), pair(1, split="held_out")], VERSION, tmp_path / "out")
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert {name: one["file_name"] for name, one in info.items()} == {
        "tempo_pairs": "pairs.json", "tempo_pairs_held_out": "held_out.json",
    }  # fmt: skip
    assert info["tempo_pairs"]["ranking"] is True and info["tempo_pairs"]["formatting"] == "sharegpt"
    (row,) = json.loads((tmp_path / "out" / "pairs.json").read_text())
    assert set(info["tempo_pairs"]["columns"].values()) == set(row)
    assert "--cutoff_len 16384" in (tmp_path / "out" / "README.md").read_text()


def test_what_the_job_found_wrong_with_a_file_is_told(tmp_path):
    done = FORMS["trl"].write([pair(0), pair(1, fault="its video is gone")], VERSION, tmp_path / "out")
    assert [(one.uid, one.reason) for one in done.skipped] == [("p-000001", "its video is gone")]


# ---- known by its keys -----------------------------------------------------------------------------------------------
def answer(text):
    return [{"role": "assistant", "content": text}]


KNOWN = {
    "ms_swift": {"messages": [{"role": "user", "content": "<video>What happens?"}, *answer("A ball rises.")],
                 "rejected_response": "A ball falls.", "videos": ["a.mp4"]},
    "llama_factory": {"conversations": [{"from": "human", "value": "<video>What happens?"}],
                      "chosen": {"from": "gpt", "value": "A ball rises."},
                      "rejected": {"from": "gpt", "value": "A ball falls."}, "videos": ["a.mp4"]},
    "trl": {"videos": ["a.mp4"], "prompt": [{"role": "user", "content": "What happens?"}],
            "chosen": answer("A ball rises."), "rejected": answer("A ball falls.")},
    "rrpo": {"question": "<image>\nWhat happens?", "answer": "A ball rises.", "pred": "A ball falls.",
             "answer_masked": "A ball <MASK>rises</MASK>.", "pred_masked": "A ball ...", "video": "a.mp4"},
    "hound": {"id": "1", "video": "a.mp4", **TEXTS, "prompt": "<video>\nWhat happens?", "chosen_score": 5},
    "hub": {"video": "a.mp4", "question": "What happens?", "chosen": "A ball rises.", "rejected": "A ball falls."},
}  # fmt: skip


@pytest.mark.parametrize("form", KNOWN)
def test_each_form_is_known_by_its_keys_and_gives_the_same_pair(form, tmp_path):
    path = written(tmp_path, "pairs.jsonl", KNOWN[form])
    assert recognised(path, READERS) == form
    (one,) = read_all(path)
    assert (one.pair.video, one.pair.prompt) == ("a.mp4", "What happens?")
    assert (one.pair.chosen, one.pair.rejected) == ("A ball rises.", "A ball falls.")


def test_what_a_file_says_besides_is_kept_apart_and_masks_are_not(tmp_path):
    (one,) = read_all(written(tmp_path, "a.jsonl", KNOWN["hound"]))
    assert one.pair.extra == {"id": "1", "chosen_score": 5}
    (one,) = read_all(written(tmp_path, "b.jsonl", KNOWN["rrpo"]))
    assert one.pair.extra == {}


def test_a_second_rejected_answer_is_a_second_pair(tmp_path):
    two = read_all(written(tmp_path, "a.jsonl", KNOWN["hound"] | {"rejected_2": "A cube falls."}))
    assert [one.pair.rejected for one in two] == ["A ball falls.", "A cube falls."]


REFUSED = {
    "text only": {"prompt": [{"role": "user", "content": "?"}], "chosen": answer("a"), "rejected": answer("b")},
    "about pictures": {"images": ["0.jpg"], "prompt": [{"role": "user", "content": [{"type": "image"}]}],
                       "chosen": answer("a"), "rejected": answer("b")},
    "no form has the keys": {"instruction": "a", "output": "b"},
    "fit ms_swift and ms_swift_rejected_video": {"messages": [], "rejected_messages": [], "rejected_response": ""},
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_a_file_of_no_form_or_of_two_is_refused_by_name_and_never_guessed(why, tmp_path):
    with pytest.raises(NotKnown, match=why):
        recognised(written(tmp_path, "pairs.jsonl", REFUSED[why]), READERS)


def test_the_shared_samples_load_or_are_refused_as_documented():
    folder = Path(os.environ.get("TEMPO_TEST_DATA") or "/nowhere") / "formats"
    if not folder.is_dir():
        pytest.skip("TEMPO_TEST_DATA names no folder with formats/")
    came, refused = {}, {}
    for path in sorted(folder.iterdir()):
        try:
            form = recognised(path, READERS)
            came[path.name] = form, [one.reason or one.pair.video for one in found(path, READERS[form])]
        except (NotKnown, BadFile) as error:
            refused[path.name] = str(error)
    video = ["clips/hound_sample_msrvtt.mp4"]
    assert came.pop("ms_swift_dpo_rejected_video.jsonl")[1][0].startswith("both sides have the same answer")
    assert came == {
        "hf_flat.jsonl": ("hub", video), "llamafactory_dpo.json": ("llama_factory", video),
        "llava_hound_dpo.jsonl": ("hound", ["video0"]), "ms_swift_dpo.jsonl": ("ms_swift", video),
        "rrpo.json": ("rrpo", video), "trl_preference_video_custom_collator.jsonl": ("trl", video),
    }  # fmt: skip
    assert "text only" in refused["openrlhf_dpo.jsonl"] and "pictures" in refused["trl_preference_frames.jsonl"]
    assert set(refused) == {"openrlhf_dpo.jsonl", "trl_preference_frames.jsonl", "llamafactory_dataset_info.json"}


# ---- hostile files ---------------------------------------------------------------------------------------------------
GOOD = json.dumps(KNOWN["hub"])
BAD_LINES = {
    "it is no JSON": '{"video": "a.mp4", "question"',
    "NaN is no number of JSON": '{"video": "a.mp4", "score": NaN}',
    "it is no JSON object": '["a.mp4"]',
    "nested too deeply": "[" * 100_000,
    "not a text": '{"video": "a.mp4", "question": 1, "chosen": "a", "rejected": "b"}',
    "half a character": '{"video": "a.mp4", "question": "a", "chosen": "\\ud800", "rejected": "b"}',
    "20,001 characters": json.dumps(KNOWN["hub"] | {"chosen": "a" * 20_001}),
    "media tag": json.dumps(KNOWN["hub"] | {"chosen": "a <video> b"}),
    "a text is empty": json.dumps(KNOWN["hub"] | {"rejected": " "}),
    "are the same": json.dumps(KNOWN["hub"] | {"rejected": "A ball rises. "}),
    "2 entries": json.dumps(KNOWN["hub"] | {"video": ["a.mp4", "b.mp4"]}),
    "longer than": '{"video": "' + "a" * 1_000_001 + '"}',
}


@pytest.mark.parametrize("why", BAD_LINES)
def test_a_bad_line_is_skipped_with_its_number_and_reason_and_the_file_is_read_on(why, tmp_path):
    path = written(tmp_path, "pairs.jsonl", text=f"{GOOD}\n\n{BAD_LINES[why]}\n{GOOD}\n")
    lines = read_all(path)
    assert [one.line for one in lines] == [1, 3, 4] and why in lines[1].reason
    assert lines[0].pair == lines[2].pair and lines[1].pair is None


@pytest.mark.parametrize("value", ['"\\ud800"', "1e999", '"\\u0000"'])
def test_a_remark_that_no_database_holds_is_left_off_and_its_pair_kept(value, tmp_path):
    line = f'"prompt": "a", "chosen": "b", "rejected": "c", "video": "a.mp4", "score": {value}, "id": 7'
    (read,) = read_all(written(tmp_path, "foreign.jsonl", text=f"{{{line}}}"))
    assert read.pair.chosen == "b" and read.pair.extra == {"id": 7}


def test_bytes_that_are_no_text_a_byte_order_mark_and_other_line_ends_are_read_past(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n\xff\xfe\r\n" + GOOD.encode())
    lines = read_all(path)
    assert [bool(one.pair) for one in lines] == [True, False, True] and "no UTF-8" in lines[1].reason


def test_a_line_of_hundreds_of_megabytes_is_never_held_in_memory(tmp_path):
    path = written(tmp_path, "pairs.jsonl", text=GOOD + "\n")
    with path.open("r+b") as file:
        file.seek(1 << 28)
        file.write(b"\n" + GOOD.encode())
    tracemalloc.start()
    lines = read_all(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [one.line for one in lines] == [1, 2, 3] and "longer than" in lines[1].reason
    assert most < 20_000_000


BAD_LISTS = {
    "it ends before its list does": f"[{GOOD},",
    "no JSON": f"[{GOOD}, {{]",
    "stands where ',' must": f"[{GOOD} {GOOD}]",
    "NaN is no number": '[{"video": NaN}]',
    "longer than": '[{"video": "' + "a" * 1_200_000 + '"}]',
}


@pytest.mark.parametrize("why", BAD_LISTS)
def test_a_list_that_breaks_off_is_refused_whole_with_the_place(why, tmp_path):
    with pytest.raises(BadFile, match=f"record|beginning.*{why}") as refusal:
        list(records.records(written(tmp_path, "pairs.json", text=BAD_LISTS[why])))
    assert why in str(refusal.value) and "nothing of it was imported" in str(refusal.value)


def test_a_list_is_read_however_its_records_lie(tmp_path):
    text = "\ufeff [\r\n" + " ,\n".join([json.dumps(KNOWN["hub"], indent=2)] * 300 + ["7"]) + "]\n"
    lines = read_all(written(tmp_path, "pairs.json", text=text))
    assert [one.line for one in lines] == list(range(1, 302))
    assert sum(one.pair is not None for one in lines) == 300 and lines[-1].reason == "it is no JSON object"


def test_more_records_than_are_taken_are_refused(tmp_path):
    path = written(tmp_path, "pairs.jsonl", text="{}\n" * 200_001)
    with pytest.raises(BadFile, match="more than 200,000 records"):
        list(records.records(path))
    assert len(list(records.records(path, limit=3))) == 3


def test_parquet_of_others_is_read_and_a_broken_one_refused(tmp_path):
    pq.write_table(pa.Table.from_pylist([KNOWN["hub"] | {"seen": None}, KNOWN["hub"]]), tmp_path / "a.parquet")
    assert [one.pair.video for one in read_all(tmp_path / "a.parquet")] == ["a.mp4", "a.mp4"]
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"\0" * 100)
    with pytest.raises(BadFile, match="no parquet file"):
        read_all(tmp_path / "a.parquet", "hub")


def test_parts_that_arrow_filled_with_nothing_do_not_hide_the_question(tmp_path):
    """Arrow gives every part every key, so a path inside the video's part puts a None into the text's."""
    parts = [{"type": "video", "video": "a.mp4"}, {"type": "text", "text": "What happens?"}]
    record = KNOWN["trl"] | {"prompt": [{"role": "user", "content": parts}]}
    pq.write_table(pa.Table.from_pylist([record | {"videos": None}]), tmp_path / "a.parquet")
    (one,) = read_all(tmp_path / "a.parquet")
    assert (one.pair.video, one.pair.prompt) == ("a.mp4", "What happens?")
    assert not any("video" in part.keys() - {"type"} for part in FORMS["trl"].record(pair())["prompt"][0]["content"])


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "type", "text", "video"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
KEYS = sorted({key for record in KNOWN.values() for key in record} | {"rejected_messages", "images", "rejected_2"})


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), ANY, max_size=8))
def test_no_record_whatever_it_holds_ends_in_another_error(record):
    for reader in READERS.values():
        reader.fits(record)
        try:
            reader.read(record)
        except Unreadable as reason:
            assert str(reason)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "../../etc"), ("magnitude", 1), ("difficulty", float("nan")), ("order", [0, -1]), ("seed", 2**63),
        ("filters", '[{"name": "x"}]'), ("sampling", "7"), ("video_sha256", "abc"), ("edited", "yes"), ("pair_id", ""),
        ("order", ["0"]), ("split", "test"), ("source_model", "m" * 301), ("n_clips", True),
    ],
)  # fmt: skip
def test_a_sidecar_that_no_export_wrote_is_refused_with_its_value(name, value, tmp_path):
    exported("ms_swift", [pair(0)], tmp_path / "out")
    place = tmp_path / "out" / "provenance.jsonl"
    place.write_text(json.dumps(json.loads(place.read_text()) | {name: value}) + "\n")
    if value != value:
        place.write_text(place.read_text().replace("NaN", "1e999"))
    with pytest.raises(BadProvenance, match=f"line 1: {name} is "):
        read_all(tmp_path / "out" / "train.jsonl")


def test_a_sidecar_of_other_records_tells_nothing(tmp_path):
    exported("ms_swift", [pair(0)], tmp_path / "out")
    other = written(tmp_path / "out", "train.jsonl", KNOWN["ms_swift"])
    assert [one.returned for one in read_all(other)] == [None]


def test_a_folder_without_pairs_says_what_is_looked_for(tmp_path):
    with pytest.raises(NotKnown, match="holds no file of pairs"):
        files_of(tmp_path)
    with pytest.raises(NotKnown, match="does not exist"):
        files_of(tmp_path / "no")
    assert files_of(written(tmp_path, "x.jsonl", KNOWN["hub"])) == [tmp_path / "x.jsonl"]
    written(tmp_path, "provenance.jsonl", {})
    assert files_of(tmp_path) == [tmp_path / "x.jsonl"]


def test_a_found_pair_and_a_reason_are_never_both_there(tmp_path):
    for one in read_all(written(tmp_path, "p.jsonl", KNOWN["hub"], {"video": 1}, KNOWN["hub"])):
        assert isinstance(one, Found) and (one.pair is None) == bool(one.reason)
