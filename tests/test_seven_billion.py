"""The walk-through for a 7B model: its commands exist as written, and its figures are those of the estimate."""

import importlib.util
import re
import shlex
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from jobs.__main__ import parser
from jobs.commands import changed
from tempo_core.recipes import PRESETS
from tempo_core.timeline import Richness
from tempo_core.training.chain import in_tower
from tempo_core.video_llms.qwen_vl import QwenVL

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "seven_billion.md").read_text()
COMMANDS = re.findall(r"python -m jobs ([^`\n]+)", PAGE)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("seven_billion", ROOT / "docs" / "seven_billion.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_is_one(line):
    args: Namespace = parser().parse_args(shlex.split(line))
    if settings := getattr(args, "set", []):
        changed(Richness() if args.command == "judge" else PRESETS["paper"], settings)


def test_the_page_leads_from_a_folder_to_a_measured_and_exported_model():
    blocks = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    steps = [line.split()[3] for line in blocks.splitlines() if line.startswith("python -m jobs")]
    first = sorted(set(steps) - {"doctor", "copies", "sft"}, key=steps.index)
    assert first == ["scan", "pair", "accept", "freeze", "train", "evaluate", "export-model"]


def test_the_table_of_the_page_is_what_its_command_prints(script):
    assert "`python docs/seven_billion.py --videos 1000 --clips 12`" in PAGE
    assert script.report(1000, 12, 300) in PAGE


def test_the_sizes_are_those_of_the_7b(script):
    """Built from its configuration without memory; the wider numbers of config.json stand here once more."""
    config = Qwen2_5_VLConfig(
        text_config={**script.CONFIG["text_config"], "tie_word_embeddings": False},
        vision_config={**script.CONFIG["vision_config"], "num_heads": 16, "out_hidden_size": 3584},
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    sizes = {name: weight.numel() for name, weight in model.named_parameters()}
    assert sum(sizes.values()) == script.QWEN_7B.n_parameters
    tower = sum(n for name, n in sizes.items() if in_tower(name, QwenVL.tower_names))
    assert tower == script.QWEN_7B.n_tower


def test_the_run_that_is_counted_is_the_papers_with_every_pair_once(script):
    stages, n_pairs = script.planned(40, 12, 300, PRESETS["paper"])
    assert [one.name for one in stages] == ["l1", "l2", "l3", "l4"]
    trained = [row.row_id for one in stages for rows in one.forwards for row in rows]
    assert len(trained) == len(set(trained)) and 0 <= n_pairs - len(trained) < 4 * 16
    assert {row.n_video for one in stages for rows in one.forwards for row in rows} == {1728}
