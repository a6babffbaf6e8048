"""Text of people and models inside Markdown, YAML and CSV: shown as it is, whatever it holds."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for a formula at the beginning of a text; the last four are the wide forms of = + - @."""


def markdown_text(text: str) -> str:
    """One line that Markdown shows as it is, also in a table: whatever a person or a model typed."""
    return "".join(c if c.isalnum() or c in " .,:;()/+-=@" else f"&#{ord(c)};" for c in " ".join(text.split()))


def yaml_text(text: str) -> str:
    """A quoted YAML string. In plain ASCII: YAML refuses half characters and folds some line ends."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{plain}"'


def csv_cell(value: object) -> object:
    """A value of a CSV file. A text that a spreadsheet would run gets the mark `'` before it; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    # Python's writer does not quote a carriage return alone, and what came after it would be a row of its own.
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if text.startswith(_FORMULA) else text
