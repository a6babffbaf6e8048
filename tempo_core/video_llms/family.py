"""What a family says of itself: how a prompt becomes token ids, and a video what the language model reads.

The one thing to know: ids are made in one place (`encode_many`), and a video becomes what the language model reads in
one place (`features`, `video_inputs`); a family gives names and four small functions for what is its own in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from typing import Any, ClassVar

import numpy as np
import torch
from jinja2 import TemplateError
from numpy.typing import NDArray
from torch import Tensor
from transformers import GenerationConfig

from tempo_core.errors import ModelRefused, OutsideVocabulary, VideoLost
from tempo_core.types import Frames, Question
from tempo_core.video_llms.checkpoints import Checkpoint
from tempo_core.video_llms.encoding import VIDEO_TYPE, Encoded, channels_first, conversation, metadata

FEATURES = "features"
"""Key of what `features` gives for every family: (V, D), one row per video token."""

LORA_TARGETS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
"""The linear layers of a language model of the Llama kind; never the vision tower's."""


class Family:
    """A loaded model of one family. A new one gives the names below and `_tensors_by_video`, `_n_features`, `_see`
    and `_seen`."""

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
            VideoLost: A question with pictures whose ids hold no video, or not as many tokens as the pictures give;
                with clips, not as many runs of video tokens as clips.
        """
        return self.encode_many([question])[0]

    def _prompts(self, questions: Sequence[Question]) -> list[str]:
        """The conversations as the model's own template writes them; transformers runs it in a sandbox."""
        try:
            prompts: list[str] = self.processor.apply_chat_template(
                [conversation(question) for question in questions], tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, OverflowError, TypeError) as error:  # the sandbox raises all three
            raise ModelRefused(
                f"The chat template of {self.name} cannot be used ({error}). Use the model's own template."
            ) from error
        return prompts

    def encode_many(self, questions: Sequence[Question]) -> list[Encoded]:
        """As `encode`, for many: the processor is called once."""
        for question in questions:
            self.check_text(question.text)
        videos = [frames for question in questions for frames in question.videos]
        prompts = self._prompts(questions)
        for question, prompt in zip(questions, prompts, strict=True):
            if prompt.count(self.processor.video_token) != len(question.videos):
                raise VideoLost(
                    f"The chat template of {self.name} gives {prompt.count(self.processor.video_token)} places for a "
                    f"video, the question needs {len(question.videos)}. Use the model's own template."
                )
        pictures: dict[str, Any] = {}
        if videos:
            pictures["videos"] = [channels_first(video) for video in videos]
            pictures["video_metadata"] = [metadata(video) for video in videos]
            pictures.update(self.video_options)
        batch = self.processor(text=list(prompts), **pictures)
        tensors = iter(self._tensors_by_video(batch, [len(video.pixels) for video in videos]) if videos else ())
        return [
            self._encoded(ids, tuple(islice(tensors, len(question.videos))))
            for question, ids in zip(questions, batch["input_ids"], strict=True)
        ]

    def _encoded(self, ids: Sequence[int], videos: Sequence[dict[str, Tensor]]) -> Encoded:
        input_ids = torch.as_tensor(ids, dtype=torch.long)
        types = (input_ids == self.video_token_id).long() * VIDEO_TYPE
        places = (types == VIDEO_TYPE).nonzero().flatten().tolist()
        expected = [self._n_features(tensors) for tensors in videos]
        if 0 in expected:
            raise VideoLost("The pictures give no video token. Ask with one picture or more.")
        if len(places) != sum(expected):
            raise VideoLost(
                f"The prompt holds {len(places)} video tokens and the pictures give {sum(expected)}. "
                "The processor and the weights of this model do not belong together: use the model's own processor."
            )
        # Between two clips must stand something else, or the model is shown one video where it was asked about two.
        borders = list(accumulate(expected))[:-1]
        if any(places[border] == places[border - 1] + 1 for border in borders):
            raise VideoLost(
                f"The {len(expected)} clips of a question run into each other in the prompt of {self.name}. "
                "Use the model's own chat template, or ask on the whole video instead."
            )
        return Encoded(input_ids, types, videos[0] if videos else {}, len(places), tuple(videos[1:]))

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
        if encoded.more:
            raise ValueError("features are of one video; training shows the whole video, never clips")
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

    def _tensors_by_video(self, batch: Any, n_pictures: Sequence[int]) -> Iterator[dict[str, Tensor]]:
        """What the processor made of each video: pixels and grids by the names that forward gives them.

        Args:
            n_pictures: Of each video, in the order of the batch.
        """
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


def _end_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Ids that end an answer; the tokenizer's own end token first, because that is what closes a turn."""
    given = model.generation_config.eos_token_id
    listed = list(given) if isinstance(given, list | tuple) else [] if given is None else [given]
    first = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    ends = tuple(dict.fromkeys(int(i) for i in [*first, *listed]))
    if not ends:
        raise ModelRefused("The tokenizer and the model name no end token, so no answer could end.")
    return ends
