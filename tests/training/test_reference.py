"""The reference's log-probabilities on disk: equal to TRL's own to the last bit, and never another model's."""

from __future__ import annotations

import resource
import shutil
import time
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
from trl import DPOConfig, DPOTrainer

from tempo_core import video_llms
from tempo_core.training import reference
from tempo_core.training.reference import ReferenceStore, answer_key, reference_key, sums
from tests.checkpoints import sharpen

KEY = "c" * 64


def key(number: int) -> str:
    return f"{number:064x}"


def filled(folder: Path, name: str = KEY, n_answers: int = 3) -> ReferenceStore:
    store = ReferenceStore(folder, name)
    for number in range(n_answers):
        store.add(key(number), -torch.arange(1.0, 3 + number))
    store.flush()
    return store


# --- what goes in comes out ----------------------------------------------------------------------------------


def test_answers_of_any_length_come_back_bit_by_bit(tmp_path):
    values = {key(n): -torch.rand(n + 1, generator=torch.Generator().manual_seed(n)) for n in range(40)}
    store = ReferenceStore(tmp_path, KEY)
    for name, value in values.items():
        store.add(name, value)
    store.flush()
    opened = ReferenceStore(tmp_path, KEY)
    assert len(opened) == 40
    assert all(torch.equal(opened.get(name), value) for name, value in values.items())
    assert opened.get(key(99)) is None
    assert (opened.hits, opened.misses) == (40, 1)


def test_what_was_added_is_found_before_it_is_written_and_keeps_no_graph(tmp_path):
    store = ReferenceStore(tmp_path, KEY)
    row = torch.zeros(2, 5, requires_grad=True)
    store.add(key(1), row[0, :3])
    store.add(key(2), row[1, :3].bfloat16())
    found = store.get(key(1))
    assert store.get(key(2)).dtype == torch.float32
    assert found.shape == (3,)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert found.untyped_storage().nbytes() == 3 * 4, "a slice would keep the whole batch in memory"


def test_each_flush_writes_only_what_is_new_and_ranks_share_nothing_but_the_folder(tmp_path):
    first, second = ReferenceStore(tmp_path, KEY), ReferenceStore(tmp_path, KEY)
    first.add(key(1), torch.tensor([-1.0]))
    second.add(key(1), torch.tensor([-1.0]))
    second.add(key(2), torch.tensor([-2.0, -3.0]))
    for store in (first, second, first, second):
        store.flush()
    assert len(list((tmp_path / KEY).iterdir())) == 2
    again = ReferenceStore(tmp_path, KEY)
    assert len(again) == 2
    again.add(key(1), torch.tensor([-9.0]))
    again.flush()
    assert len(list((tmp_path / KEY).iterdir())) == 2, "what is known is not written again"
    assert again.get(key(1)).tolist() == [-1.0]


def test_numbers_that_are_not_finite_are_never_kept(tmp_path):
    store = ReferenceStore(tmp_path, KEY)
    store.add(key(1), torch.tensor([-1.0, float("nan")]))
    store.add(key(2), torch.tensor([float("-inf")]))
    assert len(store) == 0


@pytest.mark.parametrize("shape", [(2, 3), (), (0,)])
def test_a_batch_or_nothing_for_one_answer_is_a_wrong_call(tmp_path, shape):
    with pytest.raises(ValueError, match="one log-probability a token"):
        ReferenceStore(tmp_path, KEY).add(key(1), torch.zeros(shape))


# --- damage and room -----------------------------------------------------------------------------------------


def test_a_damaged_part_is_removed_and_the_others_are_read(tmp_path):
    filled(tmp_path)
    (part,) = (tmp_path / KEY).iterdir()
    other = filled(tmp_path, n_answers=5)
    assert len(list((tmp_path / KEY).iterdir())) == 2
    content = bytearray(part.read_bytes())
    content[-3] ^= 1
    part.write_bytes(content)
    opened = ReferenceStore(tmp_path, KEY)
    assert not part.exists()
    assert len(opened) == 2
    assert torch.equal(opened.get(key(4)), other.get(key(4)))


def test_another_references_part_is_not_read_under_this_key(tmp_path):
    filled(tmp_path, "d" * 64)
    assert len(ReferenceStore(tmp_path, KEY)) == 0


def test_a_full_disk_is_noted_once_and_training_keeps_what_it_has(tmp_path):
    notes: list[str] = []
    store = ReferenceStore(tmp_path, KEY, note=notes.append)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        for number in (1, 2):
            store.add(key(number), torch.zeros(300_000))
            store.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(notes) == 1
    assert store.get(key(1)) is not None
    assert list((tmp_path / KEY).iterdir()) == []


def test_cleared_it_holds_nothing_on_disk_either(tmp_path):
    store = filled(tmp_path)
    store.clear()
    assert store.get(key(0)) is None
    assert len(ReferenceStore(tmp_path, KEY)) == 0


def test_references_not_opened_for_long_make_room_and_the_opened_one_stays(tmp_path):
    for name in ("1" * 64, "2" * 64, "3" * 64):
        # Oldest of all, and named like ours inside: still nobody's to remove.
        (tmp_path / "notes").mkdir(exist_ok=True)
        (tmp_path / "notes" / "part-1.safetensors").touch()
        filled(tmp_path, name)
        time.sleep(0.01)
    ReferenceStore(tmp_path, "1" * 64)
    size = sum(part.stat().st_size for part in (tmp_path / ("1" * 64)).iterdir())
    ReferenceStore(tmp_path, "3" * 64, budget_bytes=2 * size)
    assert {folder.name[0] for folder in tmp_path.iterdir()} == {"1", "3", "n"}
    ReferenceStore(tmp_path, "3" * 64, budget_bytes=0)
    assert len(ReferenceStore(tmp_path, "3" * 64)) == 3
    assert (tmp_path / "notes" / "part-1.safetensors").exists()


# --- keys ----------------------------------------------------------------------------------------------------


def test_an_answer_key_knows_where_the_prompt_ends():
    keys = {
        answer_key(key(1), [1, 2], [3]),
        answer_key(key(1), [1], [2, 3]),
        answer_key(key(1), [1, 2, 3], []),
        answer_key(key(2), [1, 2], [3]),
        answer_key(key(1), [1, 2], [4]),
    }
    assert len(keys) == 5
    assert answer_key(key(1), torch.tensor([1, 2], dtype=torch.int32), torch.tensor([3])) in keys


def test_a_reference_key_changes_with_everything_its_numbers_depend_on(base, tmp_path, monkeypatch):
    def load(folder=base, **options):
        return video_llms.load(folder, **{"device": "cpu", "dtype": "float32", "positions": "hf", **options})

    llm = load()
    first = reference_key(llm, (), "split")
    shutil.copytree(base, tmp_path / "moved")
    assert reference_key(load(tmp_path / "moved"), (), "split") == first
    keys = [first]
    keys += [reference_key(llm, chain, "split") for chain in (["a"], ["b"], ["a", "b"], ["b", "a"])]
    keys.append(reference_key(llm, (), "dense"))
    keys.append(reference_key(load(positions="max_plus_one"), (), "split"))
    keys.append(reference_key(load(dtype="bfloat16"), (), "split"))
    config = tmp_path / "moved" / "config.json"
    config.write_text(config.read_text() + "\n")
    keys.append(reference_key(load(tmp_path / "moved"), (), "split"))
    llm.processor.video_processor.size = {"shortest_edge": 1, "longest_edge": 2}
    keys.append(reference_key(llm, (), "split"))
    monkeypatch.setattr(reference.trl, "__version__", "1.99.0")
    keys.append(reference_key(llm, (), "split"))
    assert len(set(keys)) == len(keys) == 11


# --- TRL's sums ----------------------------------------------------------------------------------------------

N_TOKENS = ((5, 2), (1, 7), (11, 1), (4, 4))
"""Tokens of chosen and rejected: chosen longer, rejected longer, much longer, equal."""


def batch() -> dict[str, torch.Tensor]:
    """Answer rows as the tree gives them to TRL, (2B, 1 + A): the token before the answer, the answer, padding."""
    rng = torch.Generator().manual_seed(0)
    lengths = [n for side in zip(*N_TOKENS, strict=True) for n in side]
    mask = pad_sequence([torch.tensor([0] + [1] * n) for n in lengths], batch_first=True)
    attention = pad_sequence([torch.ones(1 + n, dtype=torch.long) for n in lengths], batch_first=True)
    ids = torch.randint(1, 300, mask.shape, generator=rng)
    return {"input_ids": ids * attention, "attention_mask": attention, "completion_mask": mask}


def trainer(base: Path, folder: Path, ld_alpha: float | None) -> DPOTrainer:
    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    model = sharpen(Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), **sizes, **heads)))
    options = {"report_to": "none", "use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    args = DPOConfig(str(folder), ld_alpha=ld_alpha, disable_dropout=True, **options)
    one_row = Dataset.from_dict({"prompt": ["first"], "chosen": [" second"], "rejected": [" third"]})
    return DPOTrainer(model, deepcopy(model), args, train_dataset=one_row, processing_class=tokenizer)


def answers(made: DPOTrainer) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Per-token log-probabilities of the reference, cut to each answer: what the store keeps."""
    seen: list[torch.Tensor] = []
    hook = made.ref_model.register_forward_hook(lambda module, given, output: seen.append(output.log_probs))
    made.compute_ref_log_probs(made.ref_model, batch())
    hook.remove()
    mask = batch()["completion_mask"][:, 1:].bool()
    rows = [row[here] for row, here in zip(seen[0], mask, strict=True)]
    return rows[: len(N_TOKENS)], rows[len(N_TOKENS) :]


@pytest.mark.parametrize("ld_alpha", [None, 0.0, 0.3, 1.0])
def test_the_sums_of_stored_tokens_are_trls_own_to_the_last_bit(base, tmp_path, ld_alpha):
    made = trainer(base, tmp_path / "trl", ld_alpha)
    store = ReferenceStore(tmp_path, KEY)
    of_chosen, of_rejected = answers(made)
    for i, row in enumerate([*of_chosen, *of_rejected]):
        store.add(key(i), row)
    store.flush()
    opened = ReferenceStore(tmp_path, KEY)
    rows = [opened.get(key(i)) for i in range(8)]
    of_trl = made.compute_ref_log_probs(made.ref_model, batch())
    for ours, theirs in zip(sums(rows[:4], rows[4:], ld_alpha), of_trl, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("ld_alpha", [None, 0.3])
def test_the_loss_with_stored_sums_is_the_loss_with_a_reference_forward(base, tmp_path, ld_alpha):
    made = trainer(base, tmp_path, ld_alpha)
    # Another reference than the policy, or every loss would be log 2.
    with torch.no_grad():
        for weight in made.ref_model.parameters():
            weight.mul_(0.9)
    rows = answers(made)
    cold = made._compute_loss(made.model, batch(), False).item()
    made.precompute_ref_logps = True

    def warm(of_chosen: torch.Tensor, of_rejected: torch.Tensor) -> float:
        given = {**batch(), "ref_chosen_logps": of_chosen, "ref_rejected_logps": of_rejected}
        return made._compute_loss(made.model, given, False).item()

    assert warm(*sums(*rows, ld_alpha)) == cold
    assert abs(warm(*reversed(sums(*rows, ld_alpha))) - cold) > 1e-2
    assert abs(warm(*sums(*rows, 0.3 if ld_alpha is None else None)) - cold) > 1e-2


def test_ld_alpha_counts_the_longer_answer_in_full_up_to_the_shorter_ones_length():
    chosen, rejected = torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([-8.0])
    assert [side.tolist() for side in sums([chosen], [rejected], 0.5)] == [[-4.0], [-8.0]]
    assert [side.tolist() for side in sums([chosen], [rejected])] == [[-7.0], [-8.0]]
