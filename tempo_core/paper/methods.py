"""The methods section of a paper, filled with what the runs really did.

The one thing to know: a sentence stands only where a stored value justifies it. What differs between runs is told run
by run, and what nobody stored is not told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

from tempo_core.paper.facts import Answered, DataFacts, PaperRun
from tempo_core.paper.latex import escaped, listed, sha256, short
from tempo_core.paper.tables import versions_of

TRIVIAL = ("seed",)
"""Settings in which runs of one description may differ."""

_PACING = {
    "strict": "from the easiest level to the hardest, one stage a level",
    "replay": "from the easiest level to the hardest, one stage a level, with a share of {replay_share} of the places "
    "of each later stage given to pairs of the levels before it",
    "linear": "in one stage in which each level fades into the next harder one",
    "competence": "in one stage, a pair being admitted as soon as the share of easier pairs is at most the competence "
    "of that moment",
    "mixed": "with all levels mixed in one stage",
    "hard_to_easy": "from the hardest level to the easiest, one stage a level",
}
_INPUTS = {
    "captions": "the captions that it gave the clips itself, listed in the order in question",
    "clips": "the clips as videos of their own, in the order in question",
    "video": "key frames of the clips as one video, in the order in question",
}
_LAWS = {
    "tempo": "Orders that equal the original one are never drawn",
    "authors": "Orders are drawn by the published law, which may return the original one",
}


def section(found: Sequence[PaperRun]) -> str:
    """LaTeX: a paragraph on each version of the data, on each way of training, and on how it was measured."""
    on_pairs = [run for run in found if set(run.run.phases) != {"sft"}]
    parts = [paragraph("Data", data_sentences(data)) for data in versions_of(on_pairs)]
    parts += [paragraph("Training", training_sentences(runs)) for runs in alike(found)]
    if any(run.measured for run in found):
        parts.append(paragraph("Evaluation", evaluation_sentences(found)))
    return "\n\n".join(parts) + "\n"


def paragraph(title: str, sentences: Iterator[str]) -> str:
    return f"\\paragraph{{{title}.}}\n" + "\n".join(sentences)


def alike(found: Sequence[PaperRun]) -> list[list[PaperRun]]:
    """Runs that differ in nothing but the seed, together."""
    groups: dict[tuple[Any, ...], list[PaperRun]] = {}
    for run in found:
        config = tuple(sorted((k, str(v)) for k, v in run.run.config.items() if k not in TRIVIAL))
        data = run.data.sha256 if run.data else None
        key = run.run.base.sha256, data, run.run.sft_set and run.run.sft_set.sha256, run.run.state, config
        groups.setdefault(key, []).append(run)
    return list(groups.values())


# ---- data -----------------------------------------------------------------------------------------------------------
def data_sentences(data: DataFacts) -> Iterator[str]:
    yield (
        f"The data are version {data.number} of {escaped(data.name)} (sha256 {sha256(data.sha256)}): "
        f"{_pairs(data.n('train'))} of {_videos(data.videos.get('train', 0))} to train on"
        + (f" and {_pairs(data.n('held_out'))} of {_videos(data.videos['held_out'])} held out. Held out are whole "
           f"videos, drawn with seed {data.seed}." if data.n("held_out") else "; none was held out.")
    )  # fmt: skip
    if data.n_imported:
        yield f"{_pairs(data.n_imported, capital=True)} came from elsewhere; what follows is about the others."
    yield from _selection(data)
    yield from _perturbation(data)
    for answered in data.answered:
        yield _answers(answered, alone=len(data.answered) == 1)
    yield from _rules(data)
    yield from _reviews(data)
    yield from _levels(data)


def _selection(data: DataFacts) -> Iterator[str]:
    if len(data.selected) > 1:
        yield (
            f"The videos were selected under {len(data.selected)} sets of thresholds (Table~\\ref{{tab:selection}})."
        )
    if len(data.selected) != 1:
        return
    t = data.selected[0].thresholds
    most = f"$\\min({t['max_group_clips']}, \\lfloor n / {t['group_divisor']} \\rfloor)$"
    yield (
        f"A video was used if it has {t['min_shots']} to {t['max_shots']} shots of at least "
        f"{short(t['min_shot_s'])}\\,s, none longer than {short(t['max_shot_s'])}\\,s, and at least {t['min_clips']} "
        f"clips, where neighbouring shots of a likeness of {short(t['likeness'])} or more form one clip, and if of its "
        f"$n$ clips no group of look-alike ones holds more than {most}."
    )


def _perturbation(data: DataFacts) -> Iterator[str]:
    if not data.plans:
        return
    kinds = [escaped(kind) for kind in dict.fromkeys(plan.kind for plan in data.plans)]
    magnitudes = sorted({plan.magnitude for plan in data.plans})
    yield (
        f"The order of the clips was perturbed by {listed(kinds)} with magnitudes $r \\in "
        f"\\{{{', '.join(str(r) for r in magnitudes)}\\}}$ (Table~\\ref{{tab:perturbations}})."
    )
    laws = dict.fromkeys(plan.law for plan in data.plans)
    for law in laws:
        if law in _LAWS:
            n = sum(plan.n for plan in data.plans if plan.law == law)
            yield _LAWS[law] + ("." if len(laws) == 1 else f" ({_pairs(n)}).")


def _answers(answered: Answered, *, alone: bool) -> str:
    s, on = answered.sampling, _INPUTS.get(answered.input, escaped(answered.input))
    if answered.input == "captions" and s.get("captions"):
        on = f"the captions that came with the videos (sha256 {sha256(str(s['captions']))}), in the order in question"
    whole = "Both answers of a pair" if alone else f"Both answers of {_pairs(answered.n)}"
    drawn = [
        f"temperature {short(s['temperature'])}" if "temperature" in s else "",
        f"top-$p$ {short(s['top_p'])}" if "top_p" in s else "",
        f"repetition penalty {short(s['repetition_penalty'])}" if "repetition_penalty" in s else "",
        f"at most {s['max_new_tokens']} tokens" if "max_new_tokens" in s else "",
    ]
    told = [part for part in drawn if part]
    with_ = f", with {listed(told)}" if told else ""
    by = f"{escaped(answered.model)} (fingerprint {sha256(answered.model_sha256)})"
    return (
        f"{whole} were given by {by} on {on}{with_}: the chosen one on the original order, the "
        "rejected one on the perturbed order."
    )


def _rules(data: DataFacts) -> Iterator[str]:
    if not data.rules:
        return
    names = listed([f"\\emph{{{escaped(rule.name)}}}" for rule in data.rules])
    yield (
        f"Of {data.n_candidates:,} candidate pairs of these videos the rules {names} refused "
        f"{f'{data.n_refused:,}' if data.n_refused else 'none'} "
        "(Table~\\ref{tab:rules})."
    )


def _reviews(data: DataFacts) -> Iterator[str]:
    r, parts = data.reviewed, []
    if r.n_alone:
        people = "one person" if r.n_reviewers == 1 else f"{r.n_reviewers} people"
        parts.append(f"{r.n_alone:,} {_were(r.n_alone)} decided one by one by {people}")
    if r.n_sampled:
        parts.append(f"{r.n_sampled:,} {_were(r.n_sampled)} accepted unread after a blind sample of their stratum")
    if r.n_unread:
        parts.append(f"{r.n_unread:,} {_were(r.n_unread)} accepted in bulk without being read")
    if not parts:
        return
    yield f"Of the {_pairs(r.n_alone + r.n_sampled + r.n_unread)}, {listed(parts)}."
    if r.n_edited:
        yield f"The texts of {_pairs(r.n_edited)} were changed or exchanged by a person."
    for b in data.bounds:
        yield (
            f"Of the stratum {escaped(b.stratum)} ({b.n_read:,} of {b.n_pairs:,} read, {b.bad:,} bad) at most "
            f"{_at_most(b.bound)} are bad with {_percent(b.confidence)} confidence, which is at most "
            f"{b.at_most_here:,} of the {b.n_here:,} unread pairs of it in this version."
        )


def _levels(data: DataFacts) -> Iterator[str]:
    axis, cuts = data.criteria.get("level_axis"), data.criteria.get("level_thresholds")
    if axis == "paper":
        yield "Levels follow the nominal magnitude: $r = 16, 8, 4, 2$ are levels 1 (easiest) to 4 (hardest)."
    elif axis == "measured" and cuts:
        at = ", ".join(f"{cut:g}" for cut in cuts)
        yield (
            "Levels 1 (easiest) to 4 (hardest) follow the measured difficulty of the perturbation, ranked among the "
            f"pairs of its kind and cut at the shares {at} (Table~\\ref{{tab:counts}})."
        )


# ---- training -------------------------------------------------------------------------------------------------------
def training_sentences(runs: Sequence[PaperRun]) -> Iterator[str]:
    first = runs[0]
    c, phases = first.run.config, first.run.phases
    yield _what(runs)
    if "dpo" in phases or "chosen_only" in phases:
        yield _order(first)
    if "dpo" in phases:
        yield from _dpo(c)
    if "chosen_only" in phases:
        yield (
            "The chosen answers alone were trained on, by their negative log-likelihood, with the learning rate "
            f"{short(c['dpo_lr'])} and {c['pairs_per_step']} pairs a step."
        )
    yield (
        f"Every stage trains a fresh LoRA (rank {c['lora_r']}, $\\alpha = {_alpha(c, phases)}$) on the linear layers "
        "of the language model, on the merged result of the stages before it, with the learning rate's schedule "
        f"\\emph{{{escaped(str(c['lr_scheduler']))}}}, {_percent(c['warmup'])} warm-up{_precision(runs)}."
    )
    if "sft" in phases and first.run.sft_set is not None:
        yield _sft(first)
    if n := max(run.n_left_out for run in runs):
        yield f"{_pairs(n, capital=True)} with more than {c['max_tokens']:,} tokens {_were(n)} left out, none was cut."
    yield _known(runs)


def _what(runs: Sequence[PaperRun]) -> str:
    first, seeds = runs[0], [str(run.run.config["seed"]) for run in runs]
    numbers = listed([str(run.run.run_id) for run in runs])
    steps = {"dpo": "DPO", "sft": "supervised fine-tuning", "chosen_only": "training on the chosen answers alone"}
    method = ", then ".join(steps.get(phase, escaped(phase)) for phase in first.run.phases)
    several = len(runs) > 1
    unfinished = "" if first.run.state == "succeeded" else f" (state: {escaped(first.run.state)}, not finished)"
    return (
        f"Run{'s' * several} {numbers}{unfinished} trained {escaped(first.run.base.name)} (fingerprint "
        f"{sha256(first.run.base.sha256)}) by {method}, with seed{'s' * several} {listed(seeds)}."
    )


def _order(run: PaperRun) -> str:
    c = run.run.config
    pacing = _PACING.get(str(c["pacing"]), escaped(str(c["pacing"]))).format(replay_share=f"{c.get('replay_share'):g}")
    n_steps = len({place.step for place in run.planned})
    trained = len({place.pair_id for place in run.planned})
    epochs = "one epoch" if c["dpo_epochs"] == 1 else f"{c['dpo_epochs']} epochs"
    axis = ", with levels by nominal magnitude," if c.get("difficulty") == "paper" else ""
    matched = ", balanced so that the chosen answer is the longer one as often as the shorter one"
    return (
        f"{_pairs(trained, capital=True)}{matched if c.get('length_matched') else ''} were trained on {pacing}{axis} "
        f"for {epochs} in {n_steps:,} steps of up to {c['pairs_per_step']} pairs."
    )


def _dpo(c: Mapping[str, Any]) -> Iterator[str]:
    reference = {
        "reset": "the model with which the stage begins",
        "base": "the model before the first DPO stage, throughout",
    }.get(str(c.get("reference")), "")
    against = f" against {reference}" if reference else ""
    yield (
        f"DPO uses the sigmoid loss with $\\beta = {c['beta']:g}${against} and the learning rate {short(c['dpo_lr'])}; "
        "the vision tower is frozen."
    )
    if c["sft_weight"]:
        yield (
            f"The negative log-likelihood of the chosen answer is added to the loss with weight {c['sft_weight']:g}."
        )
    if c.get("ld_alpha") is not None:
        yield (f"Of the longer answer the tokens beyond the shorter one's length count with weight {c['ld_alpha']:g}.")


def _alpha(c: Mapping[str, Any], phases: Sequence[str]) -> str:
    """One number, or that of each phase where they differ."""
    preference, sft = c["lora_alpha"], c["sft_lora_alpha"]
    if "sft" not in phases:
        return f"{preference}"
    if phases == ("sft",) or preference == sft:
        return f"{sft}"
    return f"{preference}$, for supervised fine-tuning ${sft}"


def _precision(runs: Sequence[PaperRun]) -> str:
    """Only a GPU trains in the number type of the settings; without one it is float32. A GPU's memory is a curve."""
    if not all(run.series for run in runs):
        return ""
    on_gpu = {"memory/gpu_bytes" in run.series for run in runs}
    if len(on_gpu) > 1:
        return ""
    return f", in {escaped(str(runs[0].run.config['dtype'])) if on_gpu == {True} else 'float32'}"


def _sft(run: PaperRun) -> str:
    c, sft = run.run.config, run.run.sft_set
    assert sft is not None
    tower = "trained too" if c["sft_tower_trainable"] else "frozen"
    return (
        f"Supervised fine-tuning uses {sft.n:,} examples ({escaped(sft.name)}, sha256 {sha256(sft.sha256)}) in "
        f"{run.n_sft_steps:,} steps of {c['sft_examples_per_step']}, with the learning rate {short(c['sft_lr'])}; the "
        f"vision tower is {tower}."
    )


def _known(runs: Sequence[PaperRun]) -> str:
    """What names the runs exactly. Seeds of one description may have been trained on several days, or machines."""
    plans = listed([sha256(run.run.plan_sha256) for run in runs])
    codes = [escaped(code) for code in dict.fromkeys(run.run.code_version for run in runs) if code]
    libraries = dict.fromkeys(
        ", ".join(f"{escaped(name)} {escaped(version)}" for name, version in run.run.libraries.items()) for run in runs
    )
    made_by = f" The training code is {listed(codes)}" if codes else " They were trained"
    return f"Orders of training: sha256 {plans}.{made_by}, with {'; or with '.join(libraries)}."


# ---- evaluation -----------------------------------------------------------------------------------------------------
def evaluation_sentences(found: Sequence[PaperRun]) -> Iterator[str]:
    measured = [m for run in found for m in run.measured]
    names = listed([f"\\emph{{{escaped(name)}}}" for name in dict.fromkeys(m.benchmark for m in measured)])
    yield f"Models were measured before and after training on {names} (Table~\\ref{{tab:scores}})."
    if all(_held_out(run) for run in found):
        yield "Questions on held-out videos are about videos of which no pair was trained on."
    medians = " (1,000 for medians)" if any(m.metric == "median_words" for m in measured) else ""
    yield (
        f"Intervals are 95\\,\\% intervals by a bootstrap over videos with 10,000 resamples{medians}, or Wilson's "
        "where each video has one question or all answers agree; answers that could not be read count as wrong."
    )
    if any(c.difference is not None for run in found for c in run.run.changes):
        yield (
            "Differences are on the same questions, with intervals of a paired bootstrap over videos; a model is "
            "called better or worse only where the interval excludes 0 (Table~\\ref{tab:comparisons})."
        )
    if contaminated := listed([escaped(n) for n in dict.fromkeys(m.benchmark for m in measured if m.contaminated)]):
        yield f"Some videos of {contaminated} were also trained on."
    if any(len(runs) < 3 for runs in alike(found)):
        yield "Intervals cover the choice of questions, not the chance of training."


def _held_out(run: PaperRun) -> bool:
    """Whether every figure on held-out videos is of those that the run's own version holds out."""
    own = run.data.sha256 if run.data else None
    of = {m.dataset_sha256 for m in run.measured if m.split == "held_out"}
    return of == {own} and own is not None


def _percent(share: float) -> str:
    return f"{100 * share:.3g}\\,\\%"


def _at_most(share: float) -> str:
    """Rounded up, so that it stays true."""
    return f"{ceil(share * 1000 - 1e-9) / 10:g}\\,\\%"


def _pairs(n: int, *, capital: bool = False) -> str:
    word = "One" if capital else "one"
    return f"{word} pair" if n == 1 else f"{n:,} pairs"


def _videos(n: int) -> str:
    return "one video" if n == 1 else f"{n:,} videos"


def _were(n: int) -> str:
    return "was" if n == 1 else "were"
