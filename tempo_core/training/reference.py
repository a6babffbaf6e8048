"""Log-probabilities of the reference, kept on disk: what was computed once is read, by every rank and every later run.

The one thing to know: the value is one number per **token** of an answer, so every weighting of long answers
(`ld_alpha`) is a sum over the same entry, and an answer that several pairs share is one entry.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import uuid
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
import transformers
import trl
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tempo_core.training import tensor_file
from tempo_core.training.keys import FORMAT, checked_key, is_key, major_minor, processor_config, sha256_of_json
from tempo_core.video_llms.base import HFVideoLLM

BUDGET_BYTES = 2_000_000_000
"""Our choice: some thirty references of 60,000 answers each."""

_log = logging.getLogger(__name__)


class ReferenceStore:
    """Per-token log-probabilities by `answer_key`, under one `reference_key`.

    All parts are read when it is opened (60,000 answers are about 61 MB). Each rank and each flush writes a part of
    its own, so nobody waits for anybody; the same answer in two parts has the same value.

    Args:
        budget_bytes: When the folder holds more, the references that were not opened for the longest time leave.
        note: Is told, once, why nothing is written any more. What was added stays usable in this process.
    """

    def __init__(
        self,
        folder: Path,
        reference_key: str,
        *,
        budget_bytes: int = BUDGET_BYTES,
        note: Callable[[str], None] = _log.warning,
    ) -> None:
        self.hits = 0
        self.misses = 0
        self._home = folder / checked_key(reference_key)
        self._note = note
        self._stopped = False
        self._new: dict[str, Tensor] = {}
        self._values: dict[str, Tensor] = {}
        tensor_file.sweep(self._home)
        for part in _parts(self._home):
            self._values |= _unpacked(tensor_file.read(part))
        _trim(self._home, budget_bytes)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, answer_key: str) -> bool:
        """Without counting a hit or a miss."""
        return answer_key in self._values

    def get(self, answer_key: str) -> Tensor | None:
        """The answer's log-probabilities (A,) on the CPU, or None."""
        value = self._values.get(answer_key)
        self.hits += value is not None
        self.misses += value is None
        return value

    def add(self, answer_key: str, per_token: Tensor) -> None:
        """Keep an answer's log-probabilities (A,), one a token, without padding.

        Those that are not finite are not kept: this run stops for its loss, and no later one must inherit them.
        """
        value = per_token.detach().to("cpu", torch.float32, copy=True)
        if value.dim() != 1 or not len(value):
            raise ValueError(f"shape {tuple(value.shape)}: one log-probability a token of one answer is needed")
        if checked_key(answer_key) not in self._values and bool(torch.isfinite(value).all()):
            self._values[answer_key] = self._new[answer_key] = value

    def flush(self) -> None:
        """Write what was added since the last flush. A full disk is noted once and stops nothing."""
        new, self._new = self._new, {}
        if not new or self._stopped:
            return
        try:
            tensor_file.write(self._home / f"part-{uuid.uuid4().hex}{tensor_file.SUFFIX}", _packed(new))
        except OSError as error:
            self._stopped = True
            self._note(
                f"Log-probabilities of the reference are not stored in {self._home}: {error}. Training goes on, and a "
                "later run computes them again. Make room before it."
            )

    def clear(self) -> None:
        """Forget everything under this key, on disk too: after a mismatch none of it can be trusted."""
        self._values, self._new = {}, {}
        _remove(self._home)


def reference_key(llm: HFVideoLLM, chain: Sequence[str], attention: str) -> str:
    """Everything that the reference's numbers depend on, beside the rows.

    Args:
        chain: sha256 of each link that is merged into the reference, in order; () is the base.
        attention: "split" or "dense": policy and reference must round alike.
    """
    dtype = str(llm.bare_model.dtype)
    return sha256_of_json(
        {
            "format": FORMAT,
            "base": llm.checkpoint.files_sha256,
            "chain": list(chain),
            # Links are merged in the model's own number type.
            "merge_dtype": dtype,
            "dtype": dtype,
            "attention": attention,
            "positions": llm.positions,
            "processor": processor_config(llm),
            "device": llm.device.type,
            "torch": major_minor(torch.__version__),
            "transformers": major_minor(transformers.__version__),
            "trl": major_minor(trl.__version__),
        }
    )


def answer_key(video_key: str, prompt_ids: Sequence[int] | Tensor, answer_ids: Sequence[int] | Tensor) -> str:
    """One answer to one prompt about one video."""
    digest = hashlib.sha256(video_key.encode())
    for ids in (prompt_ids, answer_ids):
        numbers = torch.as_tensor(ids, dtype=torch.int64)
        # With its length: the border between prompt and answer counts.
        digest.update(len(numbers).to_bytes(8, "little"))
        digest.update(tensor_file.bytes_of(numbers))
    return digest.hexdigest()


def sums(chosen: Sequence[Tensor], rejected: Sequence[Tensor], ld_alpha: float | None = None) -> tuple[Tensor, Tensor]:
    """Log-probabilities of a micro-batch's answers as TRL sums them, (B,) each: its `ref_chosen_logps` and the other.

    With `ld_alpha` (LD-DPO, arXiv 2409.06411) a pair's answers count in full up to the length of the shorter one, and
    the rest of the longer one counts `ld_alpha` as much.

    Args:
        chosen: One tensor (A,) per pair, without padding, on the device where TRL would sum.
    """
    # In one padded block, as TRL has it: the order of a sum, and with it the last bit, depends on the block's shape.
    rows = pad_sequence([*chosen, *rejected], batch_first=True)
    if ld_alpha is None:
        summed = rows.sum(dim=1)
    else:
        shorter = [min(len(a), len(b)) for a, b in zip(chosen, rejected, strict=True)]
        shared = (
            torch.arange(rows.shape[1], device=rows.device) < torch.tensor(shorter * 2, device=rows.device)[:, None]
        )
        summed = (rows * shared).sum(dim=1) + ld_alpha * (rows * ~shared).sum(dim=1)
    of_chosen, of_rejected = summed.chunk(2)
    return of_chosen, of_rejected


def _parts(home: Path) -> list[Path]:
    return sorted(home.glob(f"part-*{tensor_file.SUFFIX}"))


def _remove(home: Path) -> None:
    for part in _parts(home):
        tensor_file.remove(part)
    # Stays if something lies there that is not ours.
    with contextlib.suppress(OSError):
        home.rmdir()


def _trim(home: Path, budget_bytes: int) -> None:
    """Make room by whole references; `home`, being opened now, is the youngest and stays."""
    with contextlib.suppress(OSError):
        os.utime(home)
    sizes: dict[Path, int] = {}
    opened: dict[Path, int] = {}
    for folder in home.parent.glob("*/"):
        with contextlib.suppress(OSError):
            sizes[folder] = sum(part.stat().st_size for part in _parts(folder))
            opened[folder] = folder.stat().st_mtime_ns
    too_much = sum(sizes.values()) - budget_bytes
    for folder in sorted(opened, key=lambda folder: opened[folder]):
        if too_much > 0 and folder != home and is_key(folder.name):
            _remove(folder)
            too_much -= sizes[folder]


def _packed(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Three tensors for any number of answers: a header line for each would outweigh the numbers."""
    return {
        "keys": torch.frombuffer(bytearray(b"".join(map(bytes.fromhex, values))), dtype=torch.uint8).reshape(-1, 32),
        "n_tokens": torch.tensor([len(value) for value in values.values()]),
        "log_probs": torch.cat(list(values.values())),
    }


def _unpacked(part: dict[str, Tensor] | None) -> dict[str, Tensor]:
    if part is None:
        return {}
    ends = part["n_tokens"].cumsum(0).tolist()
    keys = [bytes(key).hex() for key in part["keys"].numpy()]
    return {key: part["log_probs"][a:b] for key, (a, b) in zip(keys, pairwise([0, *ends]), strict=True)}
