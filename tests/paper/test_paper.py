"""For a paper: no text of a person becomes a command, and no sentence stands that no stored value justifies."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tempo_core.errors import FolderTaken
from tempo_core.exchange.model_card import Change, Figure, LinkLine, RunFacts, Source
from tempo_core.experiment_results import Answers
from tempo_core.experiment_results import figures as experiment_figures
from tempo_core.paper import latex, methods, tables, writing
from tempo_core.paper.facts import (
    Answered,
    Bound,
    Compared,
    Counted,
    DataFacts,
    Measured,
    PaperRun,
    Plans,
    Reviewed,
    Rule,
    Selected,
    Transferred,
)
from tempo_core.recipes import RunConfig
from tempo_core.timeline import Richness
from tempo_core.types import PlannedPair
from tests.paper.reading import columns_agree, faults

EVIL = "\\input{/etc/passwd} $x_1^2$ 50 % of #1 & ~more {\"unbalanced} --- `` '' \\\\ \\end{table}\n% hidden \x00"
EVIL += " é 时间 |<>|"
SHA = "0123456789abcdef" * 4
PLAIN = RunConfig(recipe="dpo")


def data(**changed: Any) -> DataFacts:
    given: dict[str, Any] = {
        "name": "demo", "number": 2, "sha256": SHA, "seed": 7,
        "criteria": {"level_axis": "measured", "level_thresholds": [0.25, 0.5, 0.75]},
        "videos": {"train": 8, "held_out": 2},
        "counts": (Counted("shuffle", 1, "train", 30), Counted("drop", 4, "train", 10),
                   Counted("shuffle", 1, "held_out", 9)),
        "plans": (Plans("drop", 4, "tempo", 10, 0.1, 0.2, 0.3), Plans("shuffle", 2, "tempo", 39, 0.4, 0.5, 0.9)),
        "answered": (Answered("some model", SHA, "captions", {"temperature": 0.7, "max_new_tokens": 96}, 49),),
        "selected": (Selected(asdict(Richness()), 10),),
        "rules": (Rule("length_ratio", "The longer answer ...", 80, 21),),
        "n_candidates": 100, "n_refused": 21,
        "reviewed": Reviewed(n_alone=9, n_sampled=30, n_unread=10, n_edited=2, n_reviewers=3),
        "bounds": (Bound("shuffle, level 1, some model", 940, 180, 3, 0.0421, 0.95, 30, 2),),
        "n_imported": 0,
    }  # fmt: skip
    return DataFacts(**(given | changed))


def facts(run_id: int = 1, config: RunConfig = PLAIN, **changed: Any) -> RunFacts:
    given: dict[str, Any] = {
        "run_id": run_id, "name": "first", "recipe": config.recipe, "phases": ("dpo",), "state": "succeeded",
        "base": Source("base model", SHA), "family": "tiny", "dataset": Source("demo", SHA, 49, 2, 9), "sft_set": None,
        "plan_sha256": SHA, "config": asdict(config), "code_version": "abc1234", "libraries": {"torch": "2.15"},
        "links": (LinkLine("01-dpo-l1", "dpo", "l1", 32, SHA),), "curves": (),
        "changes": (Change("bench", "order", 40, Figure(0.5, 0.4, 0.6), Figure(0.7, 0.6, 0.8),
                           Figure(0.2, 0.1, 0.3), "better"),),
    }  # fmt: skip
    return RunFacts(**(given | changed))


def measured(run_id: int | None, value: float, **changed: Any) -> Measured:
    given = Measured(
        run_id, "base (m)" if run_id is None else f"run {run_id}", "base" if run_id is None else "dpo", "bench",
        "held_out", "order", value, value - 0.1, value + 0.1, 40, 10, 1, 0.5, SHA,
    )  # fmt: skip
    return replace(given, **changed)


def paper_run(run: RunFacts | None = None, **changed: Any) -> PaperRun:
    planned = tuple(PlannedPair(i, i // 4, i // 16, 100 + i, 1 + i // 16, 0.5) for i in range(32))
    given: dict[str, Any] = {
        "run": run or facts(), "data": data(), "series": {"l1/loss": ((1, 0.7), (2, None), (3, 0.4))},
        "planned": planned, "measured": (measured(None, 0.5), measured(1, 0.7)), "n_left_out": 0, "notes": (),
        "env": {}, "n_sft_steps": 0,
    }  # fmt: skip
    return PaperRun(**(given | changed))


# ---- LaTeX ----------------------------------------------------------------------------------------------------------
def test_the_reader_sees_what_it_is_for():
    assert faults("a & b \\\\ \\toprule $x$ \\_ \\emph{y}") == []
    assert faults("\\input{x}\\write18{rm}") == ["\\write"]
    assert faults("{a") == ["{ is not closed"] and faults("a}") == ["} that closes nothing"]
    assert faults("\\begin{table}\\end{figure}") == ["\\end{figure} closes another"]
    assert faults("5 $") == ["$ is not closed"] and faults("#1") == ["# outside a table"]


@pytest.mark.parametrize("text", [EVIL, *EVIL, "", "a  b\n\nc", "\\" * 5, "}" * 3, "\u202e\U0001f600", "-----"])
def test_no_text_becomes_a_command(text):
    out = latex.escaped(text)
    assert not [fault for fault in faults(out) if fault != "# outside a table"] and "\n" not in out
    ours = {"textbackslash", "textquotedbl", "texttt", "textasciitilde", "textasciicircum", "textless", "textgreater",
            "textbar", "textquotesingle", "textasciigrave"}  # fmt: skip
    assert {part.split("{")[0] for part in out.split("\\") if part[:4] == "text"} <= ours
    assert "input" not in out or "\\input" not in out


def test_ordinary_text_and_accents_come_through_and_other_scripts_by_number():
    assert latex.escaped("Qwen2.5 Müller") == "Qwen2.5 Müller"
    assert latex.escaped("a_b 50% R&D") == r"a\_b 50\% R\&D"
    assert latex.escaped("时") == r"\texttt{U+65F6}"


@pytest.mark.parametrize(
    ("value", "written"), [(5e-6, r"$5 \times 10^{-6}$"), (1e-3, "$0.001$"), (1e-5, "$10^{-5}$"), (0.7, "$0.7$")]
)
def test_settings_are_written_as_people_write_them(value, written):
    assert latex.short(value) == written


# ---- tables ---------------------------------------------------------------------------------------------------------
def test_a_table_has_all_digits_in_csv_and_three_in_latex():
    table = tables.scores([paper_run(measured=(measured(1, 2 / 3),))])
    assert next(csv.DictReader(io.StringIO(table.as_csv())))["value"] == repr(2 / 3)
    assert "$0.667$ & $0.567$ & $0.767$ & $40$ & $10$ & $1$ & $0.500$" in table.as_latex()


def test_differences_carry_their_sign_and_verdict_and_a_figure_without_a_base_none():
    alone = Change("bench", "recall", 40, None, Figure(0.7, 0.6, 0.8))
    run = facts(changes=(*facts().changes, alone))
    text = tables.comparisons([paper_run(run)]).as_latex()
    assert "$+0.200$ & $+0.100$ & $+0.300$ & better" in text
    assert r"recall & $40$ &  & $0.700$ &  &  &  & not compared" in text


def test_an_experiment_is_a_table_of_its_arms_against_the_reference(tmp_path: Path):
    pytest.importorskip("matplotlib")
    groups, right = tuple(f"video {i}" for i in range(12)), (1.0,) * 12
    key = ("drawn_world", "swap")
    plain = Answers(groups, groups, {0: (0.0,) * 12, 1: (0.0,) * 12})
    arms = {EVIL: {key: plain}, "mixed order": {key: replace(plain, values={0: right, 1: right})}}
    table = tables.experiment(Compared(7, EVIL, EVIL, experiment_figures(arms, EVIL)))
    assert table.name == "experiment-7" and columns_agree(table.as_latex()) and faults(table.as_latex()) == []
    assert "$12$ & $12$ & $+1.000$ & $+1.000$ & $+1.000$ & $< 0.001$ & better" in table.as_latex()
    assert [row["p holm"] for row in csv.DictReader(io.StringIO(table.as_csv()))][-1] == "0.00048828125"
    writing.write([paper_run()], tmp_path / "paper", [Compared(7, EVIL, EVIL, experiment_figures(arms, EVIL))])
    assert r"\input{tables/experiment-7.tex}" in (tmp_path / "paper" / "all.tex").read_text()
    assert (tmp_path / "paper" / "tables" / "experiment-7.csv").read_text() == table.as_csv()


def test_a_transfer_matrix_is_a_line_a_cell_and_one_that_is_not_matched_has_no_verdict(tmp_path: Path):
    pytest.importorskip("matplotlib")
    one = Transferred(
        "bench", "swap", "dpo", EVIL, "b", 3, 0.5, 0.9, Figure(0.4, 0.3, 0.5), 40, 10, "better",
    )  # fmt: skip
    other = replace(one, written_by="a", run_id=4, differs=("dpo_lr 0.0005, not 0.001",))
    table = tables.transfer([one, other])
    text = table.as_latex()
    assert faults(text) == [] and columns_agree(text)
    assert "$0.500$ & $0.900$ & $+0.400$ & $+0.300$ & $+0.500$ & $40$ & $10$ & better & " in text
    rows = list(csv.DictReader(io.StringIO(table.as_csv())))
    assert [row["verdict"] for row in rows] == ["better", ""] and "dpo_lr" in rows[1]["not matched in"]
    writing.write([paper_run()], tmp_path / "paper", transferred=[one])
    assert r"\input{tables/transfer.tex}" in (tmp_path / "paper" / "all.tex").read_text()


def test_every_table_of_hostile_names_has_its_columns_and_no_command_of_theirs():
    run = paper_run(facts(name=EVIL), data=data(name=EVIL), measured=(measured(1, 0.5, model=EVIL, metric=EVIL),))
    made = tables.of([run])
    names = ["scores", "comparisons", "settings", "stages", "counts", "perturbations", "selection", "rules", "bounds"]
    assert [table.name for table in made] == names
    for table in made:
        text = table.as_latex()
        assert faults(text) == [] and columns_agree(text), table.name
        assert len(list(csv.reader(io.StringIO(table.as_csv())))) == 1 + len(table.rows)


@pytest.mark.parametrize(("columns", "size"), [(9, ""), (10, r"\footnotesize"), (13, r"\scriptsize")])
@pytest.mark.parametrize("rows", [1, 50])
def test_a_wide_table_is_set_smaller_and_what_follows_it_is_not(columns, size, rows):
    text = latex.tabular("r" * columns, ["x"] * columns, [["1"] * columns] * rows, "caption", "tab:x")
    assert re.findall(r"\\(?:footnotesize|scriptsize)", text) == [size][: bool(size)] and faults(text) == []
    assert rows == 1 or not size or (text.startswith("{") and text.rstrip().endswith("}}"))


def test_a_wide_table_says_once_what_all_rows_say():
    lines = (measured(1, 0.5, metric="swap"), measured(1, 0.6, metric="group"))
    text = tables.scores([paper_run(measured=lines)]).as_latex()
    assert columns_agree(text)
    assert f"In all rows: benchmark {latex.escaped(lines[0].benchmark)}." in text and "benchmark &" not in text
    assert "metric &" in text and "swap &" in text and "group &" in text


def test_thresholds_inside_a_threshold_are_rows_of_their_own():
    kept = replace(data().selected[0], thresholds={"detector": {"kind": "adaptive", "ratio": 3.5}, "min_clips": 4})
    rows = tables.selection([data(selected=(kept,))]).rows
    assert [row[2:] for row in rows] == [("detector kind", "adaptive"), ("detector ratio", "3.5"), ("min_clips", "4")]


def test_a_long_table_breaks_over_pages_and_a_formula_is_text_to_a_spreadsheet():
    lines = tuple(measured(1, 0.5, metric=f"=m{i}") for i in range(41))
    table = tables.scores([paper_run(measured=lines)])
    assert faults(table.as_latex()) == [] and r"\begin{longtable}" in table.as_latex()
    assert next(csv.DictReader(io.StringIO(table.as_csv())))["metric"] == "'=m0"


# ---- methods --------------------------------------------------------------------------------------------------------
def told(*found: PaperRun) -> str:
    text = methods.section(found)
    assert faults(text) == []
    return " ".join(text.split())


def test_the_section_is_filled_with_the_runs_numbers():
    text = told(paper_run())
    for words in (
        "version 2 of demo", "40 pairs of 8 videos to train on and 9 pairs of 2 videos held out", "drawn with seed 7",
        r"4 to 32 shots of at least $0.2$\,s, none longer than $16$\,s, and at least 4 clips",
        r"perturbed by drop and shuffle with magnitudes $r \in \{2, 4\}$", "equal the original one are never drawn",
        "with temperature $0.7$ and at most 96 tokens",
        r"Of 100 candidate pairs of these videos the rules \emph{length\_ratio} refused 21",
        "9 were decided one by one by 3 people, 30 were accepted unread after a blind sample of their stratum and 10 "
        "were accepted in bulk without being read",
        "The texts of 2 pairs were changed",
        r"(180 of 940 read, 3 bad) at most 4.3\,\% are bad with 95\,\% confidence, which is at most 2 of the 30 unread",
        "cut at the shares 0.25, 0.5, 0.75",
        "Run 1 trained base model", "with seed 0.",
        "32 pairs were trained on from the easiest level to the hardest, one stage a level for one epoch "
        "in 8 steps of up to 16 pairs",
        r"$\beta = 0.1$ against the model with which the stage begins and the learning rate $5 \times 10^{-6}$",
        r"rank 32, $\alpha = 64$", r"\emph{cosine}, 5\,\% warm{-}up".replace("{-}", "-"), "in float32",
        "Questions on held-out videos are about videos of which no pair was trained on.",
    ):  # fmt: skip
        assert words in text, words


SILENT = {
    "sampling": (lambda: paper_run(data=data(reviewed=Reviewed(49, 0, 0, 0, 1), bounds=())), "blind sample"),
    "unread": (lambda: paper_run(data=data(reviewed=Reviewed(49, 0, 0, 0, 1), bounds=())), "in bulk"),
    "edits": (lambda: paper_run(data=data(reviewed=Reviewed(49, 0, 0, 0, 1))), "changed or exchanged"),
    "held out": (lambda: paper_run(data=data(counts=(Counted("drop", 1, "train", 40),))), "whole videos"),
    "thresholds": (lambda: paper_run(data=data(selected=())), "A video was used"),
    "rules": (lambda: paper_run(data=data(rules=())), "candidate pairs"),
    "sft": (lambda: paper_run(), "upervised fine-tuning"),
    "sft term": (lambda: paper_run(), "negative log-likelihood"),
    "too long": (lambda: paper_run(), "left out"),
    "precision": (lambda: paper_run(series={}), "float"),
    "evaluation": (lambda: paper_run(measured=()), "Evaluation"),
    "other held-out videos": (
        lambda: paper_run(measured=(measured(1, 0.5, dataset_sha256="another"),)), "no pair was trained on"),
    "differences": (lambda: paper_run(facts(changes=())), "Differences"),
    "contamination": (lambda: paper_run(), "also trained on"),
}  # fmt: skip


@pytest.mark.parametrize("case", SILENT)
def test_what_did_not_happen_is_not_told(case):
    make, words = SILENT[case]
    assert words not in told(make())


LOUD = {
    "gpu": ({"series": {"memory/gpu_bytes": ((1, 1e9),)}}, "in bfloat16"),
    "too long": ({"n_left_out": 2}, "2 pairs with more than 16,384 tokens were left out, none was cut"),
    "contamination": ({"measured": (measured(1, 0.5, contaminated=True),)}, "Some videos of bench were also trained"),
    "captions of the data set": (
        {"data": data(answered=(Answered("m", SHA, "captions", {"captions": SHA}, 49),))},
        "on the captions that came with the videos (sha256 ",
    ),
    "clips": ({"data": data(answered=(Answered("m", SHA, "clips", {}, 49),))}, "on the clips as videos of their own"),
    "imported": ({"data": data(n_imported=3)}, "3 pairs came from elsewhere; what follows is about the others"),
    "one by one": (
        {"data": data(reviewed=Reviewed(1, 0, 0, 0, 1))},
        "Of the one pair, 1 was decided one by one by one",
    ),
}


@pytest.mark.parametrize("case", LOUD)
def test_what_did_happen_is_told(case):
    changed, words = LOUD[case]
    assert words in told(paper_run(**changed))


def test_runs_that_differ_in_their_seed_alone_are_told_once_and_others_apart():
    runs = [paper_run(facts(i, RunConfig(recipe="dpo", seed=i))) for i in (1, 2, 3)]
    text = told(*runs)
    assert text.count(r"\paragraph{Training.}") == 1 and "Runs 1, 2 and 3 trained" in text
    assert "seeds 1, 2 and 3" in text and "not the chance of training" not in text
    text = told(*runs, paper_run(facts(4, RunConfig(recipe="dpo", pacing="mixed"))))
    assert text.count(r"\paragraph{Training.}") == 2 and "with all levels mixed in one stage" in text
    assert "not the chance of training" in text


def test_a_median_has_fewer_resamples_and_says_so():
    assert "10,000 resamples (1,000 for medians), or" in told(
        paper_run(measured=(measured(1, 3.0, metric="median_words"),))
    )
    assert "10,000 resamples, or" in told(paper_run(measured=(measured(1, 0.7),)))


@pytest.mark.parametrize("pacing", methods._PACING)
def test_every_recipe_and_order_gives_a_section(pacing):
    for recipe, phases in (("dpo_sft", ("dpo", "sft")), ("sft", ("sft",)), ("chosen_only", ("chosen_only",))):
        config = RunConfig(recipe=recipe, pacing=pacing, reference="base", ld_alpha=0.5, sft_weight=1.0)
        run = facts(config=config, phases=phases, sft_set=Source("talks", SHA, 60, 1), state="cancelled")
        text = told(paper_run(run, n_sft_steps=4))
        assert ("DPO uses the sigmoid loss" in text) == ("dpo" in phases)
        assert ("60 examples (talks" in text) == ("sft" in phases)
        assert (r"\paragraph{Data.}" in text) == (recipe != "sft")
        assert "(state: cancelled, not finished)" in text


def test_hostile_names_stay_text_in_the_section():
    run = facts(base=Source(EVIL, SHA), sft_set=Source(EVIL, SHA, 6, 1), phases=("dpo", "sft"), libraries={EVIL: EVIL})
    bounds = (replace(data().bounds[0], stratum=EVIL),)
    answered = (replace(data().answered[0], model=EVIL, input=EVIL),)
    text = told(paper_run(run, data=data(name=EVIL, bounds=bounds, answered=answered)))
    assert r"\textbackslash{}input\{/etc/passwd\}" in text


# ---- the folder -----------------------------------------------------------------------------------------------------
def test_the_folder_holds_vector_figures_tables_and_a_document_that_includes_them_all(tmp_path: Path):
    pytest.importorskip("matplotlib")
    lines = (measured(None, 0.5, model=EVIL, metric=EVIL), measured(1, 0.7, metric=EVIL, chance=None))
    made = writing.write([paper_run(measured=lines)], tmp_path / "paper")
    assert made == ("curves-run-1", "order-run-1", "scores-bench")
    for name in made:
        assert (tmp_path / "paper" / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert "<svg" in (tmp_path / "paper" / "figures" / f"{name}.svg").read_text()
    document = (tmp_path / "paper" / "all.tex").read_text()
    assert faults(document) == []
    for path in (tmp_path / "paper" / "tables").glob("*.tex"):
        assert f"\\input{{tables/{path.name}}}" in document
    found = json.loads((tmp_path / "paper" / "configuration.json").read_text())
    assert found["runs"][0]["config"]["beta"] == 0.1 and found["data"][0]["sha256"] == SHA
    first = {path.name: path.read_bytes() for path in (tmp_path / "paper" / "figures").iterdir()}
    writing.write([paper_run(measured=lines)], tmp_path / "paper")
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "paper" / "figures").iterdir()}


def test_a_folder_that_is_no_export_is_not_touched(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(FolderTaken):
        writing.write([paper_run()], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
