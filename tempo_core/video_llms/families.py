"""The table of families: one line each, read before anything of torch is imported."""

from __future__ import annotations

FAMILIES = {
    "tiny": "tempo_core.video_llms.tiny",
    "tiny_onevision": "tempo_core.video_llms.tiny_onevision",
    "qwen2_5_vl": "tempo_core.video_llms.qwen_vl",
    "qwen3_vl": "tempo_core.video_llms.qwen3_vl",
    "llava_onevision": "tempo_core.video_llms.llava_onevision",
    "internvl": "tempo_core.video_llms.internvl",
}
"""A family's name is the `model_type` of its config.json; each module names its class `VIDEO_LLM`."""

DRAWN_WORLD = ("tiny", "tiny_onevision")
"""The families that ship with the project and know the words of the drawn world only."""

ONE_VIDEO_A_QUESTION = DRAWN_WORLD
"""Families that cannot be asked on clips: the embedded models have only ever seen one video before a question."""
