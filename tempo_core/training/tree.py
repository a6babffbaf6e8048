"""One padding-free row for many answers: each video once, then its instructions, then their answers, as trees.

The one thing to know: the video is the trunk and everything after it a branch. A token sees its ancestors and what
came before it in its own node, never a sibling, and a branch's positions go on where its parent ends. So every answer
gets the numbers that a row of its own would give, while the video, the longest part by far, is computed once.

    [ system <video> | instruction a | chosen | drop | shuffle | instruction b | chosen | reverse ] [ next video ...
      0 root           1 parent 0      2 (1)    3 (1)  4 (1)     5 parent 0      6 (5)    7 (5)       8 root
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from tempo_core.errors import VideoLost


# No NamedTuple: transformers would take one for a batch and rebuild it.
@dataclass(frozen=True, slots=True)
class Node:
    """Tokens `start`..`end` of the packed row; `parent` is a place in the list of nodes, -1 for a trunk."""

    start: int
    end: int
    parent: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """One encoded prompt: ids (L,), positions (R, L), and where the part that depends on the video ends."""

    video_key: str
    input_ids: Tensor
    positions: Tensor
    video_end: int


@dataclass(frozen=True, slots=True)
class Packed:
    """A packed row and how to read answers from it."""

    ids: Tensor
    """(1, S)"""
    positions: Tensor
    """(3, 1, S) for multimodal rotary positions, else (1, S)."""
    nodes: tuple[Node, ...]
    """Depth first: a parent stands before its children."""
    gather: Tensor
    """(N, 1 + A): of each asked answer the place before it, then its own places; 0 where it is shorter than A."""
    mask: Tensor
    """(N, 1 + A): 1 where `gather` points into the answer."""
    trunks: tuple[str, ...]
    """video_key of every root, in order."""

    @property
    def answers(self) -> Tensor:
        """(N, 1 + A): the ids that `gather` points to, as the head's labels."""
        return self.ids[0][self.gather]


def pack(prompts: Sequence[Prompt], answers: Sequence[tuple[int, ...]]) -> Packed:
    """Lay out `answers[i]`, asked with `prompts[i]`, as one row.

    Equal answers to equal prompts are one node; their gradients add up.

    Raises:
        VideoLost: A prompt in which no video ends.
    """
    row = _Row()
    places: dict[tuple[str, tuple[int, ...], tuple[int, ...]], int] = {}
    for tree in _trees(prompts, answers):
        places |= row.add(tree)
    nodes = [places[_key(prompt, answer)] for prompt, answer in zip(prompts, answers, strict=True)]
    gather, mask = row.gather(nodes)
    positions = torch.cat(row.positions, dim=1)
    return Packed(
        ids=torch.cat(row.ids)[None],
        positions=positions[:, None] if len(positions) > 1 else positions,
        nodes=tuple(row.nodes),
        gather=gather,
        mask=mask,
        trunks=tuple(row.trunks),
    )


def dense_mask(nodes: Sequence[Node], device: torch.device | None = None) -> Tensor:
    """Who sees whom as one matrix, (1, 1, S, S), True = may see: what the fast way is tested against."""
    return _seen(nodes, 0, nodes[-1].end, device)[None, None]


def _seen(nodes: Sequence[Node], first: int, end: int, device: torch.device | None) -> Tensor:
    """Rows `first`..`end` of the matrix of one or more trees that begin at 0: (end - first, end)."""
    allowed = torch.zeros(end - first, end, dtype=torch.bool, device=device)
    spans: list[list[tuple[int, int]]] = []
    for node in nodes:
        spans.append([*([] if node.parent < 0 else spans[node.parent]), (node.start, node.end)])
        if node.start >= first:
            for left, right in spans[-1]:
                allowed[node.start - first : node.end - first, left:right] = True
    return allowed.tril(first)


class Split(NamedTuple):
    """One tree of a row for the fast way: `start`..`trunk`..`end`."""

    start: int
    trunk: int
    end: int
    mask: Tensor | None
    """(end - trunk, end - start): what the branches see of their tree; None for a trunk without branches."""


def splits(nodes: Sequence[Node], device: torch.device | None = None) -> tuple[Split, ...]:
    """The trees of a row: a trunk attends causally, its branches together by a mask of their own size."""
    roots = [i for i, node in enumerate(nodes) if node.parent < 0]
    found = []
    for root, after in zip(roots, [*roots[1:], len(nodes)], strict=True):
        start, trunk, end = nodes[root].start, nodes[root].end, nodes[after - 1].end
        mask = None
        if end > trunk:
            own = [Node(n.start - start, n.end - start, max(n.parent - root, -1)) for n in nodes[root:after]]
            mask = _seen(own, trunk - start, end - start, device)
        found.append(Split(start, trunk, end, mask))
    return tuple(found)


# --- how a row is made --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tree:
    """One trunk with its prompts (all begin with it) and their distinct answers."""

    trunk: int
    """Tokens that all prompts share."""
    branches: list[tuple[Prompt, list[tuple[int, ...]]]] = field(default_factory=list)


def _key(prompt: Prompt, answer: tuple[int, ...]) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    return prompt.video_key, tuple(prompt.input_ids.tolist()), answer


def _trees(prompts: Sequence[Prompt], answers: Sequence[tuple[int, ...]]) -> Iterator[_Tree]:
    videos: dict[str, dict[tuple[int, ...], tuple[Prompt, dict[tuple[int, ...], None]]]] = {}
    for prompt, answer in zip(prompts, answers, strict=True):
        if not 0 < prompt.video_end <= len(prompt.input_ids):
            raise VideoLost(
                f"A prompt of {len(prompt.input_ids)} tokens holds no video. Use the model's own processor."
            )
        of_video = videos.setdefault(prompt.video_key, {})
        of_video.setdefault(tuple(prompt.input_ids.tolist()), (prompt, {}))[1][answer] = None
    for of_video in videos.values():
        branches = [(prompt, list(asked)) for prompt, asked in of_video.values()]
        shared = _shared([prompt for prompt, _ in branches])
        if shared >= max(prompt.video_end for prompt, _ in branches):
            yield _Tree(shared, branches)
        else:
            # Text before the video differs, so the video's own tokens do: it is computed for each.
            for prompt, asked in branches:
                yield _Tree(len(prompt.input_ids), [(prompt, asked)])


def _shared(prompts: Sequence[Prompt]) -> int:
    """How many columns, ids and positions, all prompts have in common from the beginning."""
    first, *others = prompts
    shared = len(first.input_ids)
    for other in others:
        n = min(shared, len(other.input_ids))
        same = (first.input_ids[:n] == other.input_ids[:n]) & (first.positions[:, :n] == other.positions[:, :n]).all(0)
        shared = n if bool(same.all()) else int((~same).nonzero()[0])
    return shared


class _Row:
    """A packed row that grows node by node."""

    def __init__(self) -> None:
        self.ids: list[Tensor] = []
        self.positions: list[Tensor] = []
        self.nodes: list[Node] = []
        self.trunks: list[str] = []

    def add(self, tree: _Tree) -> dict[tuple[str, tuple[int, ...], tuple[int, ...]], int]:
        """Append a tree; where the node of each (video, prompt, answer) came to lie."""
        first = tree.branches[0][0]
        root = self._node(first.input_ids[: tree.trunk], first.positions[:, : tree.trunk], -1)
        self.trunks.append(first.video_key)
        places = {}
        for prompt, answers in tree.branches:
            parent = root
            if len(prompt.input_ids) > tree.trunk:
                parent = self._node(prompt.input_ids[tree.trunk :], prompt.positions[:, tree.trunk :], root)
            # A prompt ends in text, so the rows of its last position are equal; every answer goes on from there.
            after = prompt.positions[:, -1:] + 1
            for answer in answers:
                ids = torch.tensor(answer, dtype=torch.long)
                places[_key(prompt, answer)] = self._node(ids, after + torch.arange(len(answer)), parent)
        return places

    def _node(self, ids: Tensor, positions: Tensor, parent: int) -> int:
        start = self.nodes[-1].end if self.nodes else 0
        self.nodes.append(Node(start, start + len(ids), parent))
        self.ids.append(ids)
        self.positions.append(positions)
        return len(self.nodes) - 1

    def gather(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Where to read the answers at these nodes, (N, 1 + A), and which of it is answer."""
        nodes = [self.nodes[place] for place in places]
        longest = max(node.end - node.start for node in nodes)
        gather = torch.zeros(len(nodes), 1 + longest, dtype=torch.long)
        mask = torch.zeros_like(gather)
        for line, node in enumerate(nodes):
            n = node.end - node.start
            gather[line, 0] = self.nodes[node.parent].end - 1
            gather[line, 1 : n + 1] = torch.arange(node.start, node.end)
            mask[line, 1 : n + 1] = 1
        return gather, mask
