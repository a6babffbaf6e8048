"""Named rules that tell a usable pair of answers from a useless one, each with a verdict and what it measured.

All rules are evaluated; a failed one keeps the pair out of the queue, never out of the database. The first three are
the paper's, the others ours. They look at text only, so anyone can check a verdict by reading.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from tempo_core.types import Answer, FilterVerdict

Filter = Callable[[Answer, Answer, str], FilterVerdict | None]
"""From (chosen, rejected, kind) to a verdict, or None where the rule does not apply to that kind."""

MAX_LENGTH_RATIO = 1.5
"""The paper's, for kinds that keep every clip."""
MIN_EDIT_SHARE = 0.05
"""Our choice: below it a person needs a magnifying glass to see what the pair teaches."""
NGRAM, MAX_REPEATS = 4, 4
"""Our choice: a loop repeats far more often, ordinary prose rarely so much."""

_CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+(?:'[^\W{_CJK}]+)*")
"""Words of spaced scripts, single characters of Chinese and Japanese."""

_SEEN = r"(?:video|clip|image|picture|frame|footage|visual|file|attachment|media)s?"
_LOOK = r"(?:view|see|watch|access|process|open|play|analy[sz]e)"
_CANNOT = r"(?:can't|cannot|can not|could not|couldn't|do not|don't)"
_REFUSALS = re.compile(
    r"\b(?:i|we)(?:'m|'re| am| are)? (?:"
    rf"(?:sorry|afraid)\b.{{0,80}}\b(?:can't|cannot|can not|unable|not able|{_SEEN})\b"
    rf"|(?:unable|not able) to (?:{_LOOK}|assist|help|describe)\b"
    rf"|{_CANNOT} (?:actually |currently |directly )?(?:{_LOOK}|have)\b.{{0,40}}\b{_SEEN}\b"
    rf"|(?:can't|cannot|can not) (?:assist|help) (?:you )?with\b)"
    r"|\bas an? (?:ai|artificial intelligence|(?:large )?language model|text-based)\b"
    rf"|\bno {_SEEN} (?:was|were|is|are|has been|have been)\b.{{0,20}}"
    r"\b(?:provided|given|attached|uploaded|shared)\b"
    rf"|\b(?:please|could you) (?:provide|share|upload|attach|send)\b.{{0,40}}\b{_SEEN}\b"
    r"|(?:无法|不能|没有办法)(?:直接)?(?:查看|观看|看到|访问|播放|处理)"
    r"|作为(?:一个|一款)?(?:人工智能|ai|语言模型)"
)
"""English in small letters, and Chinese; other languages are not known here."""


def run(chosen: Answer, rejected: Answer, kind: str) -> tuple[FilterVerdict, ...]:
    """The verdict of every rule that applies to pairs of this kind."""
    verdicts = (check(chosen, rejected, kind) for check in FILTERS.values())
    return tuple(verdict for verdict in verdicts if verdict is not None)


def passed(verdicts: Sequence[FilterVerdict]) -> bool:
    """Whether the pair may go to review."""
    return all(verdict.passed for verdict in verdicts)


def words(text: str) -> list[str]:
    """What the rules count: lower-case words without punctuation; of Chinese and Japanese, characters."""
    plain = _plain(text)
    return _WORD.findall(plain) or plain.split()


def _plain(text: str) -> str:
    return text.replace("\u2019", "'").casefold()


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Fewest words to insert, delete or replace to turn `a` into `b`.

    Bit-parallel (Myers 1999, in Hyyrö's form for a whole sequence): one Python integer holds a column of the table, so
    400 words against 400 take well under a millisecond.
    """
    if not a or not b:
        return max(len(a), len(b))
    places: dict[str, int] = {}
    for i, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << i
    ones, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    up, down, distance = ones, 0, len(a)
    for word in b:
        equal = places.get(word, 0)
        diagonal = (((equal & up) + up) ^ up) | equal | down
        right, left = down | ~(diagonal | up) & ones, up & diagonal
        distance += bool(right & last) - bool(left & last)
        right, left = (right << 1 | 1) & ones, left << 1 & ones
        up, down = left | ~(diagonal | right) & ones, right & diagonal
    return distance


def _drop_longer(chosen: Answer, rejected: Answer, kind: str) -> FilterVerdict | None:
    if kind != "drop":
        return None
    more = len(chosen.text) - len(rejected.text)
    rule = "The chosen answer is longer than the one that saw fewer clips (characters more)."
    return FilterVerdict("drop_longer", more > 0, float(more), rule)


def _length_ratio(chosen: Answer, rejected: Answer, kind: str) -> FilterVerdict | None:
    if kind == "drop":
        return None
    shorter, longer = sorted((len(chosen.text), len(rejected.text)))
    ratio = longer / shorter if shorter else None
    rule = f"The longer answer has at most {MAX_LENGTH_RATIO} times the characters of the shorter."
    return FilterVerdict("length_ratio", ratio is not None and ratio <= MAX_LENGTH_RATIO, ratio, rule)


def _not_contained(chosen: Answer, rejected: Answer, kind: str) -> FilterVerdict:
    contained = chosen.text.strip() in rejected.text
    rule = "The chosen answer is not a part of the rejected one (1 = it is)."
    return FilterVerdict("not_contained", not contained, float(contained), rule)


def _nearly_identical(chosen: Answer, rejected: Answer, kind: str) -> FilterVerdict:
    a, b = words(chosen.text), words(rejected.text)
    share = edit_distance(a, b) / max(len(a), len(b), 1)
    rule = f"At least {MIN_EDIT_SHARE:.0%} of the words differ (word edit distance over the longer answer)."
    return FilterVerdict("nearly_identical", share >= MIN_EDIT_SHARE, share, rule)


def _repetition(chosen: Answer, rejected: Answer, kind: str) -> FilterVerdict:
    most = max(_repeats(words(answer.text)) for answer in (chosen, rejected))
    rule = f"No {NGRAM} words in a row occur more than {MAX_REPEATS} times in an answer (most often)."
    return FilterVerdict("repetition", most <= MAX_REPEATS, float(most), rule)


def _repeats(some: Sequence[str]) -> int:
    grams = Counter(zip(*(some[i:] for i in range(NGRAM)), strict=False))
    return max(grams.values(), default=0)


def _refusal(chosen: Answer, rejected: Answer, kind: str) -> FilterVerdict:
    n = sum(bool(_REFUSALS.search(_plain(answer.text))) for answer in (chosen, rejected))
    rule = "No answer says that the model cannot see the video (how many do)."
    return FilterVerdict("refusal", n == 0, float(n), rule)


def _cut_off(chosen: Answer, rejected: Answer, kind: str) -> FilterVerdict:
    n = sum(answer.finish == "length" for answer in (chosen, rejected))
    return FilterVerdict("cut_off", n == 0, float(n), "No answer was cut off at the token limit (how many were).")


def _empty(chosen: Answer, rejected: Answer, kind: str) -> FilterVerdict:
    n = sum(not answer.text.strip() for answer in (chosen, rejected))
    return FilterVerdict("empty", n == 0, float(n), "No answer is empty (how many are).")


FILTERS: dict[str, Filter] = {
    "drop_longer": _drop_longer,
    "length_ratio": _length_ratio,
    "not_contained": _not_contained,
    "nearly_identical": _nearly_identical,
    "repetition": _repetition,
    "refusal": _refusal,
    "cut_off": _cut_off,
    "empty": _empty,
}
"""A new rule is one function here; it gets a verdict on every pair made from then on."""
