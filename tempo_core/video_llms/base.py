"""What every Video LLM can do here, and how the families of transformers do it.

The one thing to know: a prompt becomes token ids in one place (`encode_many`), and its video becomes what the language
model reads in one place (`features`, `video_inputs`); a family says only what is its own in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

from tempo_core.errors import ModelRefused, OutsideVocabulary, PromptTooLong, VideoLost
from tempo_core.settings import TRUST_REMOTE_CODE
from tempo_core.types import Answer, Frames, Question, Sampling
from tempo_core.video_llms.checkpoints import Checkpoint
from tempo_core.video_llms.drawing import Draw
from tempo_core.video_llms.encoding import VIDEO_TYPE as VIDEO_TYPE
from tempo_core.video_llms.encoding import Encoded as Encoded
from tempo_core.video_llms.encoding import channels_first, conversation, metadata, padded
from tempo_core.video_llms.positions import POSITIONS
from tempo_core.video_llms.roomy_cache import roomy

FEATURES = "features"
"""Key of what `features` gives for every family: (V, D), one row per video token."""

LORA_TARGETS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
"""The linear layers of a language model of the Llama kind; never the vision tower's."""

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

    def log_probs(self, questions: Sequence[Question], answers: Sequence[str]) -> list[NDArray[np.float32]]: ...

    def encode(self, question: Question) -> Encoded: ...

    def encode_answer(self, text: str) -> list[int]: ...

    def check_text(self, text: str) -> None: ...

    def fps_of(self, n_pictures: int, duration_s: float) -> float: ...

    def shown(self, pixels: NDArray[np.uint8], numbers: Sequence[int], duration_s: float) -> Frames: ...


class HFVideoLLM:
    """A family of transformers, loaded through its Auto classes from a local folder of safetensors.

    A family gives the five names below and four functions: `_tensors_by_video`, `_n_features`, `_see`, `_seen`.
    """

    family: str = ""
    prompt_set: str = "general"
    lora_targets: str = LORA_TARGETS
    position_rows: int = 1
    """Rows of `positions_of`: 3 where time, height and width have their own, else 1."""
    forward_types: bool = False
    """Whether forward takes `mm_token_type_ids`."""
    pixel_key: ClassVar[str] = "pixel_values_videos"
    """What forward calls the pixels."""
    grid_keys: ClassVar[tuple[str, ...]] = ()
    """What else of a video forward wants to know."""
    modality: ClassVar[str] = "video"
    """What forward and the configuration call a video's features and tokens."""
    tower_names: tuple[str, ...] = ()
    long_side: int | None = None
    batch_size: int = 8
    """Questions in one forward; what memory allows."""
    default_positions: ClassVar[str] = "hf"
    video_options: ClassVar[dict[str, Any]] = {"do_sample_frames": False}
    """Given to the processor with every video."""

    def __init__(self, checkpoint: Checkpoint, model: Any, processor: Any, positions: str) -> None:
        self.checkpoint = checkpoint
        self.name = checkpoint.name
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.positions = positions
        self.video_token_id = int(getattr(model.config, f"{self.modality}_token_id"))
        self.end_ids = _end_ids(model, self.tokenizer)
        self._control_tokens = (*self.tokenizer.all_special_tokens, processor.video_token)
        special = {*self.tokenizer.all_special_ids, self.video_token_id, int(model.config.image_token_id)}
        self._never = sorted(special - set(self.end_ids))
        # The checkpoint's own sampling settings would fill every gap in ours.
        model.generation_config = GenerationConfig(eos_token_id=list(self.end_ids), pad_token_id=self.pad_id)

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

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def bare_model(self) -> Any:
        """The model itself, also while a trainer has wrapped it with adapters."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def core(self) -> Any:
        """The model without its head."""
        return self.bare_model.model

    @property
    def end_id(self) -> int:
        return self.end_ids[0]

    @property
    def pad_id(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(self.end_id if pad is None else pad)

    # --- text and pictures to ids ---------------------------------------------------------------------------

    def check_text(self, text: str) -> None:
        """Refuse text that this model cannot read.

        Raises:
            OutsideVocabulary: The text holds a control token, which would open or close turns of the conversation.
        """
        for token in self._control_tokens:
            if token in text:
                raise OutsideVocabulary(f"{token!r} is a control token of {self.name}. Remove it from the text.")

    def encode(self, question: Question) -> Encoded:
        """One prompt as ids, ready for an answer to be appended.

        Raises:
            VideoLost: A question with pictures whose ids hold no video, or not as many tokens as the pictures give.
        """
        return self.encode_many([question])[0]

    def encode_many(self, questions: Sequence[Question]) -> list[Encoded]:
        """As `encode`, for many: the processor is called once."""
        for question in questions:
            self.check_text(question.text)
        videos = [question.frames for question in questions if question.frames is not None]
        prompts = self.processor.apply_chat_template(
            [conversation(question) for question in questions], tokenize=False, add_generation_prompt=True
        )
        for question, prompt in zip(questions, prompts, strict=True):
            if prompt.count(self.processor.video_token) != (question.frames is not None):
                raise VideoLost(
                    f"The chat template of {self.name} gives {prompt.count(self.processor.video_token)} places for a "
                    f"video, the question needs {int(question.frames is not None)}. Use the model's own template."
                )
        pictures: dict[str, Any] = {}
        if videos:
            pictures["videos"] = [channels_first(video) for video in videos]
            pictures["video_metadata"] = [metadata(video) for video in videos]
            pictures.update(self.video_options)
        batch = self.processor(text=list(prompts), **pictures)
        tensors = iter(self._tensors_by_video(batch) if videos else ())
        return [
            self._encoded(ids, next(tensors) if question.frames is not None else {})
            for question, ids in zip(questions, batch["input_ids"], strict=True)
        ]

    def _encoded(self, ids: Sequence[int], tensors: dict[str, Tensor]) -> Encoded:
        input_ids = torch.as_tensor(ids, dtype=torch.long)
        types = (input_ids == self.video_token_id).long() * VIDEO_TYPE
        n_video_tokens = int((types == VIDEO_TYPE).sum())
        expected = self._n_features(tensors) if tensors else 0
        if tensors and not expected:
            raise VideoLost("The pictures give no video token. Ask with one picture or more.")
        if n_video_tokens != expected:
            raise VideoLost(
                f"The prompt holds {n_video_tokens} video tokens and the pictures give {expected}. "
                "The processor and the weights of this model do not belong together: use the model's own processor."
            )
        return Encoded(input_ids, types, tensors, n_video_tokens)

    def encode_answer(self, text: str) -> list[int]:
        """An answer's ids as generation emits them: tokenised apart from the prompt, and with the end token."""
        self.check_text(text)
        return [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.end_id]

    def fps_of(self, n_pictures: int, duration_s: float) -> float:
        """The rate to tell the model for pictures spread over `duration_s`."""
        return n_pictures / duration_s if duration_s > 0 else 1.0

    def shown(self, pixels: NDArray[np.uint8], numbers: Sequence[int], duration_s: float) -> Frames:
        """Pictures as this model is told of them. Pairing, training and evaluation all come through here."""
        return Frames(pixels, tuple(numbers), self.fps_of(len(numbers), duration_s))

    # --- the video apart from the text ----------------------------------------------------------------------

    def video_end(self, encoded: Encoded) -> int:
        """Index after the last video token: what depends on the video ends here. 0 without a video."""
        places = (encoded.mm_token_type_ids == VIDEO_TYPE).nonzero()
        return int(places.max()) + 1 if len(places) else 0

    def positions_of(self, encoded: Encoded) -> Tensor:
        """Positions of one prompt, shape (R, L) with R = `position_rows`."""
        return torch.arange(len(encoded.input_ids))[None].expand(self.position_rows, -1)

    @torch.no_grad()
    def features(self, encoded: Encoded) -> dict[str, Tensor]:
        """What the frozen tower and its projector make of a prompt's video, on the model's device.

        Returns:
            "features" (V, D), V = `n_video_tokens`, and "deepstack.0", ... (V, D) where the family has them.
        """
        if not encoded.tensors:
            raise VideoLost("A prompt without a video has no features. Ask with one picture or more.")
        return self._see({key: tensor.to(self.device) for key, tensor in encoded.tensors.items()})

    def video_inputs(self, videos: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        """What forward needs of the videos in one row or batch, in the order of their places in it.

        Args:
            videos: Of each what `features` gave, or `Encoded.tensors` where the tower is to run (and to learn). Not
                mixed; keys that forward does not know are left alone.
        """
        if not videos:
            return {}
        here = [{key: tensor.to(self.device) for key, tensor in video.items()} for video in videos]
        shown = self._seen(here) if FEATURES in here[0] else self._pixels(here)
        grids = {key: torch.cat([v[key] for v in here]) for key in self.grid_keys if all(key in v for v in here)}
        return {**shown, **grids}

    def _pixels(self, videos: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        return {self.pixel_key: torch.cat([video[self.pixel_key] for video in videos])}

    def _tensors_by_video(self, batch: Any) -> Iterator[dict[str, Tensor]]:
        """What the processor made of each video: pixels and grids by the names that forward gives them."""
        raise NotImplementedError

    def _n_features(self, tensors: dict[str, Tensor]) -> int:
        """How many video tokens the pixels will give."""
        raise NotImplementedError

    def _see(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """One video through tower and projector: see `features`."""
        raise NotImplementedError

    def _seen(self, videos: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        """Features as the output of the tower that forward would have run itself."""
        raise NotImplementedError

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

    @torch.no_grad()
    def _answer_batch(self, questions: Sequence[Question], sampling: Sampling, seeds: Sequence[int]) -> list[Answer]:
        encoded = self.encode_many(questions)
        self._check_room(encoded, sampling.max_new_tokens)
        inputs = self.collate(encoded, [()] * len(encoded), side="left")
        draw = Draw(sampling, seeds, inputs["attention_mask"] == 0, never=self._never)
        ids = self.model.generate(
            **inputs,
            generation_config=self._generation_config(sampling),
            logits_processor=[draw],
            past_key_values=roomy(self.bare_model.config),
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
        return {**batch, **self.video_inputs([e.tensors for e in encoded if e.tensors])}

    def _batches(self, questions: Sequence[Question], extra: Sequence[int] | None = None) -> Iterator[list[int]]:
        """Indices in groups of similar length: little padding, and answers that end at about the same step."""

        def size(i: int) -> tuple[int, int]:
            frames = questions[i].frames
            n_pictures = 0 if frames is None else len(frames.numbers)
            return n_pictures, len(questions[i].text) + (extra[i] if extra else 0)

        order = sorted(range(len(questions)), key=size)
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]


def _end_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Ids that end an answer; the tokenizer's own end token first, because that is what closes a turn."""
    given = model.generation_config.eos_token_id
    listed = list(given) if isinstance(given, list | tuple) else [] if given is None else [given]
    first = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    ends = tuple(dict.fromkeys(int(i) for i in [*first, *listed]))
    if not ends:
        raise ModelRefused("The tokenizer and the model name no end token, so no answer could end.")
    return ends


def _seeds(seed: int | Sequence[int], n: int) -> list[int]:
    if isinstance(seed, int):
        return [int(s) for s in np.random.SeedSequence(seed).generate_state(n, np.uint64)] if n else []
    if len(seed) != n:
        raise ValueError(f"{len(seed)} seeds for {n} questions")
    return [int(s) for s in seed]
