"""What the browser is given: sprites, edit lists, and a proxy where the source cannot be played or stepped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from tempo_core import media
from tempo_core.errors import FrameTimesChanged
from tempo_core.measures import Measures, strip_jpeg
from tempo_core.playback import browser_plan, edit_list
from tempo_core.types import Clip, Timeline

__all__ = ["browser_plan", "edit_list", "sprite", "thumbnail", "write_proxy"]

THUMBNAIL = (128, 72)
"""Width and height of one clip's box in a sprite."""
PROXY_OPTIONS = {"preset": "veryfast", "crf": "23", "g": "12", "bf": "0"}
"""A key frame each 12 frames makes steps and jumps quick; without B-frames, frame k is packet k."""


def sprite(measures: Measures, timeline: Timeline) -> bytes:
    """One thumbnail per clip in one row, each in a 128x72 box, as JPEG; made from the stored strip."""
    width, height = THUMBNAIL
    row = np.zeros((height, width * max(1, len(timeline)), 3), np.uint8)
    for i, clip in enumerate(timeline):
        image = _boxed(thumbnail(measures, clip))
        top, left = (height - image.shape[0]) // 2, i * width + (width - image.shape[1]) // 2
        row[top : top + image.shape[0], left : left + image.shape[1]] = image
    return bytes(cv2.imencode(".jpg", row, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def contact_strip(pixels: NDArray[np.uint8]) -> bytes:
    """Pictures (T, H, W, 3), RGB, in one row, each in a 128x72 box, as JPEG."""
    width, height = THUMBNAIL
    row = np.zeros((height, width * len(pixels), 3), np.uint8)
    for i, picture in enumerate(pixels):
        image = _boxed(np.asarray(picture[..., ::-1], np.uint8))
        top, left = (height - image.shape[0]) // 2, i * width + (width - image.shape[1]) // 2
        row[top : top + image.shape[0], left : left + image.shape[1]] = image
    return bytes(cv2.imencode(".jpg", row, [cv2.IMWRITE_JPEG_QUALITY, 80])[1])


def thumbnail(measures: Measures, clip: Clip) -> NDArray[np.uint8]:
    """The stored thumbnail nearest to the clip's middle, BGR; one of the clip's own frames where there is one."""
    numbers = np.concatenate([np.arange(start, end) for start, end in clip.ranges])
    own = np.isin(measures.strip_at, numbers)
    distance = np.abs(measures.strip_at - int(numbers[len(numbers) // 2])) + ~own * 10**9
    jpeg = strip_jpeg(measures, int(measures.strip_at[int(np.argmin(distance))]))
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _boxed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = min(THUMBNAIL[0] / image.shape[1], THUMBNAIL[1] / image.shape[0])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def write_proxy(
    path: Path,
    out: Path,
    measures: Measures,
    *,
    max_height: int = 480,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Write an mp4 that every browser plays and steps quickly, one frame out for each frame in: frame k is frame k.

    A constant-rate source gives a constant-rate proxy, any other keeps its times. No sound; turned upright.

    Raises:
        FrameTimesChanged: The decoder returns other frames than the scan did.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{os.getpid()}.{out.name}.part")
    try:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream, stamps = _proxy_stream(container, measures, max_height)
            for frame, stamp in zip(_checked(path, measures), stamps, strict=True):
                container.mux(stream.encode(_proxy_frame(frame, stream, stamp)))
                tick()
            container.mux(stream.encode())
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)


def _proxy_stream(container: Any, measures: Measures, max_height: int) -> tuple[Any, list[int]]:
    stream = container.add_stream("libx264", rate=measures.fps, options=PROXY_OPTIONS)
    width, height = measures.probe["width"], measures.probe["height"]
    scale = min(1.0, max_height / height)
    stream.width, stream.height = (max(2, 2 * round(side * scale / 2)) for side in (width, height))
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = 1
    if measures.probe["constant_rate"]:
        stream.codec_context.time_base = 1 / measures.fps
        return stream, list(range(measures.n_frames))
    stream.codec_context.time_base = measures.time_base
    return stream, (measures.pts - measures.pts[0]).tolist()


def _checked(path: Path, measures: Measures) -> Iterator[Any]:
    n = 0
    for frame in media.decode(path):
        if n == measures.n_frames or frame.pts != measures.pts[n]:
            break
        yield frame
        n += 1
        if n == measures.n_frames and measures.probe["partial"]:
            # The damage comes next.
            return
    else:
        if n == measures.n_frames:
            return
    raise FrameTimesChanged(f"{path.name}: frame {n} is not at the time that the scan stored. Scan it again.")


def _proxy_frame(frame: Any, stream: Any, stamp: int) -> Any:
    width, height = stream.width, stream.height
    if frame.rotation % 360:
        frame = av.VideoFrame.from_ndarray(media.picture(frame), "rgb24")
    out = frame.reformat(width, height, "yuv420p")
    out.pts, out.time_base = stamp, stream.codec_context.time_base
    # The source's I and P marks would be taken as orders.
    out.pict_type = av.video.frame.PictureType.NONE
    return out
