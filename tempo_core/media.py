"""Open video files safely, and read frames by their number.

A moment of a video is a frame number in the list of times that the decoder really returned, never `fps * index` and
never the header's count: headers lie, edit lists hide frames, rates vary. The list of formats that may be opened is
what keeps a playlist named `.mp4` from making FFmpeg read other files or the network.
"""

from __future__ import annotations

import hashlib
import os
import stat
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from tempo_core.errors import FrameTimesChanged, MediaError

# One process per core reads one video each: threads inside cost 8 to 15 % more CPU for the same work.
cv2.setNumThreads(1)

OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,gif",
}
SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".gif", ".3gp")
"""What a folder is searched for; a file given by name may have any suffix."""

HDR_TRANSFERS = (16, 18)
"""SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG), by their numbers in ITU-T H.273."""


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """What one file may cost. The rules keep at most 32 shots of 16 s, so longer videos cannot be kept anyway."""

    max_bytes: int = 8 << 30
    max_pixels: int = 4096 * 2304
    max_duration_s: float = 900.0
    max_packets: int = 60_000
    keep_damaged: bool = False
    """Use what was decoded before the damage, flagged `partial`, instead of refusing the file."""
    memory_bytes: int = 2 << 30
    cpu_s: float = 60.0
    cpu_s_per_720p30_s: float = 1.0
    """CPU seconds a child may use: `cpu_s`, and this for each second of video (18 times what the pass needs)."""
    no_progress_s: float = 60.0
    written_bytes: int = 1 << 30


DEFAULT_LIMITS = MediaLimits()


@dataclass(frozen=True, slots=True)
class Index:
    """What the container says without decoding. `header_*` may be wrong; packets are counted."""

    container: str
    codec: str
    profile: str
    pix_fmt: str
    width: int
    height: int
    hdr: bool
    n_packets: int
    header_frames: int
    header_duration_s: float | None
    duration_s: float
    gop_max: int
    key_pts: tuple[int, ...]


def check_file(path: Path, limits: MediaLimits = DEFAULT_LIMITS, root: Path | None = None) -> os.stat_result:
    """Refuse by `stat`, before anything is opened: opening a fifo blocks for ever in every library."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise MediaError("missing", f"{path.name} cannot be reached ({error}). Put it back, or scan again.") from error
    if root is not None and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise MediaError("outside_library", f"{path.name} is a link out of the library {root}. Copy the file into it.")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError("not_a_file", f"{path.name} is a folder, a pipe or a device; a video must be a plain file.")
    if status.st_size == 0:
        raise MediaError("empty", f"{path.name} has 0 bytes. Copy it again.")
    if status.st_size > limits.max_bytes:
        size, most = status.st_size / (1 << 30), limits.max_bytes / (1 << 30)
        raise MediaError("too_big", f"{path.name} has {size:.1f} GiB, the limit is {most:.0f} GiB. Cut it first.")
    return status


@contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its best video stream, one decoder thread."""
    with _opened(path) as container:
        stream = container.streams.best("video")
        if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
            raise MediaError("no_video", f"{path.name} has no video stream (sound or a cover picture only).")
        if stream.codec_context is None:
            raise MediaError("codec", f"{path.name} uses a codec that cannot be decoded here. Re-encode it as H.264.")
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = 1
        yield container, stream


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    check_file(path)
    try:
        # An absolute path: a relative name could read as a protocol or an option.
        container = av.open(os.path.abspath(path), options=OPEN_OPTIONS, metadata_errors="replace")
    except av.error.ArgumentError as error:
        formats = OPEN_OPTIONS["format_whitelist"].replace(",", ", ")
        message = f"{path.name} is none of the formats that are opened ({formats}). Convert it to mp4."
        raise MediaError("container", message) from error
    except (av.error.MemoryError, MemoryError) as error:
        raise MediaError("memory", f"{path.name} needs more memory than allowed just to open it.") from error
    except (av.error.FFmpegError, OSError) as error:
        message = f"{path.name} is no readable video ({_reason(error)}). Copy or export it again."
        raise MediaError("unreadable", message) from error
    with container:
        yield container


def index(path: Path, limits: MediaLimits = DEFAULT_LIMITS, tick: Callable[[], None] = lambda: None) -> Index:
    """Count packets and key frames (about 0.5 % of decoding) and hold the limits before anything is decoded."""
    with open_video(path) as (container, stream):
        context = stream.codec_context
        if context.width * context.height > limits.max_pixels:
            message = f"{path.name} is {context.width}x{context.height}, the limit is {limits.max_pixels:,} pixels."
            raise MediaError("too_many_pixels", message + " Scale it down first.")
        n_packets, gop_max, since_key, keys = 0, 0, 0, []
        first = last = 0.0
        try:
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                n_packets += 1
                since_key = 1 if packet.is_keyframe else since_key + 1
                gop_max = max(gop_max, since_key)
                if packet.is_keyframe and packet.pts is not None:
                    keys.append(packet.pts)
                stamp = packet.pts if packet.pts is not None else packet.dts
                if stamp is not None:
                    time = float(stamp * packet.time_base)
                    first, last = (time, time) if n_packets == 1 else (min(first, time), max(last, time))
                _hold(path, n_packets, last - first, limits)
                if n_packets % 1000 == 0:
                    tick()
        except av.error.FFmpegError as error:
            if n_packets == 0:
                raise _damaged(path, 0, error) from error
        return Index(
            container=_container(container.format.name, path),
            codec=context.name,
            profile=str(context.profile or ""),
            pix_fmt=str(context.pix_fmt or ""),
            width=context.width,
            height=context.height,
            hdr=int(context.color_trc or 0) in HDR_TRANSFERS,
            n_packets=n_packets,
            header_frames=stream.frames,
            header_duration_s=None if container.duration is None else container.duration / 1e6,
            duration_s=last - first,
            gop_max=gop_max,
            key_pts=tuple(sorted(keys)),
        )


def _container(name: str, path: Path) -> str:
    # FFmpeg has one demuxer for both; browsers play webm, and not any Matroska.
    if name != "matroska,webm":
        return name
    with open(path, "rb") as file:
        return "webm" if b"webm" in file.read(64) else "matroska"


def _hold(path: Path, n_packets: int, duration_s: float, limits: MediaLimits) -> None:
    # By the packets' own times: a header may claim 24 days, or nothing at all.
    if n_packets > limits.max_packets:
        message = f"{path.name} has more than {limits.max_packets:,} frames. Cut it, or lower its frame rate."
        raise MediaError("too_many_frames", message)
    if duration_s > limits.max_duration_s:
        message = f"{path.name} is longer than {limits.max_duration_s:.0f} s. Cut it into shorter videos."
        raise MediaError("too_long", message)


def decode(path: Path) -> Iterator[Any]:
    """Every frame as the decoder returns it. Checks that times increase and that the size stays."""
    last_pts, size, n = None, None, 0
    with open_video(path) as (container, stream):
        try:
            for frame in container.decode(stream):
                if size is not None and size != (frame.width, frame.height):
                    message = f"{path.name} changes from {size[0]}x{size[1]} to {frame.width}x{frame.height} at frame "
                    raise MediaError("size_changes", message + f"{n}. Re-encode it at one size.")
                if frame.pts is None or (last_pts is not None and frame.pts <= last_pts):
                    message = f"{path.name}: the time of frame {n} is missing or not after the one before. Re-encode."
                    raise MediaError("bad_times", message)
                last_pts, size, n = frame.pts, (frame.width, frame.height), n + 1
                yield frame
        except (av.error.MemoryError, MemoryError) as error:
            raise MediaError("memory", f"{path.name} needs more memory than allowed to decode.") from error
        except av.error.FFmpegError as error:
            raise _damaged(path, n, error) from error


def _damaged(path: Path, n_frames: int, error: Exception) -> MediaError:
    message = f"{path.name} is damaged: decoding stopped after {n_frames} frames ({_reason(error)})."
    return MediaError("damaged", message + " Copy it again, or allow damaged files to keep the first part.")


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def frames(
    path: Path,
    numbers: Sequence[int],
    pts: NDArray[np.int64],
    time_base: Fraction,
    *,
    long_side: int | None = None,
) -> NDArray[np.uint8]:
    """Frames by their number in the decoded list, as asked: RGB, shape (T, H, W, 3), rotation applied.

    Ask for all frames of a video at once: with one key frame in 250, each random access costs half a GOP.

    Args:
        pts: The times that the scan stored, in ticks of `time_base`.
        long_side: Shrink to this many pixels on the long side; smaller pictures stay as they are.

    Raises:
        FrameTimesChanged: The decoder no longer returns a frame at the stored time.
    """
    if any(not 0 <= number < len(pts) for number in numbers):
        raise ValueError(f"Frame numbers {min(numbers)}..{max(numbers)} asked of a video with {len(pts)} frames.")
    if not numbers:
        return np.zeros((0, 0, 0, 3), np.uint8)
    with FrameReader(path, pts, time_base, long_side=long_side) as reader:
        found = {number: reader.read(number) for number in sorted(set(numbers))}
    return np.stack([found[number] for number in numbers])


class FrameReader:
    """Reads frames by number, cheapest in rising order: it jumps only where a key frame makes that cheaper."""

    def __init__(
        self, path: Path, pts: NDArray[np.int64], time_base: Fraction, *, long_side: int | None = None
    ) -> None:
        self.path, self.pts, self.time_base, self.long_side = path, pts, time_base, long_side

    def __enter__(self) -> FrameReader:
        self._keys = index(self.path).key_pts
        self._stack = ExitStack()
        self._restart()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _restart(self) -> None:
        self._stack.close()
        self._container, self._stream = self._stack.enter_context(open_video(self.path))
        if self._stream.time_base != self.time_base:
            found = self._stream.time_base
            raise FrameTimesChanged(f"{self.path.name} now counts its times in {found} s, not {self.time_base} s.")
        self._decoder = self._container.decode(self._stream)
        self._position: int | None = None

    def read(self, number: int) -> NDArray[np.uint8]:
        """RGB (H, W, 3).

        Raises:
            FrameTimesChanged: The decoder no longer returns a frame at the stored time.
        """
        target = int(self.pts[number])
        self._approach(target)
        frame = self._decode_until(target)
        if frame is None:
            # Some containers (MPEG-TS) land behind the target; reading from the start is always right.
            self._restart()
            frame = self._decode_until(target)
        if frame is None:
            message = f"{self.path.name}: frame {number} is no longer at the time that the scan stored. Scan it again."
            raise FrameTimesChanged(message)
        return picture(frame, self.long_side)

    def _approach(self, target: int) -> None:
        i = bisect_right(self._keys, target) - 1
        key = self._keys[i] if i >= 0 else None
        back = self._position is not None and target <= self._position
        if key is None:
            if back:
                self._restart()
        elif back or key > (self._keys[0] if self._position is None else self._position):
            self._container.seek(key, stream=self._stream)
            self._decoder = self._container.decode(self._stream)
            self._position = None

    def _decode_until(self, target: int) -> Any | None:
        try:
            for frame in self._decoder:
                self._position = frame.pts
                if frame.pts is not None and frame.pts >= target:
                    return frame if frame.pts == target else None
        except av.error.FFmpegError as error:
            raise _damaged(self.path, 0, error) from error
        return None


def picture(frame: Any, long_side: int | None = None) -> NDArray[np.uint8]:
    """A decoded frame as RGB (H, W, 3), turned upright (PyAV does not), shrunk to `long_side`."""
    rgb = frame.reformat(format="rgb24").to_ndarray()
    return np.ascontiguousarray(upright(shrunk(rgb, long_side), frame.rotation))


def upright(image: NDArray[np.uint8], rotation: int) -> NDArray[np.uint8]:
    return np.rot90(image, rotation // 90 % 4) if rotation % 360 else image


def shrunk(image: NDArray[np.uint8], long_side: int | None) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if long_side is None or max(height, width) <= long_side:
        return image
    scale = long_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def sha256_of(path: Path, tick: Callable[[], None] = lambda: None) -> str:
    """The video's identity: sha256 of its bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            tick()
    return digest.hexdigest()


def times_sha256(pts: NDArray[np.int64], time_base: Fraction) -> str:
    """The identity of a frame numbering: the same file read by another FFmpeg may return other frames."""
    head = f"{time_base.numerator}/{time_base.denominator}|".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pts, "<i8").tobytes()).hexdigest()
