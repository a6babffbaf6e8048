"""What would train when: the settings of an order, its picture, its stages and what to know about it.

It draws the plan that a run would store, from the same function; nothing is saved here. In a fragment, so that moving a
slider plans again without reading the pairs again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TypeVar

import streamlit as st

from tempo_core.curriculum import StageCount, TrainingPlan, stage_counts, training_plan, warnings
from tempo_core.errors import EmptyStage
from tempo_core.lengths import LengthRule, length_rule, length_rules
from tempo_core.recipes import PACINGS, PRESETS, Reference, RunConfig
from tempo_core.types import DifficultyAxis, PairRef, level_key
from ui import order_chart, words
from ui.acting import telling
from ui.palette import LEVEL_WORDS, palette
from ui.text import escaped

T = TypeVar("T")

ORDERS: Mapping[str, str] = {
    "strict": "Each level is a stage with an adapter of its own, the easiest first.",
    "replay": "Stages as in the paper; a share of each repeats pairs of the levels before it, so that they stay known.",
    "linear": "One stage in which each level fades into the next, so that nothing changes at once.",
    "competence": "One stage that draws from all pairs up to a difficulty that rises from the easiest quarter to all.",
    "mixed": "One stage with all levels shuffled: the control that tells whether the order matters.",
    "hard_to_easy": "The paper's stages, the hardest first: the control that should do worse if the order matters.",
}
REFERENCES: Mapping[Reference, str] = {
    "reset": "Each stage is compared with the model that the stage before it left, as in the paper.",
    "base": "Every stage is compared with the one model that stood before the first stage.",
}
ONE_STAGE = "One stage: reset and base are the same model, the one before training."
LENGTHS = (
    "How often the chosen answer is the longer one, in characters: what a model gets right by liking length. "
    "Half and half teaches nothing about length; drop leaves events out, so it stands near 100 %."
)


def length_table(refs: Sequence[PairRef], names: Mapping[int, str]) -> None:
    """The accuracy of always preferring the longer answer, per kind and level."""
    rules = length_rules(refs)
    kinds = sorted({pair.kind for pair in refs})
    rows = [
        {"kind": kind, **{_level(level, names): _wins(of_kind.get(kind)) for level, of_kind in _in_order(rules)},
         "all": _wins(length_rule(pair for pair in refs if pair.kind == kind))}
        for kind in kinds
    ]  # fmt: skip
    by_level = {level: length_rule(pair for pair in refs if pair.level == level) for level in rules}
    whole = {_level(level, names): _wins(rule) for level, rule in _in_order(by_level)}
    st.caption(f"**Longer wins.** {LENGTHS}")
    st.dataframe([*rows, {"kind": "all", **whole, "all": _wins(length_rule(refs))}], hide_index=True)


def load(pacing: str) -> None:
    """Show this order of levels; call it before `section` is drawn."""
    st.session_state[_pacing_key()] = pacing


def chosen_pacing() -> str:
    """The order of levels that is shown now."""
    return str(st.session_state.get(_pacing_key(), PRESETS[_preset()].pacing))


def _preset() -> str:
    return str(st.session_state.get("order_preset", "embedded"))


def _pacing_key() -> str:
    return f"order_{_preset()}"


@st.fragment
def section(refs: Sequence[PairRef], names: Mapping[int, str], axis: DifficultyAxis = "measured") -> None:
    """Settings, chart, stages, notes and warnings for these pairs, and the way to a run with these settings."""
    config = replace(_settings(), difficulty=axis)
    if not refs:
        st.info("There is no pair to put in order yet.", icon=":material/stairs_2:")
        return
    with telling():
        try:
            plan = training_plan(refs, config)
        except EmptyStage as error:
            st.error(escaped(named(str(error), names), longest=1500), icon=":material/error:")
            plan = training_plan(refs, config, skip_small=True)
            st.caption("Drawn without the levels that are too small:")
        _drawn(plan, refs, names, config)
    _to_run(config)


def _to_run(config: RunConfig) -> None:
    """The run form begins with what was chosen here."""
    if st.button("Use in a new run", icon=":material/arrow_forward:", help="The form on the Runs page begins with this "
                 "order and these numbers."):  # fmt: skip
        st.session_state["run_wish"] = asdict(config)
        st.switch_page("pages/runs.py")


def _settings() -> RunConfig:
    left, right = st.columns(2, gap="large")
    preset = left.selectbox("Preset", list(PRESETS), list(PRESETS).index("embedded"), key="order_preset",
                            help="All other numbers of the run")  # fmt: skip
    config = PRESETS[preset]
    st.session_state.setdefault(f"order_{preset}", config.pacing)
    pacing = right.selectbox("Order of levels", PACINGS, key=f"order_{preset}", format_func=words.pacing)
    right.caption(ORDERS[pacing])
    left, middle, right = st.columns(3, gap="large")
    size = left.slider("Pairs a step", 1, 128, config.pairs_per_step, key=f"order_size_{preset}",
                       help="A stage is a whole number of steps; what is left over is counted below.")  # fmt: skip
    together = middle.slider("Pairs of one video side by side", 1, 12, config.pairs_together, key="order_together",
                             help="They share the video's encoding, so more is faster; 1 mixes single pairs, as the "
                                  "paper does.")  # fmt: skip
    share = config.replay_share
    if pacing == "replay":
        share = (
            right.slider(
                "Share of earlier levels",
                0,
                60,
                round(100 * share),
                5,
                format="%d %%",
                key="order_share",
                help="Of the places of each stage, those that repeat a pair of an easier level",
            )
            / 100
        )
    left, middle = st.columns(2, gap="large")
    reference = left.segmented_control("Reference", list(REFERENCES), default=config.reference, required=True,
                                       key="order_reference", help=" ".join(REFERENCES.values()))  # fmt: skip
    matched = middle.toggle("Match lengths", config.length_matched, key="order_matched",
                            help="On each level as many pairs stay whose chosen answer is the longer one as pairs "
                                 "whose chosen answer is the shorter one, with ratios as alike as can be. The others "
                                 "are left out and counted.")  # fmt: skip
    return replace(config, pacing=pacing, replay_share=share, pairs_per_step=size, pairs_together=together,
                   reference=reference or "reset", length_matched=matched)  # fmt: skip


def _drawn(plan: TrainingPlan, refs: Sequence[PairRef], names: Mapping[int, str], config: RunConfig) -> None:
    stages = stage_counts(plan, refs)
    figure = order_chart.shares(plan, stages, dict(names), palette(st.context.theme.type))
    st.plotly_chart(figure, key="shares")
    steps = "step" if plan.n_steps == 1 else "steps"
    st.caption(f"{len(plan.planned):,} places in {plan.n_steps:,} {steps} of {config.pairs_per_step:,} pairs.")
    st.dataframe([_row(stage, names, config) for stage in stages], hide_index=True)
    st.caption(ONE_STAGE if len(stages) == 1 else REFERENCES[config.reference])
    if plan.notes:
        st.caption("  \n".join(escaped(named(note, names)) for note in plan.notes))
    tell(warnings(plan, refs), names)


def tell(told: Sequence[str], names: Mapping[int, str]) -> None:
    """Warnings in one box, so that many of them do not push the page away."""
    if told:
        lines = "  \n".join(escaped(named(warning, names), longest=400) for warning in told)
        st.warning(escaped("") + lines, icon=":material/warning:")


def _row(stage: StageCount, names: Mapping[int, str], config: RunConfig) -> dict[str, object]:
    row: dict[str, object] = {"stage": _stage(stage.name, names), "steps": stage.n_steps, "pairs": stage.pairs}
    if config.pacing == "replay":
        row["repeats"] = stage.repeats
    return row | {
        "left over": stage.dropped,
        "videos": stage.videos,
        "videos a step": round(stage.videos_a_step, 1),
        "longer wins": _wins(stage.lengths),
    }


def _stage(name: str, names: Mapping[int, str]) -> str:
    return names[int(name[1:])] if name[1:].isdigit() else f"{name} levels" if name == "all" else name


def named(text: str, names: Mapping[int, str]) -> str:
    """Level keys as they are called elsewhere on the page."""
    return re.sub(r"\bl([1-4])\b", lambda found: f"level {names[int(found[1])]}", text)


def _level(level: int | None, names: Mapping[int, str]) -> str:
    return level_key(level) if level is None else names[level]


def _in_order(of_level: Mapping[int | None, T]) -> list[tuple[int | None, T]]:
    return sorted(of_level.items(), key=lambda item: item[0] or len(LEVEL_WORDS) + 1)


def _wins(rule: LengthRule | None) -> str:
    """ "71 % of 34": two figures that are worth little apart; equal lengths are neither longer nor shorter."""
    if rule is None or not rule.n:
        return ""
    equal = f" ({rule.equal / rule.n:.0%} equal)" if rule.equal else ""
    return f"{rule.longer_wins:.0%} of {rule.n:,}{equal}"
