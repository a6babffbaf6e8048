"""The table of families: one line each, read before anything of torch is imported."""

from __future__ import annotations

FAMILIES = {
    "tiny": "tempo_core.video_llms.tiny",
    "qwen2_5_vl": "tempo_core.video_llms.qwen_vl",
}
"""A family's name is the `model_type` of its config.json; each module names its class `VIDEO_LLM`."""
