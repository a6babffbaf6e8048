"""A model behind any OpenAI-compatible server, asked as the models of this process are. No torch comes with it.

The one thing to know: what the server really runs cannot be seen from here. So its address, the model's name and what
the server says of it are part of the model's fingerprint, and before the first question up to three small ones show
whether the pictures arrive: a prompt must grow by each video, or every answer would be about nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tempo_core.errors import ServerRefused, VideoLost
from tempo_core.servers import Server
from tempo_core.types import Answer, Frames, JsonDict, Question, Sampling
from tempo_core.video_llms import server_form
from tempo_core.video_llms.answer_log import AnswerLog
from tempo_core.video_llms.server_line import Line

ASK = "/chat/completions"
MODELS = "/models"
LONG_SIDE = 448
"""As for Qwen2.5-VL in this process; the server's own processor may shrink pictures further."""
MOST_FPS = 4.0
"""Above it Qwen2.5-VL would give neighbouring pictures one temporal position, and which model answers is not known."""
_PROBE_PX = 224
_NAMED = 10


class ServedVideoLLM:
    """Answers like `base.VideoLLM`, without weights: it can be asked, and neither trained nor scored."""

    family = "server"
    prompt_set = "general"
    positions = "server"
    """Where text after a video stands is the server's business and not known here."""
    long_side = LONG_SIDE

    def __init__(self, server: Server, line: Line, log: AnswerLog) -> None:
        self.server, self.name, self.batch_size = server, server.model, server.at_once
        self._line, self.log = line, log

    @property
    def backend(self) -> JsonDict:
        """What of the way to the model shapes an answer; stored with every response."""
        return {
            "backend": "openai",
            "server": self._line.url,
            "served_model": self.name,
            "frames_as": self.server.frames_as,
            "jpeg_quality": server_form.JPEG_QUALITY,
            "long_side": LONG_SIDE,
        }

    def check(self) -> str:
        """Look whether the server is there and serves the model; the model's fingerprint.

        Raises:
            ServerAway: Nothing answers there.
            ServerRefused: It has no such model, wants another key, or is no such server.
        """
        listed = self._line.get(MODELS)
        models = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(models, list):
            raise ServerRefused(f"{self._line.url} lists no models. An address usually ends in /v1.")
        known = {str(model.get("id")): model for model in models if isinstance(model, dict)}
        if self.name not in known:
            names = ", ".join(sorted(known)[:_NAMED]) or "none"
            raise ServerRefused(f"{self._line.url} serves no model {self.name!r}. It serves: {names[:500]}.")
        # vLLM tells what it loaded under a name; another model under the same name is another model.
        told = {"server": self._line.url, "model": self.name, "root": str(known[self.name].get("root") or "")}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def check_questions(self, sampling: Sampling, *, pictures: bool = True) -> bool:
        """Ask for one token about no video, one, and for clips two; whether the counts of tokens could be compared.

        Raises:
            VideoLost: The prompt does not grow by each video: the server leaves pictures away without a word.
            QuestionRefused: It takes no such sampling, no videos, or not several in one question.
        """
        questions = [Question("Describe this.")]
        if pictures:
            questions.append(Question("Describe this.", _made_up()))
        if pictures and sampling.input == "clips":
            questions.append(Question("Describe this.", clips=(_made_up(), _made_up())))
        small = replace(sampling, max_new_tokens=1)
        counts = [server_form.n_prompt_tokens(self._post(question, small)) for question in questions]
        told = [count for count in counts if count is not None]
        if len(told) < len(counts):
            return False
        for n_videos, (before, after) in enumerate(pairwise(told), 1):
            if after <= before:
                raise VideoLost(
                    f"{self._line.url} counts {after} tokens in a question about {n_videos} videos and {before} in one "
                    f"about {n_videos - 1}: {self.name} does not see the pictures. Serve a model that sees, or send "
                    "frames the other way (video or images)."
                )
        return True

    def answer(self, questions: Sequence[Question], sampling: Sampling, seed: Sequence[int]) -> list[Answer]:
        """Answer in the order of the questions, `at_once` of them at a time.

        Raises:
            TempoError: The first question that came to nothing; what others brought is in the log.
        """
        with ThreadPoolExecutor(self.server.at_once, thread_name_prefix="asking") as pool:
            futures = [pool.submit(self._answer, q, sampling, s) for q, s in zip(questions, seed, strict=True)]
            try:
                return [future.result() for future in futures]
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def shown(self, pixels: NDArray[np.uint8], numbers: Sequence[int], duration_s: float) -> Frames:
        rate = len(numbers) / duration_s if duration_s > 0 else 1.0
        return Frames(pixels, tuple(numbers), min(rate, MOST_FPS))

    def _answer(self, question: Question, sampling: Sampling, seed: int) -> Answer:
        body = server_form.body(self.server, question, sampling, seed)
        known = self.log.get(body)
        if known is not None:
            return known
        answer = server_form.answer(self._line.url, self._line.post(ASK, body))
        self.log.keep(body, answer)
        return answer

    def _post(self, question: Question, sampling: Sampling) -> object:
        return self._line.post(ASK, server_form.body(self.server, question, sampling, seed=0))


def _made_up() -> Frames:
    """Two pictures of a slope of grey: enough for every processor, and about nothing."""
    slope = np.linspace(0, 255, _PROBE_PX, dtype=np.uint8)
    picture = np.broadcast_to(slope[None, :, None], (_PROBE_PX, _PROBE_PX, 3))
    return Frames(np.ascontiguousarray(np.stack([picture, picture[:, ::-1]])), (0, 1), 1.0)
