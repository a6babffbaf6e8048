"""The form in which a server is asked, and in which it answers: values in, values out, no connection here.

Frames travel as JPEG, which loses pixels. As "video" every video is one part, a list of pictures
(`data:video/jpeg;base64,<jpeg>,<jpeg>`), with its rate and frame indices in `media_io_kwargs` (vLLM since April 2026,
pull request 40133), the same that a model in this process is told. A question has one such setting, so the clips of one
question share a mean rate. As "images" each picture is a part of its own; the model is told no times at all.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tempo_core.errors import QuestionRefused, ServerRefused
from tempo_core.exchange.fields import LONGEST_TEXT
from tempo_core.servers import Server
from tempo_core.types import Answer, Frames, JsonDict, Question, Sampling

JPEG_QUALITY = 95
"""As in the cache of pictures."""
_MOST_TOKENS = 2**31 - 1
"""What a column of whole numbers holds; a larger count is a slip of the server, and is as good as none."""


def body(server: Server, question: Question, sampling: Sampling, seed: int) -> bytes:
    """One question as the JSON that is posted. The same question gives the same bytes."""
    parts = [*_pictures(server, question), {"type": "text", "text": question.text}]
    values: JsonDict = {
        "model": server.model,
        "messages": [{"role": "user", "content": parts if question.videos else question.text}],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_new_tokens,
        "seed": seed,
        "stream": False,
    }
    if sampling.repetition_penalty != 1.0:
        # Not every server knows it; 1 is none, and then it need not be said.
        values["repetition_penalty"] = sampling.repetition_penalty
    if question.videos and server.frames_as == "video":
        values["media_io_kwargs"] = {"video": _times(question.videos)}
    return json.dumps(values, ensure_ascii=False).encode()


def _pictures(server: Server, question: Question) -> list[JsonDict]:
    if server.frames_as == "video":
        return [_part("video", ",".join(map(_jpeg, frames.pixels))) for frames in question.videos]
    parts = []
    for i, frames in enumerate(question.videos, 1):
        if question.clips:
            # Pictures alone do not show where one clip ends.
            parts.append({"type": "text", "text": f"Clip {i}:"})
        parts += [_part("image", _jpeg(picture)) for picture in frames.pixels]
    return parts


def _part(kind: str, data: str) -> JsonDict:
    return {"type": f"{kind}_url", f"{kind}_url": {"url": f"data:{kind}/jpeg;base64,{data}"}}


def _times(videos: tuple[Frames, ...]) -> JsonDict:
    """Rate and indices as `encoding.metadata` tells them; `num_frames`, or the server would keep 32 pictures."""
    n_pictures = [len(frames.numbers) for frames in videos]
    told: JsonDict = {
        "num_frames": max(n_pictures),
        "fps": sum(n_pictures) / sum(frames.duration_s for frames in videos),
        "do_sample_frames": False,
    }
    return told if len(videos) > 1 else told | {"frames_indices": list(range(n_pictures[0]))}


def _jpeg(picture: NDArray[np.uint8]) -> str:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return base64.b64encode(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()).decode()


def answer(url: str, reply: Any) -> Answer:
    """What the server said.

    Raises:
        QuestionRefused: It did not end the answer as answers end (a filter, a tool, a broken stream).
        ServerRefused: The reply is of another form.
    """
    try:
        choice = reply["choices"][0]
        text, finish = choice["message"].get("content") or "", choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ServerRefused(
            f"{url} answers, but not as an OpenAI-compatible server does: it names no choices. Is the address right?"
        ) from None
    if finish not in ("stop", "length") or not isinstance(text, str):
        raise QuestionRefused(f"{url} ended an answer by {str(finish)[:40]!r}, not by its end or the token limit.")
    if len(text) > LONGEST_TEXT:
        raise QuestionRefused(f"{url} gave an answer of {len(text):,} characters, at most {LONGEST_TEXT:,} are taken.")
    usage = reply.get("usage") or {}
    n_tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    # JSON can spell half a character, which no database can hold.
    clean = text.encode(errors="replace").decode().replace("\0", "")
    return Answer(clean.strip(), n_tokens if isinstance(n_tokens, int) and 0 <= n_tokens <= _MOST_TOKENS else 0, finish)


def n_prompt_tokens(reply: Any) -> int | None:
    """How many tokens the server counted in the question, where it says so."""
    usage = reply.get("usage") if isinstance(reply, dict) else None
    n_tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return n_tokens if isinstance(n_tokens, int) else None
