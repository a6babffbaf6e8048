"""Pictures of a video that was never scanned: evenly spaced over it, or over a stretch of it.

The one thing to know: the times are those of the packets, and a picture is the first decoded one at or after its
time. Long videos are jumped through from key frame to key frame, so there is no limit on their length.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tempo_core.errors import MediaError
from tempo_core.media import MediaLimits, open_video, picture

N_PICTURES = 16
"""Pictures a question is asked on; our choice. Part of the settings of a score."""
LONG_SIDE = 768
"""Pictures are shrunk to this; the model may take smaller ones. Our choice."""


@dataclass(frozen=True, slots=True)
class Shown:
    """RGB pictures (T, H, W, 3), their frame numbers and the seconds that they cover."""

    pixels: NDArray[np.uint8]
    numbers: tuple[int, ...]
    duration_s: float


def shown(path: Path, n: int, seconds: tuple[float, float] | None = None, long_side: int | None = LONG_SIDE) -> Shown:
    """`n` pictures from the middles of `n` equal parts; fewer where the video has fewer.

    Raises:
        MediaError: The video cannot be opened or decoded.
    """
    times, keys, base = _times(path)
    start, stop = _stretch(times, base, seconds)
    if start >= stop:
        raise MediaError("too_short", f"{path.name} has no picture between {seconds} s. Is it the right video?")
    numbers = sorted({start + int((i + 0.5) * (stop - start) / n) for i in range(n)})
    with open_video(path) as (container, stream):
        reader = _Reader(path, container, stream, keys)
        pictures = [picture(reader.at(times[number]), long_side) for number in numbers]
    step = (times[-1] - times[0]) / max(1, len(times) - 1)
    duration_s = float((times[stop - 1] - times[start] + step) * base)
    return Shown(np.stack(pictures), tuple(numbers), duration_s)


def _times(path: Path) -> tuple[list[int], list[int], Any]:
    """Times of all pictures and of the key frames, in ticks, without decoding."""
    times, keys, most = [], [], MediaLimits().max_pixels
    with open_video(path) as (container, stream):
        if stream.codec_context.width * stream.codec_context.height > most:
            raise MediaError("too_many_pixels", f"{path.name} has more than {most:,} pixels. Scale it down first.")
        try:
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None:
                    times.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
        except av.error.FFmpegError as error:
            if not times:
                raise _damaged(path, error) from error
        if not times:
            raise MediaError("no_frames", f"{path.name} holds no picture with a time. Convert it to mp4.")
        return sorted(times), sorted(keys), stream.time_base


def _stretch(times: list[int], base: Any, seconds: tuple[float, float] | None) -> tuple[int, int]:
    if seconds is None:
        return 0, len(times)
    first, last = (times[0] + second / float(base) for second in seconds)
    return bisect_left(times, first), bisect_right(times, last)


class _Reader:
    """Decoded frames at rising times."""

    def __init__(self, path: Path, container: Any, stream: Any, keys: list[int]) -> None:
        self.path, self.container, self.stream, self.keys = path, container, stream, keys
        self.decoder = container.decode(stream)
        self.last: Any = None

    def at(self, time: int) -> Any:
        """The first frame at or after `time`; the last one there is where decoding ends before it."""
        i = bisect_right(self.keys, time) - 1
        here = self.last.pts if self.last is not None else self.keys[0] if self.keys else time
        if self.last is not None and self.last.pts >= time:
            return self.last
        try:
            if i > 0 and self.keys[i] > here:
                self.container.seek(self.keys[i], stream=self.stream)
                self.decoder = self.container.decode(self.stream)
            for frame in self.decoder:
                if frame.pts is not None:
                    self.last = frame
                    if frame.pts >= time:
                        break
        except av.error.FFmpegError as error:
            raise _damaged(self.path, error) from error
        if self.last is None:
            raise MediaError("no_frames", f"{self.path.name}: no picture of it can be decoded. Copy it again.")
        return self.last


def _damaged(path: Path, error: Exception) -> MediaError:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return MediaError("damaged", f"{path.name} is damaged ({reason}). Copy it again.")
