"""The drawn world: real video files whose ordered events are known."""

from tempo_core.worlds.questions import CHANCE, KINDS, TEMPORAL, WorldQuestion, questions, sft_examples
from tempo_core.worlds.world import (
    Event,
    WorldConfig,
    WorldVideo,
    agreement,
    caption,
    caption_of,
    draw,
    parse_events,
    read_events,
    read_spec,
    spec,
    write,
    write_events,
)

__all__ = [
    "CHANCE",
    "KINDS",
    "TEMPORAL",
    "Event",
    "WorldConfig",
    "WorldQuestion",
    "WorldVideo",
    "agreement",
    "caption",
    "caption_of",
    "draw",
    "parse_events",
    "questions",
    "read_events",
    "read_spec",
    "sft_examples",
    "spec",
    "write",
    "write_events",
]
