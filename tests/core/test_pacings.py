"""The order of pairs under each pacing: properties over many small curricula, and shares worked out by hand."""

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tempo_core import pacings
from tempo_core.curriculum import plan_sha256, steps_of_share, training_plan
from tempo_core.errors import BadSettings, EmptyStage
from tempo_core.pacings import ALLOWED_AT_START, competence_at, crossfade, share_of_easier
from tempo_core.recipes import PACINGS, RunConfig
from tempo_core.types import PairRef

ONE_STAGE = ("linear", "competence", "mixed")


def config(**changes):
    return replace(RunConfig(pairs_per_step=4, micro_batch=2), **changes)


@st.composite
def curricula(draw, fewest=8, most=60, levels=(1, 2, 3, 4, None)):
    """Pairs of a few videos, kinds and levels, with difficulties that repeat, in any order."""
    n = draw(st.integers(fewest, most))
    rng = random.Random(draw(st.integers(0, 10**6)))
    present = draw(st.lists(st.sampled_from(levels), min_size=1, max_size=len(levels), unique=True))
    n_videos = draw(st.integers(1, 12))
    pairs = []
    for pair_id in range(n):
        level = rng.choice(present)
        hard = None if level is None else round((level - 1 + rng.random()) / 4, 1)
        kind = rng.choice(("drop", "shuffle", "reverse"))
        pairs.append(PairRef(pair_id, f"v{rng.randrange(n_videos)}", kind, level, hard, rng.choice((2, 4, 8, 16))))
    return rng.sample(pairs, n)


@st.composite
def configs(draw):
    return config(
        pacing=draw(st.sampled_from(PACINGS)),
        pairs_per_step=draw(st.integers(1, 9)),
        dpo_epochs=draw(st.integers(1, 3)),
        pairs_together=draw(st.integers(0, 4)),
        seed=draw(st.integers(0, 99)),
        replay_share=draw(st.sampled_from((0.0, 0.1, 0.25, 0.5))),
    )


def planned(pairs, config):
    """The plan, small levels left out; None where that leaves nothing."""
    try:
        return training_plan(pairs, config, skip_small=True)
    except EmptyStage:
        return None


def even(n_per_level=32, levels=(1, 2, 3, 4), n_videos=16):
    """As many pairs on each level, difficulties rising evenly through all of them."""
    n = n_per_level * len(levels)
    return [
        PairRef(i, f"v{(i * 7) % n_videos}", "shuffle", levels[i // n_per_level], i / n, None, 10, 10) for i in range(n)
    ]


# Every pacing


def test_every_pacing_that_a_run_can_name_is_a_function():
    assert tuple(pacings.ORDERS) == PACINGS


@settings(max_examples=60, deadline=None)
@given(curricula(), configs(), st.integers(0, 10**6))
def test_the_same_seed_gives_the_same_plan_in_whatever_order_the_pairs_come(pairs, config, other_order):
    plan = planned(pairs, config)
    assert planned(random.Random(other_order).sample(pairs, len(pairs)), config) == plan
    assert plan is None or plan.sha256 == plan_sha256(plan.planned, plan.stages)


@settings(max_examples=120, deadline=None)
@given(curricula(), configs())
def test_each_pair_comes_once_an_epoch_and_what_does_not_is_counted(pairs, config):
    plan = planned(pairs, config)
    if plan is None:
        return
    of_stage = {name: i for i, name in enumerate(stage.name for stage in plan.stages)}
    own = [p for p in plan.planned if config.pacing != "replay" or p.level == plan.stages[p.stage].levels[0]]
    again = Counter(p.stage for p in plan.planned) - Counter(p.stage for p in own)
    assert again == {of_stage[name]: n for name, n in plan.repeats.items()}
    assert len(own) + sum(plan.dropped.values()) == len(pairs) * config.dpo_epochs
    assert max(Counter(p.pair_id for p in own).values()) <= config.dpo_epochs
    assert config.pacing == "replay" or not plan.repeats
    trained = {name: n for name, n in plan.dropped.items() if name in of_stage}
    assert all(n < config.pairs_per_step * config.dpo_epochs for n in trained.values())


@settings(max_examples=120, deadline=None)
@given(curricula(), configs())
def test_each_step_is_whole_and_of_one_stage(pairs, config):
    plan = planned(pairs, config)
    if plan is None:
        return
    assert [p.ordinal for p in plan.planned] == list(range(len(plan.planned)))
    assert [p.step for p in plan.planned] == [i // config.pairs_per_step for i in range(len(plan.planned))]
    assert all(len({p.stage for p in plan.planned if p.step == step}) == 1 for step in range(plan.n_steps))
    assert all(p.level in plan.stages[p.stage].levels for p in plan.planned)


@settings(max_examples=60, deadline=None)
@given(curricula(fewest=20), configs())
def test_the_pairs_of_a_video_stand_together_inside_a_step_where_pairs_change_level(pairs, config):
    config = replace(config, pairs_together=3, pacing="linear" if config.pacing == "strict" else config.pacing)
    plan, video = planned(pairs, config), {p.pair_id: p.video_key for p in pairs}
    if plan is None or config.pacing not in ("linear", "competence"):
        return
    for step in range(plan.n_steps):
        videos = [video[p.pair_id] for p in plan.planned if p.step == step]
        groups = 1 + sum(a != b for a, b in pairwise(videos))
        assert groups <= sum(-(-n // 3) for n in Counter(videos).values())


@pytest.mark.parametrize("pacing", PACINGS)
def test_without_keeping_pairs_together_more_videos_meet_in_a_step(pacing):
    pairs, mean = even(48, n_videos=24), {}
    for together in (0, 3):
        plan = training_plan(pairs, config(pacing=pacing, pairs_per_step=12, pairs_together=together))
        video = {p.pair_id: p.video_key for p in pairs}
        met = {(p.step, video[p.pair_id]) for p in plan.planned}
        mean[together] = len(met) / plan.n_steps
    assert mean[0] > mean[3]


# Replay


def test_a_replay_stage_repeats_its_share_of_earlier_levels_in_every_step():
    plan = training_plan(even(48), config(pacing="replay", pairs_per_step=16, replay_share=0.25))
    assert [(stage.name, stage.levels) for stage in plan.stages] == [
        ("l1", (1,)), ("l2", (2, 1)), ("l3", (3, 1, 2)), ("l4", (4, 1, 2, 3)),
    ]  # fmt: skip
    assert plan.repeats == {"l2": 16, "l3": 16, "l4": 16}
    assert [p.level for p in plan.planned if p.step < 3] == [1] * 48
    for step in range(3, plan.n_steps):
        levels = Counter(p.level for p in plan.planned if p.step == step)
        assert levels[plan.stages[next(p.stage for p in plan.planned if p.step == step)].levels[0]] == 12


def test_no_pair_is_repeated_twice_in_a_pass_and_a_smaller_share_is_told():
    few_easy = [p for p in even(40, levels=(1, 2)) if p.level == 2 or p.pair_id < 4]
    plan = training_plan(few_easy, config(pacing="replay", replay_share=0.5))
    assert plan.repeats == {"l2": 4}
    assert max(Counter(p.pair_id for p in plan.planned if p.stage == 1).values()) == 1
    assert plan.notes[-1].startswith("l2 repeats 9% of earlier levels instead of 50%")


def test_each_epoch_of_a_stage_repeats_other_pairs():
    plan = training_plan(even(48, levels=(1, 2)), config(pacing="replay", pairs_per_step=16, dpo_epochs=2))
    again = [p.pair_id for p in plan.planned if p.stage == 1 and p.level == 1]
    assert len(again) == 32 and set(again[:16]) != set(again[16:])


@settings(max_examples=50, deadline=None)
@given(curricula(), configs())
def test_replay_of_nothing_is_strict_to_the_last_byte(pairs, config):
    none = planned(pairs, replace(config, pacing="replay", replay_share=0.0))
    assert none == planned(pairs, replace(config, pacing="strict"))


@pytest.mark.parametrize("share", [-0.1, 1.0, 3.0, float("nan")])
def test_a_share_of_earlier_levels_outside_its_range_is_refused(share):
    with pytest.raises(BadSettings, match="at least 0 and below 1"):
        training_plan(even(), config(pacing="replay", replay_share=share))


def test_a_level_that_is_left_out_is_repeated_nowhere():
    pairs = [p for p in even(12) if p.level != 1 or p.pair_id < 3]
    plan = training_plan(pairs, config(pacing="replay"), skip_small=True)
    assert plan.dropped["l1"] == 3 and {p.level for p in plan.planned} == {2, 3, 4}


# Linear


def test_levels_of_one_size_fade_into_each_other_from_middle_to_middle():
    order = list(crossfade([100, 100, 100]))
    share = [[order[i : i + 20].count(level) / 20 for i in range(0, 300, 20)] for level in range(3)]
    # Middles lie at 50, 150 and 250; a share falls by a fifth every 20 places between them.
    easy = [1, 1, 0.975, 0.8, 0.6, 0.4, 0.2, 0.025, 0, 0, 0, 0, 0, 0, 0]
    assert share[0] == pytest.approx(easy, abs=0.051)
    assert share[2] == pytest.approx(easy[::-1], abs=0.051)
    assert share[1] == pytest.approx([1 - a - b for a, b in zip(share[0], share[2], strict=True)])
    assert share[1][7] == max(share[1]) >= 0.9


def test_every_queue_runs_empty_whatever_the_sizes():
    for sizes in product(range(1, 7), repeat=3):
        assert Counter(crossfade(sizes)) == Counter(dict(enumerate(sizes))), sizes
    for sizes in [(5,), (1, 50), (50, 1), (7, 1, 30, 2, 9), (1, 1, 1, 1, 1)]:
        assert Counter(crossfade(sizes)) == Counter(dict(enumerate(sizes))), sizes
    assert list(crossfade([])) == []


def test_at_any_place_only_two_neighbouring_levels_meet():
    order = list(crossfade([40, 80, 20, 60]))
    for i in range(len(order) - 4):
        window = order[i : i + 4]
        assert max(window) - min(window) <= 1


def test_a_linear_plan_moves_from_easy_to_hard_in_one_stage():
    plan = training_plan(even(64), config(pacing="linear", pairs_per_step=16))
    shares = steps_of_share(plan)
    assert [stage.name for stage in plan.stages] == ["all"]
    assert shares["l1"][:2] == (1.0, 1.0) and shares["l4"][-2:] == (1.0, 1.0)
    assert shares["l1"][3:5] == pytest.approx((0.625, 0.375), abs=0.07)
    means = [sum(level * shares[f"l{level}"][step] for level in (1, 2, 3, 4)) for step in range(plan.n_steps)]
    assert means == sorted(means)


def test_two_epochs_stretch_the_fade_and_bring_every_pair_of_a_level_before_any_twice():
    plan = training_plan(even(32), config(pacing="linear", pairs_per_step=16, dpo_epochs=2))
    assert set(Counter(p.pair_id for p in plan.planned).values()) == {2}
    easy = [p.pair_id for p in plan.planned if p.level == 1]
    # Inside a step pairs of a video are brought together, so the border may move by less than a step.
    assert len(set(easy[:32])) >= 28 and sorted(easy) == sorted([*range(32), *range(32)])


# Competence


def test_competence_rises_from_a_quarter_to_one_as_the_square_root_says():
    assert competence_at(0) == ALLOWED_AT_START == 0.25 and competence_at(1) == 1
    assert competence_at(0.5) == pytest.approx(0.7289, abs=1e-4)
    assert all(competence_at(t / 100) >= t / 100 for t in range(101))


@settings(max_examples=80, deadline=None)
@given(curricula(), configs())
def test_no_pair_comes_before_its_difficulty_is_allowed(pairs, config):
    config = replace(config, pacing="competence")
    plan = planned(pairs, config)
    if plan is None:
        return
    of_level = {level: [p for p in pairs if p.level == level] for level in (1, 2, 3, 4, None)}
    easier = share_of_easier({level: members for level, members in of_level.items() if members}, config)
    n_places = len(pairs) * config.dpo_epochs
    for place in plan.planned:
        allowed = competence_at((place.step + 1) * config.pairs_per_step / n_places)
        assert easier[place.pair_id] <= allowed + 1e-12


def test_competence_begins_with_the_easiest_quarter_and_then_mixes():
    plan = training_plan(even(64), config(pacing="competence", pairs_per_step=16))
    shares = steps_of_share(plan)
    # c(1/16) = 0.348: of the first 16 pairs at most the easiest 35 %, so level 2 at the very most.
    assert shares["l3"][0] == shares["l4"][0] == 0 and shares["l1"][0] > 0.6
    assert sum(shares["l4"][:8]) == pytest.approx(0, abs=0.3)
    assert all(shares[f"l{level}"][-1] > 0 for level in (2, 3, 4)), "not sorted: what waited longest may come last"


def test_competence_draws_evenly_among_what_is_allowed():
    """Over many seeds an easy pair comes in the middle of its own time on average, not always at its beginning."""
    late = [0] * 32
    for seed in range(60):
        plan = training_plan(even(16), config(pacing="competence", seed=seed, pairs_together=0))
        for place in plan.planned:
            if place.level == 1:
                late[place.ordinal // 2] += 1
    # All 16 easy pairs are allowed from the first place on: they thin out as the pool grows.
    halves = sum(late[:8]), sum(late[8:16]), sum(late[16:])
    assert halves[0] > halves[1] > 0 and halves[2] > 60


def test_on_the_papers_axis_competence_goes_by_r_alone():
    pairs = [replace(p, magnitude={1: 2, 2: 4, 3: 8, 4: 16}[p.level]) for p in even(32)]
    plan = training_plan(pairs, config(pacing="competence", difficulty="paper", pairs_per_step=16))
    magnitude = {p.pair_id: p.magnitude for p in pairs}
    # r = 16 is the easiest: 25 % of pairs are easier than r = 8, and c(t) = 0.25 lies before the first place.
    assert {magnitude[p.pair_id] for p in plan.planned if p.step == 0} <= {16, 8}
    assert magnitude[plan.planned[-1].pair_id] in (2, 4, 8, 16)
    easier = share_of_easier({1: [p for p in pairs if p.magnitude == 16]}, config(difficulty="paper"))
    assert set(easier.values()) == {0.0}


def test_imported_pairs_come_last_where_difficulty_decides():
    imported = [PairRef(900 + i, f"x{i}", "imported", None, None, None) for i in range(16)]
    for pacing in ("linear", "competence"):
        plan = training_plan([*even(16), *imported], config(pacing=pacing))
        first = min(p.step for p in plan.planned if p.level is None)
        assert first >= plan.n_steps // 2, pacing
