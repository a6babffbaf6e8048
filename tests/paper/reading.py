"""A small reader of LaTeX, for there may be no pdflatex: what opens is closed, and every command is one of ours."""

from __future__ import annotations

import re

COMMANDS = frozenset(
    (
        "alpha", "begin", "beta", "bottomrule", "caption", "centering", "documentclass", "emph", "end",
        "endfirsthead", "endhead", "footnotesize", "in", "includegraphics", "input", "label", "lfloor", "linewidth",
        "midrule", "min", "paragraph", "ref", "rfloor", "scriptsize", "section", "setlength", "small", "tabcolsep",
        "textasciicircum", "textasciigrave", "textasciitilde", "textbackslash", "textbar", "textgreater",
        "textheight", "textless", "textquotedbl", "textquotesingle", "texttt", "times", "toprule", "usepackage",
    )
)  # fmt: skip
_TOKEN = re.compile(r"\\([A-Za-z]+)\*?|\\(.)|([{}$])", re.DOTALL)


def faults(text: str) -> list[str]:
    """What TeX would stumble over, and every command that we do not write."""
    found, open_, in_math = [], [], False
    for token in _TOKEN.finditer(text):
        command, sign, brace = token.groups()
        if command and command not in COMMANDS:
            found.append(f"\\{command}")
        if command in ("begin", "end"):
            name = re.match(r"\{(\w+)\}", text[token.end() :])
            found += _environment(command, name.group(1) if name else "?", open_)
        if sign is not None and sign not in "{}$&#_%,\\ ":
            found.append(f"\\{sign}")
        if brace == "$":
            in_math = not in_math
        elif brace == "{":
            open_.append("{")
        elif brace == "}" and (not open_ or open_.pop() != "{"):
            found.append("} that closes nothing")
    found += [f"{name} is not closed" for name in open_] + ["$ is not closed"] * in_math
    return found + [f"{sign} outside a table" for sign in re.findall(r"(?<!\\)[#]", text)]


def _environment(command: str, name: str, open_: list[str]) -> list[str]:
    if command == "begin":
        open_.append(name)
        return []
    return [] if open_ and open_.pop() == name else [f"\\end{{{name}}} closes another"]


def columns_agree(table: str) -> bool:
    """Whether every row of a table has as many cells as its head."""
    rows = [line for line in table.splitlines() if line.endswith(r"\\") and " & " in line]
    return len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
