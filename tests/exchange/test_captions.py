"""Captions of data sets: what their files may hold, and to which clip of a timeline each caption belongs."""

from __future__ import annotations

import io
import json

import pytest

from tempo_core.caption_matching import match
from tempo_core.errors import TooFew
from tempo_core.exchange import captions
from tempo_core.exchange.captions import Segment, parse
from tempo_core.exchange.llava import BadLine

ROW = {"video": "a.mp4", "start_s": 0, "end_s": 2.5, "caption": "A red ball rolls."}
RED = Segment(1, "a.mp4", "A red ball rolls.", 0.0, 2.5)
LLAVA = {
    "id": "academic_source/Charades/7",
    "data_source": "0_30_s_academic_v0_1",
    "video": "academic_source/Charades/7.mp4",
    "conversations": [
        {"from": "human", "value": "<image>\nDescribe the video in detail."},
        {"from": "gpt", "value": "The video begins with a man."},
    ],
}


def read(text: str | bytes, **how) -> tuple[Segment, ...]:
    return parse(io.BytesIO(text.encode() if isinstance(text, str) else text), **how)


def test_a_manifest_of_lines_is_read_with_other_columns_passed_over_and_empty_lines_too():
    found = read(f"{json.dumps(ROW | {'score': 3})}\r\n\n" + json.dumps({"video": "b.mp4", "caption": " Grün. "}))
    assert found == (RED, Segment(3, "b.mp4", "Grün."))


def test_a_table_is_read_with_quotes_commas_line_breaks_and_a_mark_at_its_beginning():
    text = '\ufeffvideo,start_s,end_s,caption\na.mp4,0,2.5,A red ball rolls.\nb.mp4,,,"Then, ""softly"",\nit stops."\n'
    assert read(text, is_csv=True) == (
        Segment(2, "a.mp4", "A red ball rolls.", 0.0, 2.5),
        Segment(4, "b.mp4", 'Then, "softly",\nit stops.'),
    )


@pytest.mark.parametrize("as_list", [True, False])
def test_llava_video_178k_is_read_as_a_list_and_as_lines_and_speaks_of_whole_videos(as_list):
    records = [LLAVA, LLAVA | {"video": "b.mp4"}]
    text = json.dumps(records, indent=2) if as_list else "\n".join(map(json.dumps, records))
    assert read(text) == (
        Segment(1, LLAVA["video"], "The video begins with a man."),
        Segment(2, "b.mp4", "The video begins with a man."),
    )


def test_a_long_list_is_read_piece_by_piece(monkeypatch):
    monkeypatch.setattr(captions, "MOST_BYTES", 200)
    text = json.dumps([ROW | {"caption": f"Ünïcode caption {i}."} for i in range(50)], ensure_ascii=False)
    assert [segment.caption for segment in read(text)] == [f"Ünïcode caption {i}." for i in range(50)]


BAD = [
    ("not json", "no JSON", "one whole JSON object on each line"),
    ("[1]", "1 is no object", "write"),
    ("[" + json.dumps(ROW), "the end of the file where ','", "broken off"),
    ("[" + json.dumps(ROW)[:-5], "no JSON", "one JSON list"),
    ("[" + json.dumps(ROW) + "] x", "text after the list", "one JSON list"),
    ("[" + "[" * 100_000, "nested too deeply", "flat"),
    (json.dumps({"caption": "x"}), "video is null", "a text and not empty"),
    (json.dumps({"video": "a", "caption": "  "}), 'caption is "  "', "not empty"),
    (json.dumps({"video": "a", "caption": 7}), "caption is 7", "a text"),
    (json.dumps({"video": "a", "caption": "\ud800"}), "half a character", "write it anew"),
    (json.dumps({"video": "a\0b", "caption": "x"}), "or a zero", "write it anew"),
    (json.dumps({"video": "a", "caption": "x" * 20_001}), "20,001 characters", "20,000 are taken"),
    (json.dumps(ROW | {"end_s": None}), "start_s is 0.0, end_s is None", "give both, or neither"),
    (json.dumps(ROW | {"end_s": 0}), "end_s is 0", "ends after that"),
    (json.dumps(ROW | {"start_s": -1}), "start_s is -1", "begins at 0 or later"),
    (json.dumps(ROW | {"end_s": float("inf")}), "end_s is Infinity", "number of seconds"),
    (json.dumps(ROW | {"end_s": float("nan")}), "end_s is NaN", "number of seconds"),
    (json.dumps(ROW | {"end_s": True}), "end_s is true", "number of seconds"),
    (json.dumps(ROW | {"end_s": "soon"}), 'end_s is "soon"', "number of seconds"),
    (json.dumps(LLAVA | {"conversations": LLAVA["conversations"] * 2}), "a conversation of 4 texts", "jobs sft"),
    (json.dumps(LLAVA | {"conversations": "hello"}), "a conversation of no texts", "one request and one answer"),
    (json.dumps(LLAVA | {"conversations": [1, 2]}), "a conversation of 2 texts", "one request and one answer"),
]


@pytest.mark.parametrize(("text", "value", "rule"), BAD, ids=[value for _, value, _ in BAD])
def test_a_bad_record_refuses_the_file_with_the_value_and_the_rule(text, value, rule):
    with pytest.raises(BadLine) as told:
        read(text)
    assert value in str(told.value) and rule in str(told.value)
    assert str(told.value).startswith("Record ") and len(str(told.value)) < 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("name,caption\na,b\n", "no column video"),
        ("", "no column caption and no column video"),
        ("video,caption\na,b,c\n", "more fields than columns"),
        ('video,caption\na,"' + "x" * 200_000, "no CSV"),
    ],
    ids=["no video", "empty", "too many", "an open quote"],
)
def test_a_bad_table_is_refused(text, value):
    with pytest.raises(BadLine, match=value):
        read(text, is_csv=True)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(BadLine, match="no UTF-8"):
        read(b'{"video": "\xff"}')


@pytest.mark.parametrize("start", [b"", b"["], ids=["a line", "a record of a list"])
def test_a_record_without_an_end_is_not_read_whole(start):
    class Endless(io.RawIOBase):
        """A file of one gigabyte in one line; counts what is taken of it."""

        taken = 0

        def read(self, n=-1):
            n = 1_000_000_000 - self.taken if n < 0 else n
            self.taken += n
            return (start + b'{"video": "' + b"x" * n)[:n] if self.taken <= 2 * n else b"x" * n

        readline = read

        def seek(self, *_):
            self.taken = 0

    stream = Endless()
    with pytest.raises(BadLine):
        parse(stream)
    assert stream.taken < 10_000_000


def test_more_records_than_are_taken_are_refused(monkeypatch):
    monkeypatch.setattr(captions, "MOST_RECORDS", 3)
    assert len(read("\n".join([json.dumps(ROW)] * 3))) == 3
    with pytest.raises(BadLine, match="more than 3 records"):
        read("\n".join([json.dumps(ROW)] * 4))


@pytest.mark.parametrize("text", ["", "\n\n", "[]"])
def test_a_file_without_a_caption_is_too_few(text):
    with pytest.raises(TooFew):
        read(text)


# -- to which clip ----------------------------------------------------------------------------------------------------

CLIPS = [[(0.0, 4.0)], [(4.0, 6.0), (7.0, 9.0)], [(9.0, 20.0)]]
"""Three clips; of the second a dropped shot of a second lies in between."""


def said(start_s: float | None, end_s: float | None, caption: str = "x", line: int = 1) -> Segment:
    return Segment(line, "a.mp4", caption, start_s, end_s)


def test_each_caption_goes_to_the_clip_that_holds_most_of_it():
    matching = match(CLIPS, [said(0.2, 4.4, "first"), said(3.5, 8.5, "second"), said(9.0, 20.0, "third")])
    assert matching.captions == {0: "first", 1: "second", 2: "third"}
    assert matching.unmatched == ()


def test_several_captions_of_a_clip_are_joined_in_the_order_of_time_and_the_same_words_said_once():
    parts = [said(15, 20, "it stops."), said(9, 15, "A ball rolls,"), said(12, 16, "it stops.", line=2)]
    assert match(CLIPS, parts).captions == {2: "A ball rolls, it stops."}


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        (said(25, 30), "outside"),
        (said(6.0, 7.0), "outside"),
        (said(2.0, 11.0), "spread"),
        (said(0.0, 1.9), "corner"),
        (said(None, None), "whole_video"),
    ],
)
def test_what_is_about_no_one_clip_is_left_out_with_the_reason(segment, reason):
    matching = match(CLIPS, [segment])
    assert matching.captions == {}
    assert matching.unmatched == ((segment, reason),)


def test_half_is_enough_on_both_sides():
    assert match([[(0.0, 4.0)], [(4.0, 8.0)]], [said(0, 2)]).captions == {0: "x"}
    assert match([[(0.0, 4.0)], [(4.0, 8.0)]], [said(2, 6)]).captions == {0: "x"}
    assert match([[(0.0, 4.0)], [(4.0, 8.0)]], [said(0, 1.99)]).reasons == {"corner": 1}


def test_captions_that_overlap_cover_a_clip_once():
    twice = [said(0.0, 1.5, "a"), said(0.0, 1.5, "b")]
    assert match(CLIPS, twice).reasons == {"corner": 2}


def test_a_caption_of_a_whole_video_is_the_caption_of_its_only_clip():
    assert match([[(0.0, 4.0)]], [said(None, None, "all of it")]).captions == {0: "all of it"}
