"""Text of people and models inside Markdown and YAML: shown as it is, whatever it holds."""

from __future__ import annotations


def markdown_text(text: str) -> str:
    """One line that Markdown shows as it is, also in a table: whatever a person or a model typed."""
    return "".join(c if c.isalnum() or c in " .,:;()/+-=@" else f"&#{ord(c)};" for c in " ".join(text.split()))


def yaml_text(text: str) -> str:
    """A quoted YAML string. In plain ASCII: YAML refuses half characters and folds some line ends."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{plain}"'
