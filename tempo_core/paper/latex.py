"""Text, numbers and tables as LaTeX. Names of people, files and models are data: they come out as they are written.

The one thing to know: only `escaped` lets a text in, and what it lets out holds no command but those written here.
"""

from __future__ import annotations

from collections.abc import Sequence

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}",
    "-": "{-}",
}  # fmt: skip
"""A hyphen in braces, so that two in a row are no dash; quotes by name, so that two in a row are no other sign."""

WIDE = 9
"""More columns than these do not fit a page in the size of its text."""
_SMALLER = ((12, "scriptsize"), (WIDE, "footnotesize"))

_LAST_LATIN = 0x17F
"""Letters up to here are in every font that pdfLaTeX has with T1; others are shown by their number."""


def escaped(text: str) -> str:
    """One line of text that LaTeX prints as it is."""
    return "".join(_sign(sign) for sign in " ".join(text.split()))


def _sign(sign: str) -> str:
    if sign in _SPECIAL:
        return _SPECIAL[sign]
    if 0x20 <= ord(sign) < 0x7F or (sign.isalpha() and 0xC0 <= ord(sign) <= _LAST_LATIN):
        return sign
    return rf"\texttt{{U+{ord(sign):04X}}}"


def number(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """In mathematics, so that a minus is one."""
    return f"${value:{'+' if sign else ''},.{digits}f}$".replace(",", "{,}")


def p_value(p: float) -> str:
    """No p is 0: a small one is told by its bound."""
    return "$< 0.001$" if p < 0.001 else number(p)


def short(value: float) -> str:
    """As people write settings: 5e-6 as a power of ten."""
    mantissa, e, exponent = f"{value:g}".partition("e")
    if not e:
        return f"${mantissa}$"
    power = f"10^{{{int(exponent)}}}"
    return f"${power}$" if mantissa == "1" else rf"${mantissa} \times {power}$"


def sha256(digest: str | None) -> str:
    """The first digits of a hash; the whole one is in the configuration."""
    return rf"\texttt{{{escaped(digest[:12])}}}" if digest else "unknown"


def listed(parts: Sequence[str]) -> str:
    """ "a, b and c" of parts that are LaTeX already."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def tabular(alignment: str, heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str, label: str) -> str:
    """A booktabs table of cells that are LaTeX already. A long one breaks over pages, a wide one is set smaller."""
    head = " & ".join(heads) + r" \\"
    body = "\n".join(" & ".join(row) + r" \\" for row in rows)
    size = next((f"\\{size}\\setlength{{\\tabcolsep}}{{2pt}}\n" for n, size in _SMALLER if len(heads) > n), "")
    if len(rows) > 40:
        return (
            f"{{{size}\\begin{{longtable}}{{{alignment}}}\n\\caption{{{caption}}}\\label{{{label}}} \\\\\n"
            f"\\toprule\n{head}\n\\midrule\n\\endfirsthead\n\\toprule\n{head}\n\\midrule\n\\endhead\n{body}\n\\bottomrule\n"
            "\\end{longtable}}\n"
        )
    return (
        f"\\begin{{table}}[htbp]\n\\centering\n{size}\\caption{{{caption}}}\\label{{{label}}}\n\\begin{{tabular}}"
        f"{{{alignment}}}\n\\toprule\n{head}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )
