"""Frames of videos by number, kept on disk: decoding a video again for each model call would cost minutes.

A frame is stored once per size. Small pictures are kept without loss, so that the embedded model sees the same pixels
on a hit and on a miss; larger ones as JPEG of quality 95, and what is returned is always what was stored.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tempo_core import media
from tempo_core.errors import FrameTimesChanged
from tempo_core.measures import Measures, load_measures, measures_path
from tempo_core.scan import scan
from tempo_core.types import Video

LOSSLESS_UP_TO = 128


class Pictures:
    """A read-through cache of frames, at most `long_side` pixels on the long side (None: as in the file)."""

    def __init__(self, cache: Path, long_side: int | None) -> None:
        self.cache = cache
        self.long_side = long_side
        self._suffix = ".png" if long_side is not None and long_side <= LOSSLESS_UP_TO else ".jpg"

    def get(self, video: Video, times_sha256: str, numbers: Sequence[int]) -> NDArray[np.uint8]:
        """Frames in the order asked, RGB, shape (T, H, W, 3). All that are missing are decoded in one go.

        Raises:
            FrameTimesChanged: The file, or the decoder's frame times, are not what the numbers were made for.
        """
        folder = self._filled(video, times_sha256, numbers)
        read = {number: _read(self._file(folder, number)) for number in set(numbers)}
        return np.stack([read[number] for number in numbers]) if read else np.zeros((0, 0, 0, 3), np.uint8)

    def copy(self, cache: Path, video: Video, times_sha256: str, numbers: Sequence[int]) -> None:
        """Put these frames into another cache byte for byte, so that a model sees the same pixels without the video.

        Raises:
            FrameTimesChanged: As `get`.
        """
        folder, other = self._filled(video, times_sha256, numbers), Pictures(cache, self.long_side)
        to = other._folder(video, times_sha256)
        to.mkdir(parents=True, exist_ok=True)
        for number in sorted(set(numbers)):
            shutil.copyfile(self._file(folder, number), other._file(to, number))

    def _filled(self, video: Video, times_sha256: str, numbers: Sequence[int]) -> Path:
        """The folder of a video's frames, with these in it."""
        folder = self._folder(video, times_sha256)
        missing = sorted({number for number in numbers if not self._file(folder, number).exists()})
        if missing:
            self._fill(folder, video, times_sha256, missing)
        return folder

    def _folder(self, video: Video, times_sha256: str) -> Path:
        # The times are part of the name: under another numbering frame 7 is another picture.
        size = "full" if self.long_side is None else str(self.long_side)
        return self.cache / "pictures" / size / video.sha256[:2] / f"{video.sha256}-{times_sha256[:16]}"

    def _file(self, folder: Path, number: int) -> Path:
        return folder / f"{number}{self._suffix}"

    def _fill(self, folder: Path, video: Video, times_sha256: str, numbers: Sequence[int]) -> None:
        measures = self._measures(video, times_sha256)
        decoded = media.frames(video.path, numbers, measures.pts, measures.time_base, long_side=self.long_side)
        folder.mkdir(parents=True, exist_ok=True)
        for number, rgb in zip(numbers, decoded, strict=True):
            self._write(self._file(folder, number), rgb)

    def _measures(self, video: Video, times_sha256: str) -> Measures:
        if media.sha256_of(video.path) != video.sha256:
            message = f"{video.path.name} holds other bytes than when it was scanned. Scan the library again."
            raise FrameTimesChanged(message)
        stored = measures_path(self.cache, video.sha256)
        if not stored.exists():
            scan(video.path, self.cache)
        measures = load_measures(stored)
        if measures.probe["times_sha256"] != times_sha256:
            message = f"{video.path.name}: the decoder returns other frame times than those the timeline was made with."
            raise FrameTimesChanged(message + " Scan the library again.")
        return measures

    def _write(self, path: Path, rgb: NDArray[np.uint8]) -> None:
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        options = [cv2.IMWRITE_JPEG_QUALITY, 95] if self._suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
        temporary = path.with_name(f".{os.getpid()}.{path.name}")
        temporary.write_bytes(cv2.imencode(self._suffix, bgr, options)[1].tobytes())
        os.replace(temporary, path)


def _read(path: Path) -> NDArray[np.uint8]:
    encoded = np.frombuffer(path.read_bytes(), np.uint8)
    return np.asarray(cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)
