"""From what a model said to which option it chose: one parser for all choice benchmarks, and one for yes or no.

The one thing to know: the first rule that fires wins, and what no rule reads stays unparsed. An unparsed answer is
wrong and is counted; it is never replaced by a guess. The field's shortcuts ("the first character", "the first lone
letter") misread "A man jumps." as option A.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

PARSER_VERSION = 1
"""Part of every score's settings: answers read by other rules are not compared."""

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_DROPPED = str.maketrans("", "", "*_`\"'“”„«»‘’")
_LEAD = (
    r"(?:(?:so|thus|therefore|final)[, ]+)?(?:the +)?(?:(?:correct|best|right|final) +)?"
    r"(?:answer|option|choice|sentence|caption)?(?: +is)?(?: *[:\-])? *(?:option|sentence|caption|choice)? *"
)
_NOT_BEFORE = re.compile(r"\b(?:not|no|never|neither|nor|isnt|dont|doesnt|cannot|cant|wasnt|arent)\b")
_NOT_AT = re.compile(r"\b(?:not|no|never|neither|nor|isnt|doesnt|wasnt|arent)(?: +(?:a|an|the|in|is|be))? *\Z")
_ALSO_WORDS = ("because", "since", "as", "based")
"""What may follow a lone A or I that is a label; before any other word it may be the article or the pronoun."""


@dataclass(frozen=True, slots=True)
class Read:
    """Which option was chosen (None = unparsed), and the rule that said so."""

    choice: int | None
    rule: str


UNPARSED = Read(None, "unparsed")


def choice(text: str, labels: Sequence[str], options: Sequence[str]) -> Read:
    """The option that an answer names by its label or by its text.

    Args:
        labels: "A", "B", ... or "1", "2"; as many as options.
        options: Where several are the same text, the first of them stands for all.
    """
    said = _plain(_spoken(text))
    if not said:
        return UNPARSED
    known, texts = _patterns(tuple(labels)), _normal_all(tuple(options))
    whole = said.casefold()
    if whole in texts:
        return Read(texts.index(whole), "text")
    for rule in (_label_and_text, _label_alone, _label_first, _told, _one_option, _label_and_space):
        found = rule(_Said(_spoken(text), said, whole), known, texts)
        if found is not None:
            return found
    return UNPARSED


def yes_no(text: str) -> Read:
    """0 for yes, 1 for no: the first word, whole. "Not sure" and "yes or no" are neither."""
    said = _plain(_spoken(text)).casefold()
    found = re.match(r"(?:(?:the +)?answer(?: +is)?(?: *:)? *)?\W*(yes|no)\b(?! *(?:or|/) *(?:yes|no)\b)", said)
    return UNPARSED if found is None else Read(int(found[1] == "no"), "first word")


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer without its thoughts: as it was, in one line without marks, and in lower case."""

    raw: str
    plain: str
    whole: str


@dataclass(frozen=True, slots=True)
class _Patterns:
    labels: tuple[str, ...]
    with_text: re.Pattern[str]
    alone: re.Pattern[str]
    first: re.Pattern[str]
    told: re.Pattern[str]
    space: re.Pattern[str]
    any: re.Pattern[str]
    also: re.Pattern[str]

    def place(self, label: str) -> int:
        return self.labels.index(label.casefold())


@lru_cache(maxsize=64)
def _patterns(labels: tuple[str, ...]) -> _Patterns:
    any_case = "|".join(re.escape(label) for label in labels)
    also = rf"[\])]*[ ,]*(?:or|and|/|&|,) *(?:(?:option|sentence|caption) +)?[\[(]*(?:{any_case})\b"
    return _Patterns(
        labels=tuple(label.casefold() for label in labels),
        with_text=re.compile(rf"{_LEAD}[\[({{<]*({any_case})(?!\w)[\])}}>]*[ ).:,\-–—]*(.+)", re.IGNORECASE),
        alone=re.compile(rf"[\[({{<]*({any_case})[\])}}>.,:;!]*", re.IGNORECASE),
        first=re.compile(rf"[\s*_`\"'\[(]*({any_case})(?:[)\]:*]|\.(?!\d)|[ \t]*\n)", re.IGNORECASE),
        told=re.compile(
            rf"\b(?i:answer|option|choice|sentence|caption)(?:\s+is)?\s*[:\-]?\s*[\[(]*"
            rf"(?:({any_case})(?!\w)|((?i:{any_case}))(?=[)\].,:;]|\Z))"
        ),
        space=re.compile(rf"({'|'.join(re.escape(label) for label in labels if label not in 'AI') or '(?!)'}) "),
        any=re.compile(rf"(?<!\w)({any_case})(?!\w)"),
        also=re.compile(also, re.IGNORECASE),
    )


def _label_and_text(said: _Said, known: _Patterns, texts: tuple[str, ...]) -> Read | None:
    """2: label, mark and text, and the text is that label's option. Another option's text contradicts the label."""
    found = known.with_text.fullmatch(said.plain)
    if found is None:
        return None
    text = _normal(found[2])
    if text not in texts:
        return None
    place = known.place(found[1])
    return Read(place, "label and text") if texts[place] == text else UNPARSED


def _label_alone(said: _Said, known: _Patterns, texts: tuple[str, ...]) -> Read | None:
    """3: nothing but one label, in any brackets."""
    found = known.alone.fullmatch(said.plain)
    return None if found is None else Read(known.place(found[1]), "label")


def _label_first(said: _Said, known: _Patterns, texts: tuple[str, ...]) -> Read | None:
    """4: a label and a mark, or a label on a line of its own, before anything else."""
    found = known.first.match(said.raw)
    if found is None:
        return None
    rest = _plain(said.raw[found.end(1) :])
    if known.also.match(rest):
        return UNPARSED
    return Read(known.place(found[1]), "label first")


def _told(said: _Said, known: _Patterns, texts: tuple[str, ...]) -> Read | None:
    """5: "the answer is B", "Option 2": one distinct label, not denied, and no other one beside it."""
    found: set[int] = set()
    for match in known.told.finditer(said.plain):
        label, end = match[1] or match[2], match.end()
        sentence = re.split(r"[.;!?] ", said.whole[: match.start()])[-1]
        if _NOT_BEFORE.search(sentence) or known.also.match(said.plain[end:]):
            return UNPARSED
        if _is_word(said.plain, label, end, texts):
            continue
        found.add(known.place(label))
    if not found:
        return None
    return Read(found.pop(), "told") if len(found) == 1 else UNPARSED


def _is_word(plain: str, label: str, end: int, texts: tuple[str, ...]) -> bool:
    """Whether what looks like a label begins an option's text, or is the article or the pronoun."""
    rest = plain[end - len(label) :].casefold()
    if any(text.startswith(f"{label.casefold()} ") and rest.startswith(text) for text in texts):
        return True
    following = re.match(r" +(\w+)", plain[end:])
    return label in ("A", "I") and following is not None and following[1].casefold() not in _ALSO_WORDS


def _one_option(said: _Said, known: _Patterns, texts: tuple[str, ...]) -> Read | None:
    """6: exactly one option's text occurs at word borders, after dropping those inside a longer one that occurs."""
    hits = [text for text in dict.fromkeys(texts) if text and _occurs(text, said.whole)]
    hits = [text for text in hits if not any(text != longer and text in longer for longer in hits)]
    return Read(texts.index(hits[0]), "one option") if len(hits) == 1 else None


def _occurs(text: str, whole: str) -> bool:
    """At word borders, and not denied there."""
    start = whole.find(text)
    while start >= 0:
        end = start + len(text)
        before = start == 0 or not (whole[start - 1].isalnum() and text[0].isalnum())
        after = end == len(whole) or not (whole[end].isalnum() and text[-1].isalnum())
        if before and after and not _NOT_AT.search(whole[:start]):
            return True
        start = whole.find(text, start + 1)
    return False


def _label_and_space(said: _Said, known: _Patterns, texts: tuple[str, ...]) -> Read | None:
    """7: a capital label and a space first, never A or I (they are words), and no second label."""
    found = known.space.match(said.plain)
    if found is None or not found[1].isupper() or len(set(known.any.findall(said.plain))) > 1:
        return None
    return Read(known.place(found[1]), "label and space")


def _spoken(text: str) -> str:
    """Without the thoughts, also where the end of them is missing, or the beginning (a template may open them)."""
    return _THOUGHT.sub(" ", text).rpartition("</think>")[2].strip()


def _plain(text: str) -> str:
    return " ".join(text.translate(_DROPPED).split()).strip(" .,;:!")


def _normal(text: str) -> str:
    return _plain(text).casefold()


@lru_cache(maxsize=4096)
def _normal_all(options: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_normal(option) for option in options)
