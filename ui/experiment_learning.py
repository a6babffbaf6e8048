"""Is "hard" by the plan also hard for the model? Margins and pace by kind and level of one run of an experiment."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from db import learning
from db.experiments import Cell, Experiment
from tempo_core.curves import WINDOW
from tempo_core.learning import PASSED, Agreement, Learned, agreements, learned
from ui import experiment_charts, state
from ui.palette import level_word, palette
from ui.text import escaped

FORM = ("difficulty", "margin before", "margin after", "right before", "mean accuracy")


def show(one: Experiment, cells: Sequence[Cell]) -> None:
    """Of the run that is chosen; runs with a DPO phase have margins."""
    with_pairs = {arm.name for arm in one.arms if "dpo" in arm.phases}
    named = {c.run_id: f"{c.arm}, seed {c.seed} (run {c.run_id})" for c in cells if _shown(c, with_pairs)}
    if not named:
        st.info("No run with DPO is trained yet: margins of single pairs are stored at the end of its stages.",
                icon=":material/stairs_2:")  # fmt: skip
        return
    run_id = st.selectbox("Run", list(named), format_func=named.__getitem__, key=f"exp_learning_{one.id}")
    lines, ranked = _read(run_id)
    arm = next(arm for arm in one.arms if arm.name == next(c.arm for c in cells if c.run_id == run_id))
    if arm.phases[0] != "dpo" or arm.config.pacing in ("strict", "replay", "hard_to_easy"):
        st.caption("The margin before is that of the model with which a pair's stage began, which others had trained.")
    for agreement in ranked:
        st.markdown(f"**{escaped(agreement.kind)}**: {escaped(_said(agreement))}")
    st.plotly_chart(experiment_charts.margins(lines, palette(st.context.theme.type)), key=f"exp_margins_{run_id}")
    form = {name: st.column_config.NumberColumn(format="%.3f") for name in FORM}
    st.dataframe([_row(line) for line in lines], hide_index=True, column_config=form, key="exp_learned")
    st.caption(
        f"Learned at: the step, counted from the first with such a pair, from which {PASSED:.0%} of the pairs of the "
        f"last {WINDOW:d} are ranked right. Mean accuracy: the area under that curve. "
        "Difficulty is compared inside a kind."
    )


def _shown(cell: Cell, with_pairs: set[str]) -> bool:
    return cell.arm in with_pairs and cell.state == "succeeded"


@st.cache_data(max_entries=50, show_spinner="Ranking")
def _read(run_id: int) -> tuple[tuple[Learned, ...], tuple[Agreement, ...]]:
    with state.database().reading() as session:
        pairs = learning.pairs(session, run_id)
        accuracy = learning.curves(session, run_id, "accuracy")
        rewards = learning.curves(session, run_id, "reward_chosen")
    return learned(pairs, accuracy, rewards), agreements(pairs)


def _said(agreement: Agreement) -> str:
    numbers = f"rank correlation {agreement.rho:+.2f} [{agreement.low:+.2f}, {agreement.high:+.2f}]"
    return f"{agreement.says} ({numbers}, {agreement.n:,} pairs)."


def _row(line: Learned) -> dict[str, object]:
    learned_at = "not seen" if line.passed_at is None else f"step {line.passed_at}"
    return {
        "kind": line.kind, "level": line.level, "": level_word(line.level), "pairs": line.n,
        "difficulty": line.difficulty, "margin before": line.before, "margin after": line.after,
        "right before": line.right_before, "learned at": learned_at, "mean accuracy": line.area,
        "chosen falls": "yes" if line.falling else "no",
    }  # fmt: skip
