"""Video LLMs by family. `load` finds the family of a folder, checks that it is safe, and loads it; `connect` asks a
server instead.

A new family is one file and one line in `families.FAMILIES`. No torch is imported until `load` is called.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from tempo_core.video_llms import checkpoints
from tempo_core.video_llms.families import FAMILIES

if TYPE_CHECKING:
    from tempo_core.servers import Server
    from tempo_core.video_llms.base import VideoLLM
    from tempo_core.video_llms.served import ServedVideoLLM

__all__ = ["FAMILIES", "connect", "load", "load_encoder"]


def load(
    path: Path | str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    positions: str | None = None,
    attention: str = "stock",
) -> VideoLLM:
    """Load a Video LLM for asking and scoring.

    Args:
        device: "cpu", "cuda", ...; None takes a GPU where there is one.
        dtype: "float32", "bfloat16", ...; None takes bfloat16 on a GPU, else float32.
        positions: "hf" or "max_plus_one"; None takes the family's own.
        attention: "stock"; "tree" for training on trees, after `tempo_core.training.backbone` was imported.

    Raises:
        ModelRefused: The folder is no model, not safe to load, or of no supported family.
    """
    checkpoint = checkpoints.inspect(path)
    video_llm = importlib.import_module(FAMILIES[checkpoint.family]).VIDEO_LLM
    loaded: VideoLLM = video_llm.load(checkpoint, device=device, dtype=dtype, positions=positions, attention=attention)
    return loaded


def load_encoder(path: Path | str) -> VideoLLM:
    """The same without weights: turns text and pictures into ids, and can neither answer nor score.

    Raises:
        ModelRefused: As `load`.
    """
    checkpoint = checkpoints.inspect(path)
    encoder: VideoLLM = importlib.import_module(FAMILIES[checkpoint.family]).VIDEO_LLM.load_encoder(checkpoint)
    return encoder


def connect(server: Server, log: Path | None = None) -> ServedVideoLLM:
    """The model behind a server; nothing is sent before it is asked.

    Args:
        log: Where its answers are written as they come, and read from before it is asked.

    Raises:
        ServerRefused: The address or the key in the environment cannot be used.
    """
    served = importlib.import_module("tempo_core.video_llms.served")
    line = importlib.import_module("tempo_core.video_llms.server_line").Line(server.url)
    answers = importlib.import_module("tempo_core.video_llms.answer_log").AnswerLog(log)
    connected: ServedVideoLLM = served.ServedVideoLLM(server, line, answers)
    return connected
