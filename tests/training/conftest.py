from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from tests.checkpoints import build_qwen


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Bit-equal results are compared; sums must be made in one order."""
    torch.set_num_threads(1)
    # Every trainer collects garbage; the libraries' own million objects would be looked through each time.
    gc.freeze()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Qwen2.5-VL. Read it, never write to it."""
    return build_qwen(tmp_path_factory.mktemp("base") / "tiny-qwen")
