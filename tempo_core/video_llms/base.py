"""What every Video LLM can do here: load, answer and score; the same for all families of transformers.

The one thing to know: an answer and a score are the same numbers, whatever else is in the batch, and what was drawn
scores the same when it is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, GenerationConfig

from tempo_core.errors import ModelRefused, PromptTooLong
from tempo_core.settings import TRUST_REMOTE_CODE
from tempo_core.types import Answer, Frames, Question, Sampling
from tempo_core.video_llms.checkpoints import Checkpoint
from tempo_core.video_llms.drawing import Draw
from tempo_core.video_llms.encoding import VIDEO_TYPE as VIDEO_TYPE
from tempo_core.video_llms.encoding import Encoded as Encoded
from tempo_core.video_llms.encoding import padded
from tempo_core.video_llms.family import Family
from tempo_core.video_llms.positions import POSITIONS
from tempo_core.video_llms.roomy_cache import roomy
from tempo_core.video_llms.streamed import Streamed

ATTENTION: dict[str, dict[str, Any]] = {
    "stock": {},
    # Not one name for all: the tower would be handed the text's tree. The training engine registers the function.
    "tree": {"attn_implementation": {"text_config": "tree_sdpa", "vision_config": "sdpa", "": "sdpa"}},
}
"""What `load` tells transformers about attention."""


class VideoLLM(Protocol):
    """What pairing, training and evaluation ask of a Video LLM."""

    family: str
    prompt_set: str
    name: str
    positions: str
    model: nn.Module
    processor: Any
    tokenizer: Any
    lora_targets: str
    """Regular expression over module names: the linear layers of the language model, never of the vision tower."""
    tower_names: tuple[str, ...]
    """Names of the vision tower and its projector: what a video's features depend on."""
    batch_size: int
    """Questions in one forward."""
    long_side: int | None
    """Pictures are shrunk to this long side before the processor sees them; None keeps them."""

    @property
    def device(self) -> torch.device: ...

    @property
    def checkpoint(self) -> Checkpoint: ...

    def answer(self, questions: Sequence[Question], sampling: Sampling, seed: int | Sequence[int]) -> list[Answer]: ...

    def tell(self, question: Question, sampling: Sampling, seed: int, told: Callable[[str, int], None]) -> Answer: ...

    def log_probs(self, questions: Sequence[Question], answers: Sequence[str]) -> list[NDArray[np.float32]]: ...

    def encode(self, question: Question) -> Encoded: ...

    def encode_answer(self, text: str) -> list[int]: ...

    def check_text(self, text: str) -> None: ...

    def fps_of(self, n_pictures: int, duration_s: float) -> float: ...

    def shown(self, pixels: NDArray[np.uint8], numbers: Sequence[int], duration_s: float) -> Frames: ...


class HFVideoLLM(Family):
    """A family of transformers, loaded through its Auto classes from a local folder of safetensors."""

    @classmethod
    def load(
        cls,
        checkpoint: Checkpoint,
        *,
        device: str | None = None,
        dtype: str | None = None,
        positions: str | None = None,
        attention: str = "stock",
    ) -> Self:
        """Load a checkpoint that `checkpoints.inspect` let pass.

        Args:
            attention: "stock", or "tree" for training; `tempo_core.training.backbone` must be imported before.
        """
        positions = positions or cls.default_positions
        if positions not in POSITIONS:
            raise ValueError(f"positions is {positions!r}, must be one of {POSITIONS}")
        if attention not in ATTENTION:
            raise ValueError(f"attention is {attention!r}, must be one of {tuple(ATTENTION)}")
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = dtype or ("bfloat16" if device.startswith("cuda") else "float32")
        folder = str(checkpoint.path)
        options = {"local_files_only": True, "trust_remote_code": TRUST_REMOTE_CODE}
        try:
            processor = AutoProcessor.from_pretrained(folder, **options)
            model = AutoModelForImageTextToText.from_pretrained(
                folder, dtype=getattr(torch, dtype), use_safetensors=True, **ATTENTION[attention], **options
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ModelRefused(f"{folder} could not be loaded as {cls.family}: {error}") from error
        return cls(checkpoint, model.to(device).eval(), processor, positions)

    @classmethod
    def load_encoder(cls, checkpoint: Checkpoint) -> Self:
        """Everything but the weights, whose places are left empty: what counts tokens needs no memory for them."""
        folder, options = str(checkpoint.path), {"local_files_only": True, "trust_remote_code": TRUST_REMOTE_CODE}
        try:
            processor = AutoProcessor.from_pretrained(folder, **options)
            config = AutoConfig.from_pretrained(folder, **options)
            with torch.device("meta"):
                model = AutoModelForImageTextToText.from_config(config, trust_remote_code=TRUST_REMOTE_CODE)
            if (checkpoint.path / "generation_config.json").is_file():
                model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ModelRefused(f"{folder} could not be read as {cls.family}: {error}") from error
        return cls(checkpoint, model, processor, cls.default_positions)

    # --- asking ---------------------------------------------------------------------------------------------

    def answer(self, questions: Sequence[Question], sampling: Sampling, seed: int | Sequence[int]) -> list[Answer]:
        """Answer in free text, in the order of the questions.

        Args:
            seed: One per question, or one from which they are derived. The same seed gives the same draw, whatever
                else is in the batch.
        """
        seeds = _seeds(seed, len(questions))
        answers: dict[int, Answer] = {}
        for chosen in self._batches(questions):
            batch = self._answer_batch([questions[i] for i in chosen], sampling, [seeds[i] for i in chosen])
            answers.update(zip(chosen, batch, strict=True))
        return [answers[i] for i in range(len(questions))]

    def tell(self, question: Question, sampling: Sampling, seed: int, told: Callable[[str, int], None]) -> Answer:
        """Answer one question, the same as `answer` does, and say it as it comes.

        Args:
            told: Given the text so far and its tokens, after every token. It may raise to end the answer.
        """
        return self._answer_batch([question], sampling, [seed], Streamed(self.tokenizer, self.end_ids, told))[0]

    @torch.no_grad()
    def _answer_batch(
        self, questions: Sequence[Question], sampling: Sampling, seeds: Sequence[int], streamer: Any = None
    ) -> list[Answer]:
        encoded = self.encode_many(questions)
        self._check_room(encoded, sampling.max_new_tokens)
        inputs = self.collate(encoded, [()] * len(encoded), side="left")
        draw = Draw(sampling, seeds, inputs["attention_mask"] == 0, never=self._never)
        ids = self.model.generate(
            **inputs,
            generation_config=self._generation_config(sampling),
            logits_processor=[draw],
            past_key_values=roomy(self.bare_model.config),
            streamer=streamer,
        )
        new = ids[:, inputs["input_ids"].shape[1] :].tolist()
        log_probs = torch.stack(draw.log_probs, dim=1).cpu().numpy()
        return [self._answer(row, values) for row, values in zip(new, log_probs, strict=True)]

    def _check_room(self, encoded: Sequence[Encoded], n_new: int) -> None:
        room = int(self.bare_model.config.text_config.max_position_embeddings)
        longest = max(len(e.input_ids) for e in encoded)
        if longest + n_new > room:
            raise PromptTooLong(
                f"A prompt of {longest} tokens and an answer of up to {n_new} need more than the {room} positions of "
                f"{self.name}. Allow fewer new tokens, or leave out videos with so many clips."
            )

    def _generation_config(self, sampling: Sampling) -> Any:
        # `Draw` has already chosen when greedy decoding looks.
        return GenerationConfig(
            max_new_tokens=sampling.max_new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=list(self.end_ids),
            pad_token_id=self.pad_id,
        )

    def _answer(self, ids: Sequence[int], log_probs: NDArray[np.float32]) -> Answer:
        end = next((i for i, token in enumerate(ids) if token in self.end_ids), None)
        said = ids[:end]
        text = self.tokenizer.decode(said, skip_special_tokens=True).strip()
        n_drawn = len(said) + (end is not None)
        return Answer(text, len(said), "length" if end is None else "stop", float(log_probs[:n_drawn].sum()))

    # --- scoring --------------------------------------------------------------------------------------------

    def log_probs(self, questions: Sequence[Question], answers: Sequence[str]) -> list[NDArray[np.float32]]:
        """Log-probability of every token of the given answers, the end token included."""
        return self.log_probs_of_ids(questions, [self.encode_answer(answer) for answer in answers])

    def log_probs_of_ids(
        self, questions: Sequence[Question], answers: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        scores: dict[int, NDArray[np.float32]] = {}
        for chosen in self._batches(questions, [len(answer) for answer in answers]):
            batch = self._log_probs_batch([questions[i] for i in chosen], [answers[i] for i in chosen])
            scores.update(zip(chosen, batch, strict=True))
        return [scores[i] for i in range(len(questions))]

    @torch.no_grad()
    def _log_probs_batch(
        self, questions: Sequence[Question], answers: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        encoded = self.encode_many(questions)
        hidden = self.core(**self.collate(encoded, answers, side="right")).last_hidden_state
        # Only the answers' positions meet the vocabulary: all of them would be gigabytes with a large one.
        rows = [
            hidden[i, len(e.input_ids) - 1 : len(e.input_ids) - 1 + len(answer)]
            for i, (e, answer) in enumerate(zip(encoded, answers, strict=True))
        ]
        logits = self.bare_model.get_output_embeddings()(torch.cat(rows)).float()
        ids = torch.tensor([token for answer in answers for token in answer], device=logits.device)
        values = torch.log_softmax(logits, dim=-1).gather(1, ids[:, None]).squeeze(1)
        return [part.cpu().numpy() for part in torch.split(values, [len(answer) for answer in answers])]

    # --- batches --------------------------------------------------------------------------------------------

    def collate(self, encoded: Sequence[Encoded], answers: Sequence[Sequence[int]], *, side: str) -> dict[str, Any]:
        """Prompts with their answers as one padded batch of model inputs; generation pads left, scoring right."""
        ids, mask, types = (tensor.to(self.device) for tensor in padded(encoded, answers, self.pad_id, side))
        batch: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if self.forward_types:
            batch["mm_token_type_ids"] = types
        return {**batch, **self.video_inputs([video for e in encoded for video in e.videos])}

    def _batches(self, questions: Sequence[Question], extra: Sequence[int] | None = None) -> Iterator[list[int]]:
        """Indices in groups of similar length: little padding, and answers that end at about the same step."""

        def size(i: int) -> tuple[int, int]:
            n_pictures = sum(len(frames.numbers) for frames in questions[i].videos)
            return n_pictures, len(questions[i].text) + (extra[i] if extra else 0)

        order = sorted(range(len(questions)), key=size)
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]


def _seeds(seed: int | Sequence[int], n: int) -> list[int]:
    if isinstance(seed, int):
        return [int(s) for s in np.random.SeedSequence(seed).generate_state(n, np.uint64)] if n else []
    if len(seed) != n:
        raise ValueError(f"{len(seed)} seeds for {n} questions")
    return [int(s) for s in seed]
