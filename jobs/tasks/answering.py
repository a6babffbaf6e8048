"""Who answers in a job that makes pairs: a model of a folder in this process, or one behind a server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from db import models, samplings
from jobs.payloads import PairPayload
from tempo_core import video_llms
from tempo_core.servers import Server
from tempo_core.types import JsonDict, Sampling
from tempo_core.video_llms import checkpoints

if TYPE_CHECKING:
    from tempo_core.video_llms.answer_log import AnswerLog
    from tempo_core.video_llms.base import VideoLLM
    from tempo_core.video_llms.served import ServedVideoLLM

LOG = "answers.jsonl"
"""In the job's folder, the same in every attempt: what a server has said and the database may not have yet."""


@dataclass(frozen=True, slots=True)
class Answering:
    """A model ready to be asked, and how it is known. `backend` is what else of it is stored with every response."""

    llm: VideoLLM | ServedVideoLLM
    sampling: Sampling
    path: Path | str
    family: str
    fingerprint: str
    backend: JsonDict
    log: AnswerLog | None = None

    def stored(self) -> None:
        """All that was answered is in the database now."""
        if self.log is not None:
            self.log.done()

    def model_id(self, session: Session) -> int:
        return models.register(session, self.path, self.family, self.fingerprint, self.llm.name)

    def sampling_id(self, session: Session, captions: str | None = None) -> int:
        """`captions`: the sha256 of the file they came from, where the model is told them and not the pictures."""
        backend = self.backend
        if captions is not None:
            unseen = ("frames_as", "jpeg_quality", "long_side")
            backend = {name: value for name, value in backend.items() if name not in unseen} | {"captions": captions}
        return samplings.id_of(session, self.sampling, backend)


def answering(payload: PairPayload, folder: Path) -> Answering:
    """The payload's model, checked and loaded.

    Args:
        folder: The job's own.

    Raises:
        TempoError: The folder is no model, the server does not serve it, or it cannot be asked on this input.
    """
    server = payload.answers_at
    return _of_folder(payload) if server is None else _of_server(payload, server, folder)


def _of_folder(payload: PairPayload) -> Answering:
    checkpoints.check_input(checkpoints.inspect(payload.model), payload.input)
    llm = video_llms.load(Path(payload.model), positions=payload.positions)
    sampling = replace(payload.sampling, positions=llm.positions)
    found = llm.checkpoint
    return Answering(llm, sampling, found.path, found.family, found.files_sha256, {})


def _of_server(payload: PairPayload, server: Server, folder: Path) -> Answering:
    llm = video_llms.connect(server, folder / LOG)
    fingerprint = llm.check()
    sampling = replace(payload.sampling, positions=llm.positions)
    if not llm.check_questions(sampling, pictures=payload.captions_from is None):
        print(
            f"{server.url} counts no tokens, so it could not be checked that {llm.name} sees the pictures.", flush=True
        )
    return Answering(llm, sampling, server.url, llm.family, fingerprint, llm.backend, llm.log)
