"""What is asked of a Video LLM, in our own words; a family names the set it understands.

A pair's prompt is one of six ways to ask for the events in order, drawn by seed, always about the WHOLE clean video.
The embedded model knows its small vocabulary only, so its set is worded in it. A group may ask in words of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tempo_core.worlds import vocabulary

VERSION = 1
"""Stored with every response; a changed word needs a new one."""


@dataclass(frozen=True, slots=True)
class PromptSet:
    """The questions one kind of model is asked."""

    name: str
    describe: tuple[str, ...]
    """Phrasings of "describe the events in order"."""
    caption_first: str
    """Asks for the caption of one clip, seen alone."""
    caption_next: Callable[[str], str]
    """Asks for a clip's caption given the caption of the clip before it in the timeline."""
    from_clips: Callable[[str], str]
    """Asks the same about several short videos instead of one, in one of the phrasings."""
    from_captions: Callable[[Sequence[str]], str]
    """Asks, without pictures, for one description from clip captions listed in plan order."""
    differential: bool = True
    """Whether `caption_next` uses the caption before. If not, the clips of a video can be captioned in one batch."""

    def asking(self, phrasings: Sequence[str]) -> PromptSet:
        """This set with other ways to ask for the whole video; itself when there are none."""
        return replace(self, describe=tuple(phrasings)) if phrasings else self

    def phrasing(self, seed: int) -> str:
        """The phrasing this seed draws."""
        return self.describe[random.Random(seed).randrange(len(self.describe))]


def _general_next(previous: str) -> str:
    return (
        f'This clip follows another clip of the same video, which was described so: "{_one_line(previous)}"\n'
        "Describe this clip. Say above all what is new or has changed; do not repeat what has stayed the same."
    )


def _general_clips(phrasing: str) -> str:
    return (
        "These short videos are the clips of one video, in the order in which they are shown. Take them for the whole "
        f"video and mention neither clips nor numbers. {phrasing}"
    )


def _general_list(captions: Sequence[str]) -> str:
    lines = "\n".join(f"{i}. {_one_line(caption)}" for i, caption in enumerate(_some(captions), 1))
    return (
        f"These are descriptions of the clips of one video, in the order in which they are shown:\n{lines}\n"
        "Write one connected description of the whole video from them. Keep their order, add nothing that they do not "
        "say, and mention neither clips nor numbers."
    )


def _embedded_list(captions: Sequence[str]) -> str:
    return vocabulary.from_captions([_one_line(caption) for caption in _some(captions)])


def _one_line(text: str) -> str:
    """Answers may hold line breaks; in a list each must stay one item."""
    return " ".join(text.split())


def _some(captions: Sequence[str]) -> Sequence[str]:
    if not captions:
        raise ValueError("A list of no captions describes no video.")
    return captions


PROMPT_SETS: dict[str, PromptSet] = {
    "general": PromptSet(
        name="general",
        describe=(
            "Describe what happens in this video, from the first event to the last.",
            "Tell the story of this video in the order in which it unfolds.",
            "Go through this video from start to end and say what can be seen at each point.",
            "Give a full account of this video, with every event at its place in time.",
            "What takes place in this video? Report the events one after another, as they occur.",
            "Write down the course of this video: what comes first, what follows, and how it ends.",
        ),
        caption_first="Describe this short clip: who or what can be seen, where, and what happens.",
        caption_next=_general_next,
        from_clips=_general_clips,
        from_captions=_general_list,
    ),
    "embedded": PromptSet(
        name="embedded",
        describe=vocabulary.DESCRIBE,
        caption_first=vocabulary.DESCRIBE[0],
        caption_next=lambda previous: vocabulary.DESCRIBE[0],
        from_clips=lambda phrasing: phrasing,
        from_captions=_embedded_list,
        differential=False,
    ),
}
