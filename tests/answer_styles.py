"""How models put an answer. The first thirteen are those that the parser was measured with on every official item."""

from __future__ import annotations

from collections.abc import Sequence

STYLES = {
    "letter": "{label}",
    "small letter": "{small}",
    "letter and stop": "{label}.",
    "brackets": "({label})",
    "letter, bracket, text": "{label}) {text}",
    "letter, stop, text": "{label}. {text}",
    "brackets and text": "({label}) {text}",
    "letter, colon, text": "{label}: {text}",
    "text": "{text}",
    "told": "The answer is {label}.",
    "told with brackets": "Answer: ({label})",
    "bold": "**{label}**",
    "thinking first": "<think>Is it {other}? No, {other} is wrong.</think>\n{label}",
    "bold, then words": "**{label}.** {text}",
    "option": "Option {label}",
    "told whole": "The correct answer is {label}. {text}",
    "a sentence": "In the video I see {text}, as asked",
    "own line": "{label}\nThis is what can be seen.",
}
MEASURED = tuple(STYLES)[:13]
CAPTIONS = (
    "{label}", "{word} {label}", "{word} {label}: {text}", "{label}: {text}", "{text}", "({label})",
    "**{word} {label}**", "The {word} that fits is {word} {label}.",
)  # fmt: skip
"""Of an answer whose labels have a word before them: Option, Sentence, Caption."""


def said(style: str, i: int, labels: Sequence[str], options: Sequence[str], word: str = "") -> str:
    """Option `i` in this style."""
    label, other = labels[i], labels[(i + 1) % len(labels)]
    return style.format(label=label, small=label.lower(), other=other, text=options[i], word=word)
