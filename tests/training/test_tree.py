"""Packing alone: what becomes a trunk, a branch and a shared node, and who sees whom. No model."""

from __future__ import annotations

import itertools
import random

import pytest
import torch

from tempo_core.errors import VideoLost
from tempo_core.training import tree
from tempo_core.training.tree import Node, Prompt

VIDEO = 9
"""The id of a video token."""


def prompt(text: tuple[int, ...], n_video: int = 4, key: str = "v", before: tuple[int, ...] = (1,)) -> Prompt:
    ids = torch.tensor([*before, *[VIDEO] * n_video, *text])
    return Prompt(key, ids, torch.arange(len(ids))[None], len(before) + n_video)


def seen(nodes: tuple[Node, ...]) -> torch.Tensor:
    """The rule written once more, token by token."""
    n = nodes[-1].end
    home = {place: i for i, node in enumerate(nodes) for place in range(node.start, node.end)}

    def line(i: int) -> list[int]:
        return [i] if nodes[i].parent < 0 else [i, *line(nodes[i].parent)]

    return torch.tensor([[j <= i and home[j] in line(home[i]) for j in range(n)] for i in range(n)])


def test_equal_prompts_share_a_trunk_and_equal_answers_a_node() -> None:
    asked = prompt((5, 6))
    packed = tree.pack([asked] * 4, [(7, 8), (7, 8), (3, 8), (4, 4, 8)])
    assert packed.nodes == (Node(0, 7, -1), Node(7, 9, 0), Node(9, 11, 0), Node(11, 14, 0))
    assert packed.ids[0].tolist() == [1, 9, 9, 9, 9, 5, 6, 7, 8, 3, 8, 4, 4, 8]
    assert packed.gather.tolist() == [[6, 7, 8, 0], [6, 7, 8, 0], [6, 9, 10, 0], [6, 11, 12, 13]]
    assert packed.mask.sum(dim=1).tolist() == [2, 2, 2, 3]
    assert packed.trunks == ("v",)


def test_instructions_are_branches_of_the_video_and_answers_go_on_where_theirs_ends() -> None:
    one, other, bare = prompt((5, 6, 6)), prompt((5, 2)), prompt((5,))
    packed = tree.pack([one, other, bare], [(7,), (7,), (8,)])
    # They share the video and the word after it; the third ends there, so its answer hangs at the trunk.
    assert packed.nodes[0] == Node(0, 6, -1)
    assert [node.parent for node in packed.nodes] == [-1, 0, 1, 0, 3, 0]
    ends = [packed.positions[0, packed.nodes[i].start].item() for i in (2, 4, 5)]
    assert ends == [8, 7, 6], "an answer's position follows its own prompt, not what lies before it in the row"


def test_other_text_before_the_video_makes_another_tree() -> None:
    packed = tree.pack([prompt((5,)), prompt((5,), before=(2,))], [(7,), (7,)])
    assert packed.trunks == ("v", "v")
    assert [node.parent for node in packed.nodes] == [-1, 0, -1, 2]


def test_equal_ids_at_other_positions_are_not_shared() -> None:
    moved = prompt((5, 6, 2))
    moved.positions[0, 6] += 3
    packed = tree.pack([prompt((5, 6)), moved], [(7,), (7,)])
    assert packed.nodes[0].end == 6, "shared up to the token whose position differs"


def test_a_prompt_without_its_video_is_an_error() -> None:
    with pytest.raises(VideoLost, match="holds no video"):
        tree.pack([Prompt("v", torch.tensor([1, 2]), torch.arange(2)[None], 0)], [(7,)])


@pytest.mark.parametrize("seed", range(8))
def test_masks_say_what_the_rule_says_and_every_answer_is_read_back(seed: int) -> None:
    rng = random.Random(seed)
    texts = [tuple(rng.choices(range(2, 8), k=rng.randint(1, 3))) for _ in range(3)]
    videos = [("a", 3), ("b", 5), ("c", 1)]
    asked = [
        (prompt(text, n, key), tuple(rng.choices(range(2, 8), k=rng.randint(1, 4))))
        for (key, n), text, _ in itertools.product(videos, texts, range(2))
    ]
    rng.shuffle(asked)
    packed = tree.pack([p for p, _ in asked], [answer for _, answer in asked])
    rule = seen(packed.nodes)
    assert torch.equal(tree.dense_mask(packed.nodes)[0, 0], rule)
    for start, trunk, end, mask in tree.splits(packed.nodes):
        assert torch.equal(rule[start:trunk, start:trunk], torch.ones(trunk - start, trunk - start).tril().bool())
        assert mask is not None and torch.equal(mask, rule[trunk:end, start:end])
        assert mask.untyped_storage().nbytes() == (end - trunk) * (end - start), "only the branches' rows are kept"
    for line, (given, answer) in enumerate(asked):
        places = packed.gather[line][packed.mask[line].bool()]
        assert packed.ids[0][places].tolist() == list(answer)
        node = next(node for node in packed.nodes if node.start == places[0])
        path = []
        while node.parent >= 0:
            node = packed.nodes[node.parent]
            path.insert(0, packed.ids[0][node.start : node.end])
        assert torch.equal(torch.cat(path), given.input_ids), "an answer's ancestors are its whole prompt"
