"""A frame number is a place in the decoded list, whatever the container says."""

from fractions import Fraction

import av
import imageio_ffmpeg
import numpy as np
import pytest

from tempo_core import media, scan
from tempo_core.errors import FrameTimesChanged, MediaError
from tests.videos import ffmpeg, number_of, write_cards


def all_frames(path):
    return [media.picture(frame) for frame in media.decode(path)]


@pytest.mark.parametrize("fixture", ["cards", "variable_rate", "edit_listed", "late_stream"])
def test_frames_by_number_equal_the_full_decode_and_their_neighbours_differ(fixture, request, tmp_path):
    path = request.getfixturevalue(fixture)
    stored = scan.load_measures(scan.scan(path, tmp_path).measures_path)
    full = all_frames(path)
    assert len(full) == stored.n_frames
    numbers = [stored.n_frames - 1, 3, 70, 71, 0, 33, 3]
    got = media.frames(path, numbers, stored.pts, stored.time_base)
    for number, image in zip(numbers, got, strict=True):
        assert np.array_equal(image, full[number])
        other = full[number + 1 if number + 1 < len(full) else number - 1]
        assert not np.array_equal(image, other)


def test_the_drawn_number_is_the_frame_number(cards):
    assert [number_of(image) for image in all_frames(cards)] == list(range(210))


def test_an_edit_list_hides_frames_and_the_decoded_list_counts(edit_listed, tmp_path):
    stored = scan.load_measures(scan.scan(edit_listed, tmp_path).measures_path)
    first = number_of(media.frames(edit_listed, [0], stored.pts, stored.time_base)[0])
    assert first == 39 and stored.n_frames == 210 - 39


def test_changed_times_are_an_error_and_never_a_shifted_frame(cards, tmp_path):
    stored = scan.load_measures(scan.scan(cards, tmp_path).measures_path)
    with pytest.raises(FrameTimesChanged, match="no longer at the time"):
        media.frames(cards, [20], stored.pts + 1, stored.time_base)
    with pytest.raises(FrameTimesChanged, match="counts its times"):
        media.frames(cards, [20], stored.pts, stored.time_base / 2)
    with pytest.raises(ValueError, match="210 frames"):
        media.frames(cards, [210], stored.pts, stored.time_base)


def test_no_numbers_give_no_frames(cards):
    assert media.frames(cards, [], np.array([0, 1]), Fraction(1, 30)).shape == (0, 0, 0, 3)


def test_frames_shrink_to_the_long_side_and_never_grow(cards, tmp_path):
    stored = scan.load_measures(scan.scan(cards, tmp_path).measures_path)
    assert media.frames(cards, [0], stored.pts, stored.time_base, long_side=48).shape == (1, 36, 48, 3)
    assert media.frames(cards, [0], stored.pts, stored.time_base, long_side=900).shape == (1, 240, 320, 3)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_rotation_turns_as_ffmpeg_turns_it(degrees, cards, tmp_path):
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", str(degrees), "-i", cards, "-c", "copy", turned)
    ours = all_frames(turned)[5]
    theirs = _read_by_ffmpeg(turned, ours.shape[1::-1])[5]
    assert np.abs(ours.astype(int) - theirs).mean() < 4
    assert np.abs(np.rot90(ours, 2).astype(int) - theirs).mean() > 20


def _read_by_ffmpeg(path, size):
    reader = imageio_ffmpeg.read_frames(str(path))
    assert next(reader)["size"] == size
    return [np.frombuffer(image, np.uint8).reshape(size[1], size[0], 3) for image in reader]


def test_packets_and_key_frames_are_counted_without_decoding(cards):
    index = media.index(cards)
    assert (index.n_packets, index.gop_max, len(index.key_pts)) == (210, 30, 7)
    assert (index.codec, index.container.split(",")[0], index.width) == ("h264", "mov", 320)


def test_limits_hold_before_anything_is_decoded(cards):
    for limits, code in (
        (media.MediaLimits(max_packets=209), "too_many_frames"),
        (media.MediaLimits(max_duration_s=6.9), "too_long"),
        (media.MediaLimits(max_pixels=320 * 240 - 1), "too_many_pixels"),
    ):
        with pytest.raises(MediaError) as error:
            media.index(cards, limits)
        assert error.value.code == code
    media.index(cards, media.MediaLimits(max_packets=210, max_duration_s=7.0, max_pixels=320 * 240))


def test_the_times_hash_sees_times_and_their_unit():
    pts = np.arange(10)
    same = media.times_sha256(pts, Fraction(1, 30))
    assert media.times_sha256(pts.astype(np.int32), Fraction(1, 30)) == same
    assert media.times_sha256(pts + 1, Fraction(1, 30)) != same
    assert media.times_sha256(pts, Fraction(1, 25)) != same


def test_the_list_of_formats_is_what_keeps_a_playlist_from_reading_other_files(cards, tmp_path):
    """The control: with the list of protocols alone, a text named .mp4 opens and reads another file."""
    (tmp_path / "other.mp4").write_bytes(cards.read_bytes())
    trick = tmp_path / "trick.mp4"
    trick.write_text("ffconcat version 1.0\nfile other.mp4\n")
    with av.open(str(trick), options={"protocol_whitelist": "file"}) as container:
        assert sum(1 for _ in container.decode(video=0)) == 210
    with pytest.raises(MediaError) as error, media.open_video(trick):
        pass
    assert error.value.code == "container"


def test_a_rate_of_30000_over_1001_is_kept_exactly(tmp_path):
    path = tmp_path / "ntsc.mp4"
    write_cards(path, ((0, 30), (1, 30)), fps=Fraction(30000, 1001))
    result = scan.scan(path, tmp_path)
    assert result.video.fps == Fraction(30000, 1001)
    assert result.video.duration_s == pytest.approx(60 * 1001 / 30000, abs=1e-6)
