"""Several processes that train one run together (torchrun): who writes, who waits, and what all must agree on.

The one thing to know: every rank computes, rank 0 alone speaks and writes. Without torchrun there is one rank, and
nothing here does anything.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState

T = TypeVar("T")


def begin() -> None:
    """Join the other ranks, if torchrun started any. Before anything that waits for them."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        PartialState(cpu=not torch.cuda.is_available())
        atexit.register(_leave)


def _leave() -> None:
    """Threads of a group that is still there when Python ends can abort the process after all is done."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def wait() -> None:
    """Until all ranks are here."""
    if size() > 1:
        dist.barrier()


def first(do: Callable[[], T]) -> T:
    """What rank 0 gets from `do`, on all ranks. The others wait and do nothing."""
    if size() == 1:
        return do()
    told: list[Any] = [do() if rank() == 0 else None]
    dist.broadcast_object_list(told, src=0)
    return told[0]  # type: ignore[no-any-return]


def anyone(flag: bool) -> bool:
    """Whether any rank says yes. All must ask."""
    if size() == 1:
        return flag
    # On the device of the backend: NCCL cannot reduce what lies on the CPU.
    asked = torch.tensor(int(flag), device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(asked, op=dist.ReduceOp.MAX)
    return bool(asked.item())


def gathered(values: Sequence[T]) -> list[T]:
    """The values of all ranks, rank by rank. All must ask."""
    if size() == 1:
        return list(values)
    found: list[Any] = [None] * size()
    dist.all_gather_object(found, list(values))
    return [value for of_rank in found for value in of_rank]
