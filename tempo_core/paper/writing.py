"""The folder of a paper: figures, tables, configuration, methods, and one document that includes them all."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tempo_core.exchange import seals
from tempo_core.exchange.base import bundle, write_file
from tempo_core.paper import methods, tables
from tempo_core.paper.facts import Compared, PaperRun, Transferred
from tempo_core.paper.tables import Table

FORM = "paper"
METHODS, CONFIGURATION, DOCUMENT, README = "methods.tex", "configuration.json", "all.tex", "README.md"
FIGURES, TABLES = "figures", "tables"


def write(
    found: Sequence[PaperRun],
    folder: Path,
    experiments: Sequence[Compared] = (),
    transferred: Sequence[Transferred] = (),
) -> tuple[str, ...]:
    """Write everything, whole or not at all; an earlier folder of this kind is replaced. The names of the figures.

    Raises:
        FolderTaken: The folder holds something that is no export.
        NoSpace: The disk is full; the folder is as it was before.
    """
    made = [*tables.of(found), *(tables.experiment(one) for one in experiments if one.figures)]
    made += [tables.transfer(transferred)] if transferred else []
    with bundle(folder) as partial:
        figures = importlib.import_module("tempo_core.paper.figures").write(found, partial / FIGURES)
        for table in made:
            write_file(partial / TABLES / f"{table.name}.csv", table.as_csv().encode())
            write_file(partial / TABLES / f"{table.name}.tex", table.as_latex().encode())
        write_file(partial / METHODS, methods.section(found).encode())
        write_file(partial / CONFIGURATION, json.dumps(configuration(found), indent=1, allow_nan=False).encode())
        write_file(partial / DOCUMENT, document(made, figures).encode())
        write_file(partial / README, _readme(found).encode())
        seals.seal(partial, FORM, {"runs": [run.run.run_id for run in found]})
    return tuple(figures)


def configuration(found: Sequence[PaperRun]) -> dict[str, Any]:
    """Every stored setting and hash; curves and pairs are not among them."""
    return {
        "runs": [
            {
                **asdict(run.run),
                "data_sha256": run.data.sha256 if run.data else None,
                "environment": dict(run.env),
                "notes": list(run.notes),
                "n_left_out": run.n_left_out,
            }
            for run in found
        ],
        "data": [asdict(data) for data in tables.versions_of(found)],
    }


def document(made: Sequence[Table], figures: Sequence[str]) -> str:
    """A document that compiles by itself: what to look at before parts of it go into a paper."""
    shown = "\n".join(
        f"\\begin{{figure}}[htbp]\\centering\\includegraphics[width=\\linewidth,height=.8\\textheight,keepaspectratio]{{{FIGURES}/{name}.pdf}}\n"
        f"\\caption{{{_caption(name)}}}\\label{{fig:{name}}}\\end{{figure}}"
        for name in figures
    )
    inputs = "\n".join(f"\\input{{{TABLES}/{table.name}.tex}}" for table in made)
    return f"""\\documentclass{{article}}
\\usepackage[T1]{{fontenc}}
\\usepackage{{textcomp,booktabs,longtable,graphicx}}
\\usepackage[margin=2cm]{{geometry}}
\\begin{{document}}
\\section*{{Methods}}
\\input{{{METHODS}}}
\\section*{{Figures and tables}}
{shown}
\\small\\setlength{{\\tabcolsep}}{{3pt}}
{inputs}
\\end{{document}}
"""


def _caption(name: str) -> str:
    kind, _, of = name.partition("-")
    of = of.replace("-", " ").replace("_", r"\_")
    return {
        "curves": f"Training curves of each level, {of}; level 1 is the easiest.",
        "order": f"Share of each level in every step, {of}; lines mark the stages.",
        "scores": f"Scores on {of} with 95\\,\\% intervals; dotted: chance.",
    }[kind]


def _readme(found: Sequence[PaperRun]) -> str:
    numbers = ", ".join(str(run.run.run_id) for run in found)
    return f"""# For a paper about run {numbers}

- `{METHODS}`: a methods section. Each sentence stands on a stored value; read it before you use it.
- `{TABLES}/`: every table as CSV (all digits) and as LaTeX for the packages booktabs and longtable.
- `{FIGURES}/`: vector figures, PDF and SVG.
- `{CONFIGURATION}`: every setting and hash in full.
- `{DOCUMENT}`: all of it in one document, `pdflatex {DOCUMENT}`.

Names of people are not in it; names of models and data sets are as you gave them.
"""
