"""The second embedded Video LLM, for the study of transfer: the same words and lessons, a LLaVA-OneVision.

The one thing to know: every picture is one visual token, so a clip is two, and one more ends the video. `base.json`
beside the weights says how they were made, and how good they are.
"""

from __future__ import annotations

from tempo_core.video_llms.llava_onevision import LlavaOnevision
from tempo_core.video_llms.tiny import DrawnWorld


class TinyOneVision(DrawnWorld, LlavaOnevision):
    """`LlavaOnevisionForConditionalGeneration` with 1.25 million parameters and the words of the drawn world."""

    family = "tiny_onevision"


VIDEO_LLM = TinyOneVision
