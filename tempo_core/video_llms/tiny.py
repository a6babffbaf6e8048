"""The embedded Video LLM: tiny, really trained, of the Qwen2.5-VL architecture, and it knows the drawn world only.

The one thing to know: two pictures of a clip become ONE visual token, and the text goes on after the last of them
(`max_plus_one`). The weights come from `make_embedded.py`; `base.json` beside them says how, and how good they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tempo_core.errors import OutsideVocabulary, TooFew
from tempo_core.types import Frames, Question
from tempo_core.video_llms import checkpoints
from tempo_core.video_llms.encoding import Encoded
from tempo_core.video_llms.family import Family
from tempo_core.video_llms.qwen_vl import QwenVL
from tempo_core.worlds import vocabulary


class DrawnWorld(Family):
    """What the embedded models have in common: the words, and two pictures of every clip."""

    prompt_set = "embedded"
    long_side = 48
    batch_size = 256

    def check_text(self, text: str) -> None:
        """Refuse words that the model has not learned; nothing is ever read as padding."""
        super().check_text(text)
        vocabulary.check(text)

    def encode_many(self, questions: Sequence[Question]) -> list[Encoded]:
        """As in the base class, with the limits of what these weights have learned.

        Raises:
            ClipsRefused: Several videos in one question.
            TooFew: No pictures at all, or a clip with only one.
            OutsideVocabulary: More clips than it can count.
        """
        for question in questions:
            if question.clips:
                checkpoints.check_input(self.checkpoint, "clips")
            if question.frames is not None:
                _check_pictures(question.frames)
        return super().encode_many(questions)

    def fps_of(self, n_pictures: int, duration_s: float) -> float:
        """Always two pictures a second: one clip is one step in time, however long it is."""
        return 2.0


def _check_pictures(frames: Frames) -> None:
    n_pictures = len(frames.pixels)
    if n_pictures < 2 or n_pictures % 2:
        raise TooFew(f"The embedded model needs two pictures of every clip and was given {n_pictures} pictures.")
    if n_pictures > 2 * vocabulary.MAX_CLIPS:
        raise OutsideVocabulary(
            f"The embedded model has learned videos of up to {vocabulary.MAX_CLIPS} clips, "
            f"this one has {n_pictures // 2}. Use another model for longer videos."
        )
    if frames.pixels.dtype != np.uint8 or frames.pixels.ndim != 4:
        raise ValueError("pictures must be RGB, (T, H, W, 3), uint8")


class TinyVLM(DrawnWorld, QwenVL):
    """`Qwen2_5_VLForConditionalGeneration` with 1.7 million parameters and the words of the drawn world."""

    family = "tiny"
    default_positions: ClassVar[str] = "max_plus_one"
    video_options: ClassVar[dict[str, Any]] = {"do_sample_frames": False, "cap_pixels_per_frame": False}


VIDEO_LLM = TinyVLM
