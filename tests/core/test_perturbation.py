"""How a timeline may be disturbed, shown on every size of timeline the rules let through and more."""

import hashlib
import json
import math
import random
from itertools import product

import numpy as np
import pytest

from tempo_core import perturbation
from tempo_core.errors import TimelineTooShort
from tempo_core.perturbation import PERTURBATIONS, difficulty, effective, plan, plan_seed, plan_sha256, plans
from tempo_core.types import PerturbationPlan

MAGNITUDES = (2, 4, 8, 16)
SEEDS = range(5)


def whole_domain():
    return product(range(2, 65), MAGNITUDES, SEEDS)


@pytest.mark.parametrize("kind", PERTURBATIONS)
def test_every_plan_disturbs_the_order_and_invents_no_clip(kind):
    for n_clips, magnitude, seed in whole_domain():
        order = plan(kind, n_clips, magnitude, seed).order
        assert order != tuple(range(n_clips)), (n_clips, magnitude, seed)
        assert len(set(order)) == len(order), (n_clips, magnitude, seed)
        assert set(order) <= set(range(n_clips)), (n_clips, magnitude, seed)


def test_drop_keeps_the_share_that_r_says_in_order():
    for n_clips, magnitude, seed in whole_domain():
        order = plan("drop", n_clips, magnitude, seed).order
        assert list(order) == sorted(order)
        assert len(order) == max(1, n_clips // magnitude)


@pytest.mark.parametrize("kind", ["shuffle", "reverse"])
def test_shuffle_and_reverse_keep_every_clip_and_the_order_inside_balanced_blocks(kind):
    for n_clips, magnitude, seed in whole_domain():
        order = plan(kind, n_clips, magnitude, seed).order
        assert sorted(order) == list(range(n_clips))
        k = min(n_clips, magnitude if kind == "reverse" else max(3, magnitude))
        blocks = [tuple(range(i * n_clips // k, (i + 1) * n_clips // k)) for i in range(k)]
        assert max(map(len, blocks)) - min(map(len, blocks)) <= 1
        assert all(order[order.index(b[0]) : order.index(b[0]) + len(b)] == b for b in blocks)


def test_shuffle_is_never_the_reversal_of_its_blocks_nor_of_its_clips():
    for n_clips, magnitude, seed in whole_domain():
        if n_clips >= 3:
            order = plan("shuffle", n_clips, magnitude, seed).order
            k = min(n_clips, max(3, magnitude))
            blocks = [tuple(range(i * n_clips // k, (i + 1) * n_clips // k)) for i in range(k)]
            assert order != sum(reversed(blocks), ())
            assert order != tuple(reversed(range(n_clips)))


def test_two_clips_can_only_be_swapped():
    assert {plan(kind, 2, r, s).order for kind in ("shuffle", "reverse") for r in MAGNITUDES for s in SEEDS} == {(1, 0)}


@pytest.mark.parametrize("kind", PERTURBATIONS)
@pytest.mark.parametrize("law", ["tempo", "authors"])
def test_one_clip_has_no_order_to_disturb(kind, law):
    with pytest.raises(TimelineTooShort, match=f"{kind} needs 2 clips or more, this timeline has 1"):
        plan(kind, 1, 2, seed=0, law=law)


@pytest.mark.parametrize(("kind", "magnitude"), [("mirror", 2), ("drop", 1), ("shuffle", 0)])
def test_a_wrong_call_is_told(kind, magnitude):
    with pytest.raises(ValueError):
        plan(kind, 8, magnitude, seed=0)


def test_the_seed_of_a_plan_is_the_golden_one():
    assert plan_seed("0", "v", "t", "shuffle", 4, 0) == 5284717054452912157
    assert plan_seed(0, "v", "t", "shuffle", 4) == 5284717054452912157
    assert plan_seed(1, "v", "t", "shuffle", 4) != 5284717054452912157


GOLDEN = {
    ("drop", 8, 2): (0, 1, 3, 5),
    ("drop", 8, 16): (5,),
    ("shuffle", 8, 2): (5, 6, 7, 0, 1, 2, 3, 4),
    ("shuffle", 8, 4): (6, 7, 2, 3, 0, 1, 4, 5),
    ("shuffle", 8, 16): (6, 7, 2, 4, 0, 3, 1, 5),
    ("reverse", 8, 2): (4, 5, 6, 7, 0, 1, 2, 3),
    ("reverse", 7, 2): (3, 4, 5, 6, 0, 1, 2),
    ("reverse", 9, 4): (6, 7, 8, 4, 5, 2, 3, 0, 1),
    ("reverse", 5, 8): (4, 3, 2, 1, 0),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_a_seed_draws_the_same_order_on_every_machine(case):
    assert plan(*case, seed=7).order == GOLDEN[case]


def test_a_plan_is_replayed_from_its_order_alone(monkeypatch):
    stored = plan("shuffle", 6, 4, seed=3).order
    captions = [f"caption {i}" for i in range(6)]
    before = perturbation.replay(stored, captions)
    monkeypatch.setattr(random, "Random", None)
    assert perturbation.replay(stored, captions) == before == tuple(captions[i] for i in stored)


# Sets of plans of one timeline


def test_no_two_plans_of_a_timeline_have_the_same_order():
    for n_clips in range(2, 65):
        for user_seed in SEEDS:
            made = plans(n_clips, seed_of=lambda kind, r, i, s=user_seed: plan_seed(s, "v", "t", kind, r, i)).plans
            assert len({p.order for p in made}) == len(made)
            if n_clips >= 16:
                assert len(made) == 12, "from 16 clips on, all four levels of all three kinds differ"


def test_levels_that_do_the_same_are_merged_into_the_largest_and_named():
    made = plans(5, ("reverse",))
    assert [(p.magnitude, p.aliases, p.order) for p in made.plans] == [
        (2, (), (2, 3, 4, 0, 1)),
        (4, (), (3, 4, 2, 1, 0)),
        (16, (8,), (4, 3, 2, 1, 0)),
    ]
    assert made.collapsed == ("reverse: r = 8 equals r = 16 for 5 clips",)
    assert {p.magnitude: p.aliases for p in plans(7, ("drop",)).plans} == {2: (), 16: (4, 8)}
    assert {p.magnitude: p.aliases for p in plans(3, ("shuffle",)).plans} == {16: (2, 4, 8)}


def test_an_order_that_reverse_already_has_is_drawn_again_for_shuffle():
    seen_again = 0
    for seed in range(200):
        made = plans(4, ("shuffle", "reverse"), (2,), lambda kind, r, i, s=seed: s)
        assert [p.kind for p in made.plans] == ["reverse", "shuffle"]
        assert made.plans[1].order != (2, 3, 0, 1)
        again = made.plans[1]
        assert again.order == plan("shuffle", 4, 2, again.seed, attempt=again.attempt).order
        seen_again += again.attempt > 0
    assert seen_again > 10, "one shuffle of four gives reverse's order here, so redraws must occur"


def test_with_two_clips_shuffle_says_that_there_is_no_other_order():
    made = plans(2, ("shuffle", "reverse"), (2,))
    assert [p.kind for p in made.plans] == ["reverse"]
    assert made.missing == ("shuffle: no other order at r = 2 for 2 clips",)


def test_replicas_are_further_draws():
    made = plans(12, ("shuffle",), (4,), lambda kind, r, i: plan_seed(0, "v", "t", kind, r, i), replicas=5)
    assert len({p.order for p in made.plans}) == 5


# The authors' law


@pytest.mark.parametrize(("n_clips", "chance"), [(8, 1 / 2), (9, 1 / 6), (4, 1 / 2), (16, 1 / 2)])
def test_the_authors_shuffle_returns_the_true_order_as_often_as_its_blocks_allow(n_clips, chance):
    draws = 2000
    seen = sum(plan("shuffle", n_clips, 2, s, "authors").order == tuple(range(n_clips)) for s in range(draws))
    assert abs(seen / draws - chance) < 3 * math.sqrt(chance * (1 - chance) / draws)


def test_the_authors_levels_collapse_on_short_timelines():
    for kind in PERTURBATIONS:
        for n_clips in range(4, 8):
            assert len({effective(kind, n_clips, r, "authors") for r in (4, 8, 16)}) == 1
        for n_clips in range(8, 16):
            assert effective(kind, n_clips, 8, "authors") == effective(kind, n_clips, 16, "authors")
        assert len({effective(kind, 32, r, "authors") for r in MAGNITUDES}) == 4


def test_the_authors_last_block_is_short_and_repeats_are_kept():
    assert plan("reverse", 7, 2, 0, "authors").order == (6, 3, 4, 5, 0, 1, 2)
    made = plans(4, law="authors")
    assert len(made.plans) == 12 and not made.collapsed
    assert len({p.order for p in made.plans}) < 12


# Identity


def test_the_plan_hash_covers_canonical_json_and_changes_with_every_part():
    p = PerturbationPlan("shuffle", 4, 5284717054452912157, (4, 5, 0, 1, 6, 7, 2, 3))
    text = (
        '{"algo":"tempo-1","aliases":[],"attempt":0,"blocks":[[0,1],[2,3],[4,5],[6,7]],"kind":"shuffle","magnitude":4,'
        '"order":[4,5,0,1,6,7,2,3],"schema":1,"seed":5284717054452912157,"timeline":"t","video":"v"}'
    )
    assert plan_sha256(p, "v", "t") == hashlib.sha256(text.encode()).hexdigest()
    assert json.loads(text) == perturbation.plan_json(p, "v", "t")
    others = [
        plan_sha256(p, "w", "t"),
        plan_sha256(p, "v", "u"),
        plan_sha256(PerturbationPlan("shuffle", 4, 1, p.order), "v", "t"),
        plan_sha256(PerturbationPlan("shuffle", 4, p.seed, p.order, "authors"), "v", "t"),
        plan_sha256(PerturbationPlan("shuffle", 4, p.seed, p.order, aliases=(2,)), "v", "t"),
    ]
    assert len({plan_sha256(p, "v", "t"), *others}) == 6


# Measured difficulty, by hand on four clips


def of(kind, order, likeness=None, frames=(10, 20, 30, 40)):
    return difficulty(PerturbationPlan(kind, 2, 0, order), frames, likeness)


def test_drop_is_measured_by_the_share_of_frames_kept():
    found = of("drop", (1, 3))
    assert found.measures == {"kept": 0.6}
    assert found.value == pytest.approx(0.6)


def test_dropping_a_clip_whose_twin_stays_loses_nothing():
    likeness = np.eye(4)
    likeness[0, 1] = likeness[1, 0] = 1.0
    assert of("drop", (1, 2, 3), likeness).measures["content_loss"] == 0.0
    assert of("drop", (0, 1, 2), likeness).measures["content_loss"] == 1.0
    likeness[2, 3] = likeness[3, 2] = 0.25
    assert of("drop", (1, 2), likeness).measures["content_loss"] == pytest.approx((0.0 + 0.75) / 2)


def test_order_is_measured_by_inverted_pairs_and_broken_neighbours():
    found = of("shuffle", (2, 3, 0, 1))
    assert found.measures == {"kendall": pytest.approx(4 / 6), "broken": pytest.approx(1 / 3)}
    assert found.value == pytest.approx(1 - (4 / 6 + 1 / 3) / 2)
    assert of("reverse", (3, 2, 1, 0)).measures == {"kendall": 1.0, "broken": 1.0}
    assert of("reverse", (3, 2, 1, 0)).value == 0.0


def test_swapping_twins_cannot_be_seen():
    likeness = np.eye(4)
    likeness[0, 1] = likeness[1, 0] = 1.0
    found = of("shuffle", (1, 0, 2, 3), likeness)
    assert found.measures["visible"] == 0.0
    assert found.measures["kendall"] == pytest.approx(1 / 6)
    assert found.value == pytest.approx(1 - found.measures["broken"] / 2)
    assert of("shuffle", (0, 1, 3, 2), likeness).measures["visible"] == pytest.approx(1 / 5)


def test_a_video_whose_clips_all_look_alike_is_as_hard_as_can_be_to_see():
    assert of("reverse", (3, 2, 1, 0), np.ones((4, 4))).measures["visible"] == 0.0


def test_likeness_outside_its_range_is_clipped():
    assert of("reverse", (3, 2, 1, 0), np.full((4, 4), -0.2)).measures["visible"] == 1.0


def test_difficulty_stays_in_its_range_over_the_whole_domain():
    rng = np.random.default_rng(0)
    for kind in PERTURBATIONS:
        for n_clips in range(2, 65, 3):
            likeness = rng.random((n_clips, n_clips))
            for p in plans(n_clips, (kind,)).plans:
                found = difficulty(p, rng.integers(1, 90, n_clips).tolist(), likeness)
                assert 0.0 <= found.value <= 1.0
                assert all(0.0 <= v <= 1.0 for v in found.measures.values())


def test_finer_blocks_break_more_on_average():
    means = []
    for magnitude in MAGNITUDES:
        drawn = [of("shuffle", plan("shuffle", 16, magnitude, s).order, frames=[1] * 16) for s in range(200)]
        means.append(np.mean([d.value for d in drawn]))
    assert means == sorted(means, reverse=True)


def test_a_plan_of_another_timeline_is_refused():
    with pytest.raises(ValueError, match="names clip 5, the timeline has 4"):
        of("shuffle", (5, 0, 1, 2))
