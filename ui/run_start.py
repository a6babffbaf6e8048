"""The form of a new run: data, recipe, preset and its numbers; or all of them from a run that is cloned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from db import datasets, models, runs, sft_sets
from db.datasets import DatasetCard
from db.sft_sets import SftCard
from tempo_core.errors import TempoError
from tempo_core.recipes import PACINGS, PRESETS, RECIPES, RunConfig
from tempo_core.settings import EMBEDDED_MODEL
from ui import run_curriculum, run_estimate, state, words
from ui.acting import for_role
from ui.text import escaped

ERROR, SKIP, SMALLER = "is an error", "is left out", "trains one smaller step"
REFERENCES: Mapping[Literal["reset", "base"], str] = {
    "reset": "the model of the stage before (paper)",
    "base": "the model before the first stage",
}
ATTENTIONS: Mapping[Literal["split", "dense"], str] = {"split": "split, the fast one", "dense": "dense mask, to check"}
POSITIONS: Mapping[Literal["hf", "max_plus_one"] | None, str] = {
    None: "as the model's family loads",
    "hf": "as transformers places it now",
    "max_plus_one": "after the last moment of the video",
}
MATCHED = "Trains on pairs whose chosen answer is the longer one as often as the shorter one, level by level"
LD_ALPHA = "TRL's ld_alpha: 1 counts them in full, 0 not at all. Empty: plain DPO"
AGAIN = "Activations are computed again instead of kept: much less memory, about 1.3 times the time"
ESTIMATE = "Time, memory and disk, from the order of training and one small step on this machine. Nothing is trained."
ELSEWHERE = "Makes the run and its bundle, to be trained on another machine; nothing is trained here."
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the form's first values come from; `key` names it in the keys of its widgets."""

    key: str
    config: RunConfig
    model: str
    version_id: int | None = None
    sft_set_id: int | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """A run as the form describes it; `pressed` is the button that asks for it."""

    config: RunConfig
    model: Path
    version_id: int
    sft_set_id: int | None
    skip_small: bool
    smaller_step: bool
    pressed: Literal["", "start", "estimate", "elsewhere"] = ""

    def payload(self) -> dict[str, Any]:
        """As `starting.start_run` and `starting.estimate_run` take it."""
        return {
            "version_id": self.version_id, "sft_set_id": self.sft_set_id, "skip_small": self.skip_small,
            "smaller_step": self.smaller_step,
        }  # fmt: skip


def form(empty: bool) -> Wish | None:
    """The form and what it says; None where there is nothing to train on."""
    with state.database().reading() as session:
        frozen = {version.id: version for version in datasets.listing(session)}
        sets = sft_sets.listing(session)
    if not frozen:
        st.info("Nothing is frozen yet. Accept pairs, then freeze them on the datasets page.", icon=":material/lock:")
        st.page_link("pages/datasets.py", label="Open Datasets", icon=":material/arrow_forward:")
        return None
    source = _cloned() or _ordered()
    with st.expander("New run", icon=":material/add_circle:", expanded=empty or source is not None):
        if source is not None and source.version_id is not None:
            _of_clone(source)
        else:
            run_curriculum.pick()
        return _fields(source, frozen, sets)


def _cloned() -> Source | None:
    """The run to clone, with the one setting that its remedy changes."""
    number = st.session_state.get("clone_of")
    if number is None:
        return None
    try:
        with state.database().reading() as session:
            run = runs.get(session, number)
            model = str(models.get(session, run.base_model_id).path)
    except TempoError:
        return None
    weight = st.session_state.get("clone_sft_weight")
    config = run.config if weight is None else replace(run.config, sft_weight=weight)
    return Source(f"_clone{number}_{weight}", config, model, run.dataset_version_id, run.sft_set_id)


def _ordered() -> Source | None:
    """What was chosen on the curriculum page, or the saved curriculum that is picked here."""
    found = run_curriculum.wish()
    return None if found is None else Source(found[0], found[1], str(EMBEDDED_MODEL))


def _of_clone(source: Source) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"A copy of **run {st.session_state['clone_of']:d}**: change what you like.")
        changed = st.session_state.get("clone_sft_weight")
        if changed is not None:
            st.badge(f"SFT term {changed:g}", icon=":material/healing:", color="green")
        if st.button("Take a preset instead", type="tertiary"):
            forget_clone()
            st.rerun()


def forget_clone() -> None:
    st.session_state.pop("clone_of", None)
    st.session_state.pop("clone_sft_weight", None)


def _fields(source: Source | None, frozen: dict[int, DatasetCard], sets: Sequence[SftCard]) -> Wish:
    key = source.key if source else ""
    left, right = st.columns(2)
    named = {number: f"{v.name} {v.number}: {v.n_pairs - v.n_held_out:,} pairs" for number, v in frozen.items()}
    first = source.version_id if source and source.version_id in frozen else next(iter(frozen))
    version = left.selectbox("Dataset version", list(frozen), list(frozen).index(first), key=f"version_of_run{key}",
                             format_func=named.__getitem__)  # fmt: skip
    of_recipe = list(RECIPES).index(source.config.recipe) if source else 0
    recipe = right.selectbox("Recipe", list(RECIPES), of_recipe, format_func=words.recipe, key=f"recipe{key}")
    if source is None:
        preset = left.selectbox("Preset", list(PRESETS), list(PRESETS).index("embedded"),
                                help="All other numbers; each can be changed under Settings")  # fmt: skip
        source = Source(f"_{preset}", PRESETS[preset], str(EMBEDDED_MODEL))
    pacing = right.selectbox("Order of levels", PACINGS, PACINGS.index(source.config.pacing),
                             key=f"pacing{source.key}", format_func=words.pacing)  # fmt: skip
    run_curriculum.told(replace(source.config, pacing=pacing), frozen[version])
    chosen = _sft_set(source, recipe, sets, left)
    model = st.text_input("Model folder", source.model, key=f"model{key}")
    few = st.radio("A level with fewer pairs than one step", (ERROR, SKIP, SMALLER), horizontal=True)
    with st.container(horizontal=True):
        config = _settings(replace(source.config, recipe=recipe, pacing=pacing), source.key)
        start = st.button("Start", type="primary", icon=":material/play_arrow:", **for_role("admin"))
        estimate = st.button("Estimate", icon=":material/timer:", **for_role("admin", told=ESTIMATE))
        elsewhere = st.button("Train elsewhere", icon=":material/local_shipping:", **for_role("admin", told=ELSEWHERE))
    pressed: Literal["", "start", "estimate", "elsewhere"] = (
        "start" if start else "estimate" if estimate else "elsewhere" if elsewhere else ""
    )
    wish = Wish(config, Path(model.strip()).expanduser(), version, chosen, few == SKIP, few == SMALLER, pressed)
    run_estimate.show(wish.config, wish.model, wish.payload())
    return wish


def _sft_set(source: Source, recipe: str, sets: Sequence[SftCard], place: DeltaGenerator) -> int | None:
    """For recipes with an SFT phase: an imported set, or None for the drawn world's own examples."""
    if "sft" not in RECIPES[recipe]:
        return None
    named = {card.id: f"{card.name} {card.number}: {card.n_items:,} examples" for card in sets}
    options = [None, *named]
    first = options.index(source.sft_set_id) if source.sft_set_id in named else 0
    world = "the drawn world's own examples"
    return place.selectbox("SFT set", options, first, format_func=lambda i: world if i is None else named[i],
                           key=f"sft_set{source.key}")  # fmt: skip


def _settings(config: RunConfig, key: str) -> RunConfig:
    told = "The run stores every number."
    with st.popover("Settings", icon=":material/tune:", width="content"):
        st.caption(told)
        config = _of_training(config, key)
    with st.popover("More settings", icon=":material/tune:", width="content"):
        st.caption(told)
        return _of_engine(config, key)


def _one_of(label: str, words: Mapping[T, str], value: T, key: str) -> T:
    return st.selectbox(escaped(label), list(words), list(words).index(value), format_func=words.__getitem__, key=key)


def _of_training(config: RunConfig, key: str) -> RunConfig:
    """What is learned, and in which order."""
    number, share = st.number_input, config.replay_share
    if config.pacing == "replay":
        share = number("Share of earlier levels", 0.0, 0.9, share, 0.05, key=f"replay{key}")
    return replace(
        config,
        replay_share=share,
        reference=_one_of("Answers are compared with", REFERENCES, config.reference, f"reference{key}"),
        dpo_lr=number("Learning rate of DPO", 0.0, 1.0, config.dpo_lr, format="%g", key=f"lr{key}"),
        sft_lr=number("Learning rate of SFT", 0.0, 1.0, config.sft_lr, format="%g", key=f"slr{key}"),
        sft_weight=number("Weight of the SFT term beside DPO", 0.0, 100.0, config.sft_weight, key=f"sw{key}"),
        beta=number("beta", 0.0, 10.0, config.beta, format="%g", key=f"beta{key}"),
        pairs_per_step=int(number("Pairs a step", 1, 1024, config.pairs_per_step, key=f"pps{key}")),
        dpo_epochs=int(number("Epochs", 1, 20, config.dpo_epochs, key=f"ep{key}")),
        seed=int(number("Seed", 0, 2**31 - 1, config.seed, key=f"seed{key}")),
    )


def _of_engine(config: RunConfig, key: str) -> RunConfig:
    """Lengths, memory and layout."""
    number = st.number_input
    return replace(
        config,
        length_matched=st.toggle("Match lengths", config.length_matched, key=f"matched{key}", help=MATCHED),
        ld_alpha=number(
            "Weight of a longer answer's extra tokens", 0.0, 1.0, config.ld_alpha, key=f"ld{key}", help=LD_ALPHA
        ),
        pairs_together=int(number("Pairs of a video side by side", 0, 64, config.pairs_together, key=f"tog{key}")),
        micro_batch=int(number("Pairs in one forward", 1, 1024, config.micro_batch, key=f"mb{key}")),
        gradient_checkpointing=st.toggle(
            "Gradient checkpointing", config.gradient_checkpointing, key=f"gc{key}", help=AGAIN
        ),
        max_tokens=int(number("Most tokens of a pair", 64, 1_000_000, config.max_tokens, key=f"mt{key}")),
        checkpoint_every=int(number("Steps between checkpoints", 1, 10_000, config.checkpoint_every, key=f"ck{key}")),
        attention=_one_of("Attention", ATTENTIONS, config.attention, f"att{key}"),
        positions=_one_of("Positions of text after a video", POSITIONS, config.positions, f"pos{key}"),
        feature_bytes=int(
            1e9 * number("Disk for video features, GB", 0.0, 1e5, config.feature_bytes / 1e9, key=f"fb{key}")
        ),
    )
