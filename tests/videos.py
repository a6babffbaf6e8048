"""Drawn videos for the tests: cards of known scenes with the frame number drawn in as a barcode, and nasty files.

The number survives re-encoding and shrinking by half, so a test can ask which frame it is really looking at.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
N_BITS = 12
COLOURS = ((40, 60, 130), (150, 70, 40), (50, 130, 60), (120, 50, 120), (140, 130, 50), (60, 120, 130), (90, 90, 90))
"""One background per scene; the same scene looks the same whenever it returns."""


def card(scene: int, number: int, size: tuple[int, int] = (320, 240)) -> Picture:
    """A frame of a scene, RGB: its colour and stripes, a slowly moving dot, and `number` as a barcode at the top."""
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    image[:] = COLOURS[scene % len(COLOURS)]
    image[:, :: 8 + 4 * (scene % 3)] += 30
    cv2.circle(image, (width // 4 + number % 60, height // 2), height // 10, (230, 220, 200), -1, cv2.LINE_AA)
    block = width // N_BITS
    for bit in range(N_BITS):
        image[: height // 8, bit * block : (bit + 1) * block] = 235 if number >> bit & 1 else 16
    return image


def number_of(image: Picture) -> int:
    """The frame number drawn into a card, at any size."""
    height, width = image.shape[:2]
    row = image[: max(1, height // 8)][height // 32 : height // 10].mean(axis=(0, 2))
    block = (width // N_BITS) if width >= 300 else width / N_BITS
    return sum(int(row[int((bit + 0.5) * block)] > 125) << bit for bit in range(N_BITS))


def write_cards(
    path: Path,
    scenes: Sequence[tuple[int, int]],
    *,
    fps: Fraction = Fraction(30),
    size: tuple[int, int] = (320, 240),
    stamps_ms: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
) -> list[int]:
    """Write (scene, number of frames) after each other and return the true cuts. `stamps_ms`: a variable rate."""
    settings = {"preset": "ultrafast", "crf": "18", "g": "30", "bf": "2", "sc_threshold": "0", **(options or {})}
    order = [scene for scene, n_frames in scenes for _ in range(n_frames)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=settings)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.thread_count = 1
        if stamps_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, scene in enumerate(order):
            frame = av.VideoFrame.from_ndarray(card(scene, number, size), "rgb24")
            if stamps_ms is not None:
                frame.pts, frame.time_base = stamps_ms[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return [number for number in range(1, len(order)) if order[number] != order[number - 1]]


def ffmpeg(*arguments: str | Path) -> None:
    executable = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([executable, "-v", "error", "-y", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL)


SIX_SCENES = ((0, 40), (1, 35), (0, 30), (2, 45), (3, 30), (4, 30))


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="session")
def cards(video_folder: Path) -> Path:
    """Six scenes of 1 s and more, the third like the first; 210 frames at 30 fps with B-frames; cuts SIX_CUTS."""
    path = video_folder / "cards.mp4"
    write_cards(path, SIX_SCENES)
    return path


SIX_CUTS = (40, 75, 105, 150, 180)


@pytest.fixture(scope="session")
def one_scene(video_folder: Path) -> Path:
    """A single shot: too few for any timeline."""
    path = video_folder / "one_scene.mp4"
    write_cards(path, ((0, 60),))
    return path


@pytest.fixture(scope="session")
def variable_rate(video_folder: Path) -> Path:
    """120 frames of four scenes; every third frame lasts three times as long."""
    path = video_folder / "variable_rate.mkv"
    steps = [100 if number % 3 == 0 else 33 for number in range(120)]
    write_cards(path, ((0, 30), (1, 30), (2, 30), (3, 30)), stamps_ms=[sum(steps[:n]) for n in range(120)])
    return path


@pytest.fixture(scope="session")
def edit_listed(cards: Path, video_folder: Path) -> Path:
    """The cards from 1.3 s on, copied: an edit list hides the frames before, the decoder returns fewer than packets."""
    path = video_folder / "edit_list.mp4"
    ffmpeg("-ss", "1.3", "-i", cards, "-c", "copy", path)
    return path


@pytest.fixture(scope="session")
def late_stream(cards: Path, video_folder: Path) -> Path:
    """An MPEG-TS whose times begin at 1000 s."""
    path = video_folder / "late.ts"
    ffmpeg("-i", cards, "-c", "copy", "-output_ts_offset", "1000", "-f", "mpegts", path)
    return path


NASTY: dict[str, str | None] = {
    "ok.mp4": None,
    "faststart.mp4": None,
    "mkv_named.avi": None,
    "variable_rate.mp4": None,
    "rotated.mp4": None,
    "hdr10.mp4": None,
    "odd_444.mp4": None,
    "long_gop.mp4": None,
    "edit_list.mp4": None,
    "late.ts": None,
    "two_streams.mp4": None,
    "lying_duration.mp4": None,
    "animated.gif": None,
    "日本語 % 'quote\" #?.mp4": None,
    "-dash.mp4": None,
    "n" * 240 + ".mp4": None,
    "gone.mp4": "missing",
    "link_loop.mp4": "missing",
    "link_out.mp4": "outside_library",
    "folder.mp4": "not_a_file",
    "fifo.mp4": "not_a_file",
    "socket.mp4": "not_a_file",
    "zero.mp4": "empty",
    "huge.mp4": "too_big",
    "random.mp4": "unreadable",
    "text.mp4": "unreadable",
    "no_index.mp4": "unreadable",
    "playlist_named.mp4": "unreadable",
    "playlist.m3u8": "container",
    "local_segment.m3u8": "container",
    "concat.txt": "container",
    "concat_named.mp4": "container",
    "elementary.h264": "container",
    "still.png": "container",
    "cover_art.mp3": "container",
    "sound.mp4": "no_video",
    "cover_art.m4a": "no_video",
    "one_frame.mp4": "too_short",
    "unknown_codec.mp4": "codec",
    "cut_off.mp4": "damaged",
    "bit_rot.mp4": "damaged",
    "backwards.mkv": "bad_times",
    "size_change.ts": "size_changes",
    "eight_k.mp4": "too_many_pixels",
    "pixel_bomb.mp4": "too_many_pixels",
    "frame_bomb.mp4": "too_many_frames",
    "fifteen_minutes.mp4": "too_long",
}
"""Each nasty file and the code it must end with; None: it plays."""


def write_nasty(folder: Path, url: str) -> None:
    """Make every file of NASTY in `folder`. `url`: where playlists point to; nobody may ever ask there."""
    lavfi = ("-f", "lavfi", "-i")
    x264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-threads", "1")
    source = "testsrc2=s=320x240:r=30:d=2"
    ok = folder / "ok.mp4"
    ffmpeg(*lavfi, source, *x264, "-bf", "2", "-g", "30", ok)
    _write_copies(folder, ok)
    _write_damaged(folder, ok)
    _write_playlists(folder, ok, url)
    _write_no_files(folder)
    sine = (*lavfi, "sine=d=2")
    ffmpeg(*sine, "-c:a", "aac", folder / "sound.mp4")
    cover = (*sine, *lavfi, source, "-map", "0", "-map", "1", "-frames:v", "1", "-c:v", "mjpeg", "-disposition:v")
    ffmpeg(*cover, "attached_pic", "-c:a", "mp3", folder / "cover_art.mp3")
    ffmpeg(*cover, "attached_pic", "-c:a", "aac", folder / "cover_art.m4a")
    one_frame = folder / "one_frame.mp4"
    ffmpeg(*lavfi, source, "-frames:v", "1", *x264, one_frame)
    ffmpeg("-i", ok, "-i", one_frame, "-map", "1", "-map", "0", "-c", "copy", folder / "two_streams.mp4")
    ffmpeg(*lavfi, source, "-frames:v", "1", folder / "still.png")
    ffmpeg(*lavfi, "testsrc2=s=96x64:r=10:d=1", folder / "animated.gif")
    thinned = "select=not(mod(n\\,7))+gt(mod(n\\,40)\\,25),setpts=PTS"
    ffmpeg(*lavfi, source, "-vf", thinned, "-fps_mode", "vfr", *x264, "-bf", "2", folder / "variable_rate.mp4")
    hdr = ("-vf", "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc")
    x265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1")
    ffmpeg(*lavfi, "testsrc2=s=320x240:r=30:d=1", *x265, "-pix_fmt", "yuv420p10le", *hdr, folder / "hdr10.mp4")
    odd = ("-vf", "crop=321:241:exact=1,format=yuv444p", *x264[:4], "-pix_fmt", "yuv444p", "-threads", "1")
    ffmpeg(*lavfi, "testsrc2=s=640x480:r=30:d=1", *odd, folder / "odd_444.mp4")
    long_gop = ("-g", "100000", "-sc_threshold", "0", "-bf", "3")
    ffmpeg(*lavfi, "testsrc2=s=320x240:r=30:d=10", *x264, *long_gop, folder / "long_gop.mp4")
    ffmpeg(*lavfi, "color=black:s=7680x4320:r=2:d=1", *x264, folder / "eight_k.mp4")
    ffmpeg(*lavfi, "color=black:s=4608x2306:r=2:d=1", *x264, folder / "pixel_bomb.mp4")
    ffmpeg(*lavfi, "color=black:s=32x32:r=1000:d=60.5", *x264, "-g", "9999", folder / "frame_bomb.mp4")
    ffmpeg(*lavfi, "color=black:s=32x32:r=1:d=902", *x264, folder / "fifteen_minutes.mp4")


def _write_copies(folder: Path, ok: Path) -> None:
    """Odd but sound: containers, names, headers and edit lists around the same packets."""
    ffmpeg("-i", ok, "-c", "copy", "-movflags", "+faststart", folder / "faststart.mp4")
    ffmpeg("-i", ok, "-c", "copy", "-f", "matroska", folder / "mkv_named.avi")
    ffmpeg("-display_rotation", "90", "-i", ok, "-c", "copy", folder / "rotated.mp4")
    ffmpeg("-ss", "0.7", "-i", ok, "-c", "copy", folder / "edit_list.mp4")
    ffmpeg("-i", ok, "-c", "copy", "-output_ts_offset", "1000", "-f", "mpegts", folder / "late.ts")
    ffmpeg("-i", ok, "-c", "copy", "-f", "h264", folder / "elementary.h264")
    for name in ("日本語 % 'quote\" #?.mp4", "-dash.mp4", "n" * 240 + ".mp4"):
        (folder / name).write_bytes(ok.read_bytes())
    lying = bytearray(ok.read_bytes())
    for box in (b"mvhd", b"mdhd"):
        at = lying.find(box) + 20
        lying[at : at + 4] = struct.pack(">I", 0x7FFFFFFF)
    (folder / "lying_duration.mp4").write_bytes(lying)


def _write_damaged(folder: Path, ok: Path) -> None:
    content, ordered = ok.read_bytes(), (folder / "faststart.mp4").read_bytes()
    (folder / "zero.mp4").touch()
    (folder / "random.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    (folder / "text.mp4").write_text("hello\n" * 100)
    (folder / "no_index.mp4").write_bytes(content[: len(content) // 2])
    (folder / "cut_off.mp4").write_bytes(ordered[: len(ordered) // 2])
    rotten = bytearray(ordered)
    for at in range(len(rotten) // 2, len(rotten), 211):
        rotten[at] ^= 0xFF
    (folder / "bit_rot.mp4").write_bytes(rotten)
    (folder / "unknown_codec.mp4").write_bytes(content.replace(b"avc1", b"zzzz"))
    swapped = "setts=dts=if(eq(mod(N\\,10)\\,5)\\,PREV_OUTDTS+1\\,DTS):pts=if(eq(mod(N\\,10)\\,5)\\,PTS-4000\\,PTS)"
    ffmpeg("-i", ok, "-c", "copy", "-bsf:v", swapped, "-f", "matroska", folder / "backwards.mkv")
    parts = [folder / "part_a.ts", folder / "part_b.ts"]
    for part, size in zip(parts, ("320x240", "640x360"), strict=True):
        ffmpeg("-f", "lavfi", "-i", f"testsrc2=s={size}:r=30:d=1", "-c:v", "libx264", "-preset", "ultrafast", part)
    (folder / "size_change.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()


def _write_playlists(folder: Path, ok: Path, url: str) -> None:
    ffmpeg("-i", ok, "-c", "copy", "-f", "mpegts", folder / "segment.bin")
    remote = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{url}\n#EXT-X-ENDLIST\n"
    (folder / "playlist.m3u8").write_text(remote)
    (folder / "playlist_named.mp4").write_text(remote)
    local = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsegment.bin\n#EXT-X-ENDLIST\n"
    (folder / "local_segment.m3u8").write_text(local)
    (folder / "concat.txt").write_text("ffconcat version 1.0\nfile ok.mp4\n")
    (folder / "concat_named.mp4").write_text("ffconcat version 1.0\nfile ok.mp4\n")


def _write_no_files(folder: Path) -> None:
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "fifo.mp4")
    (folder / "link_out.mp4").symlink_to("/etc/hostname")
    (folder / "link_loop.mp4").symlink_to("link_loop.mp4")
    with open(folder / "huge.mp4", "wb") as sparse:
        sparse.truncate((8 << 30) + 1)
    here = os.getcwd()
    # A socket's path may have 108 bytes at most.
    os.chdir(folder)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket.mp4")
    finally:
        os.chdir(here)
