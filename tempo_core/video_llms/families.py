"""The table of families: one line each, read before anything of torch is imported."""

from __future__ import annotations

FAMILIES = {
    "tiny": "tempo_core.video_llms.tiny",
    "qwen2_5_vl": "tempo_core.video_llms.qwen_vl",
    "qwen3_vl": "tempo_core.video_llms.qwen3_vl",
    "llava_onevision": "tempo_core.video_llms.llava_onevision",
    "internvl": "tempo_core.video_llms.internvl",
}
"""A family's name is the `model_type` of its config.json; each module names its class `VIDEO_LLM`."""

ONE_VIDEO_A_QUESTION = ("tiny",)
"""Families that cannot be asked on clips: the embedded model has only ever seen one video before a question."""
