"""Two processes that train together (torchrun, gloo) give what one gives, and stop and go on as one does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ranked import train
from safetensors.torch import load_file

from tempo_core.errors import DatasetDrift
from tempo_core.training import chain

SCRIPT = Path(__file__).parent / "ranked.py"


def train_together(base: Path, *wanted: str) -> list[dict[str, Any]]:
    """What rank 0 of two heard of each of these runs: FOLDER, or FOLDER:STEP to be stopped after a step."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT)]
    ended = subprocess.run(
        [sys.executable, *launcher, str(base), *wanted], capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return [json.loads(Path(f"{one.partition(':')[0]}.json").read_text()) for one in wanted]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{link.ordinal}/{name}": weight
        for link, _ in chain.read(folder / "chain")
        for name, weight in load_file(link.path / chain.ADAPTER).items()
    }


@pytest.fixture(scope="module")
def together(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """A folder with a whole run, one that was stopped after step 4, and what both said."""
    folder = tmp_path_factory.mktemp("ranks")
    whole, stopped = train_together(base, str(folder / "whole"), f"{folder / 'stopped'}:4")
    return folder, whole, stopped


def test_two_ranks_train_what_one_trains(base: Path, tmp_path: Path, together: Any) -> None:
    """Metrics are means over pairs: the ranks' shares of a level are unequal, so means of ranks would differ."""
    folder, heard, _ = together
    alone = train(base, tmp_path / "run")
    assert heard["values"].keys() == alone["values"].keys()
    moved = [value for key, value in alone["values"].items() if "/margin " in key and value]
    assert moved, "no margin moved: this test would be blind"
    for key, value in alone["values"].items():
        if key.startswith("canary"):
            # Asked of rank 0's first micro-batch, which is smaller.
            continue
        assert heard["values"][key] == pytest.approx(value, abs=2e-4), key
    assert heard["scores"]["before"].keys() == alone["scores"]["before"].keys()
    for pair_id, margin in alone["scores"]["final"].items():
        assert heard["scores"]["final"][pair_id] == pytest.approx(margin, abs=1e-3)
    one, two = weights(tmp_path / "run"), weights(folder / "whole")
    assert one.keys() == two.keys() and len(one) > 0
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-3


def test_two_ranks_that_are_stopped_go_on_bit_for_bit_in_new_processes(base: Path, together: Any) -> None:
    folder, undisturbed, stopped = together
    assert "step 4 of 8" in stopped["stopped"]
    with pytest.raises(DatasetDrift, match="trained by 2 processes together, and now there are 1"):
        train(base, folder / "stopped")
    again = train_together(base, str(folder / "stopped"))[0]
    assert again["resumed"] == [4]
    one, two = weights(folder / "whole"), weights(folder / "stopped")
    assert one.keys() == two.keys() and all(torch.equal(weight, two[name]) for name, weight in one.items())
    after = {key: value for key, value in undisturbed["values"].items() if int(key.split()[1]) > 4}
    assert after and after == {key: again["values"][key] for key in after}
