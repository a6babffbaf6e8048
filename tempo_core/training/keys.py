"""Keys of what is kept on disk: sha256 over everything that a stored value depends on.

The one thing to know: a key that misses a cause serves stale numbers in silence, one that holds too much only computes
again; so what might matter is in it, and nothing stored is ever invalidated by hand.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from tempo_core.video_llms.base import HFVideoLLM

FORMAT = 1
"""Part of every key: raise it when our own way from a video to pictures changes."""


def is_key(name: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", name) is not None


def checked_key(key: str) -> str:
    """A key becomes the name of a file or folder, so nothing else may pass for one."""
    if not is_key(key):
        raise ValueError(f"{key!r} is no key: a key is 64 hexadecimal digits")
    return key


def major_minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def sha256_of_json(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def processor_config(llm: HFVideoLLM) -> dict[str, Any]:
    """Every number on the way from a picture to the tower's input, and the options that we give with each call."""
    parts = llm.processor.to_dict()
    return {
        "image": parts.get("image_processor"),
        "video": parts.get("video_processor"),
        "options": dict(llm.video_options),
    }
