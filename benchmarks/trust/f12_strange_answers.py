"""Answers that no model should give: from a server that says them, and from a model whose weights are no numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.trust.rows import Row, at_most, none_of
from tempo_core import filters, video_llms
from tempo_core.errors import QuestionRefused, ServerRefused
from tempo_core.servers import Server
from tempo_core.settings import EMBEDDED_MODEL
from tempo_core.types import Answer, Question, Sampling
from tempo_core.video_llms import server_line
from tempo_core.video_llms.answer_log import AnswerLog
from tempo_core.video_llms.base import HFVideoLLM
from tempo_core.video_llms.served import ServedVideoLLM
from tests.answering import MODEL, Answering, Fault, answering

PROMPT = "Describe what happens in the video, in order."
SAMPLING = Sampling(input="video", max_new_tokens=64)
TEN_MB = 10_000_000


def _saying(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}).encode()


STRANGE: dict[str, Callable[[int], bytes]] = {
    "nothing": lambda n: _saying(""),
    "blanks": lambda n: _saying(" \n\t "),
    "special tokens only": lambda n: _saying("<|im_end|><|endoftext|>"),
    "10 MB of one word": lambda n: _saying("word " * (TEN_MB // 5)),
    "10 MB of different words": lambda n: _saying(" ".join(f"{n}w{i:07}" for i in range(TEN_MB // 10))),
    "bad UTF-8": lambda n: _saying("a clip").replace(b"a clip", b"\xff\xfe a clip \x80"),
    "half characters": lambda n: _saying("\ud800\udfff\ud800"),
    "the prompt again": lambda n: _saying(PROMPT),
    "HTML": lambda n: _saying('<img src="http://127.0.0.1:9/x"><script>alert(1)</script>'),
    "a loop": lambda n: _saying("a man opens the door and " * 40),
    "no JSON": lambda n: b"<html>502 Bad Gateway</html>",
    "a refusal": lambda n: _saying(f"I'm sorry, but I cannot view the video. {n}"),
}
"""What is said to a question about the clean (0) and about the perturbed video (1)."""


def measure(scratch: Path, effort: float) -> list[Row]:
    took, queued = judged()
    slowest = max(took, key=lambda what: took[what])
    said = ", ".join(STRANGE)
    return [
        none_of(f"strange answers ({said}) that make a pair in the queue", len(queued), len(STRANGE), "12 kinds"),
        at_most(f"the slowest to judge ({slowest})", took[slowest], 5, " s"),
        of_no_numbers(),
    ]


def judged() -> tuple[dict[str, float], list[str]]:
    """Seconds to ask a server for each of `STRANGE` and to judge it, and those that make a pair in the queue."""
    took, queued = {}, []
    with answering() as server:
        for what, say in STRANGE.items():
            server.trouble = lambda n, request, say=say: Fault(200, say(n % 2))
            server.requests.clear()
            began = time.monotonic()
            if _reaches_the_queue(_asked(server)):
                queued.append(what)
            took[what] = time.monotonic() - began
    return took, queued


def _asked(server: Answering) -> list[Answer]:
    """What is kept of the answers to the two questions of a pair; none where one was refused."""
    line = server_line.Line(server.url, waits_s=(), sleep=lambda seconds: None)
    llm = ServedVideoLLM(Server(server.url, MODEL, at_once=1), line, AnswerLog(None))
    try:
        return [llm.answer([Question(PROMPT)], SAMPLING, [seed])[0] for seed in (1, 2)]
    except (QuestionRefused, ServerRefused):
        return []


def _reaches_the_queue(answers: list[Answer]) -> bool:
    """A pair of a kind that keeps every clip; rules for the others are no weaker."""
    return bool(answers) and filters.passed(filters.run(answers[0], answers[1], "shuffle"))


def of_no_numbers() -> Row:
    """Every kind of pair, drawn and greedy."""
    llm = video_llms.load(EMBEDDED_MODEL, device="cpu")
    assert isinstance(llm, HFVideoLLM)
    with torch.no_grad():
        for weight in llm.model.lm_head.parameters():
            weight.fill_(float("nan"))
    question, passed, n = Question("what happens in the video ?"), 0, 0
    for sampling in (SAMPLING, Sampling(input="video", temperature=0.0, max_new_tokens=64)):
        answers = llm.answer([question, question], sampling, [1, 2])
        for kind in ("drop", "shuffle", "reverse"):
            passed, n = passed + filters.passed(filters.run(answers[0], answers[1], kind)), n + 1
    return none_of("pairs of a model whose logits are NaN, in the queue", passed, n, "pairs")
