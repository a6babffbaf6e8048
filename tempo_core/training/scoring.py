"""Log-probabilities of a whole run's pairs, forward only: what a stage is compared with, and how a model ends.

The one thing to know: the ranks take turns with the rows, equally many each, because all of them wait for each other
after every turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trl.trainer.utils import add_fused_lm_head

from tempo_core.training import dpo, ranks
from tempo_core.training.chain import Link
from tempo_core.training.dpo import References
from tempo_core.training.material import Material
from tempo_core.training.parts import Part
from tempo_core.training.reference import ReferenceStore
from tempo_core.training.report import PairScore
from tempo_core.training.rows import Row


def of_all_pairs(run: Material, links: Sequence[Link]) -> Iterator[tuple[list[PairScore], int, int]]:
    """How the model with these links ranks the pairs of all DPO stages: (scores, how many so far, of how many)."""
    llm = run.load(links)
    add_fused_lm_head(llm.model)
    videos = run.videos(run.parts[len(links) - 1], llm, frozen_tower=True)
    rows = {row.row_id: row for part in run.parts if part.phase == "dpo" for row in run.rows(part, llm)}
    done = 0
    for share in _shares(list(rows.values()), run.micro_batch):
        scores = [s for some in dpo.scores(dpo.log_probs(llm.model, share, videos, run.micro_batch)) for s in some]
        found = ranks.gathered(scores)
        done += len(found)
        yield found, done, len(rows)


def references(run: Material, part: Part, compared: Sequence[Link]) -> ReferenceStore:
    """What the reference says to this stage's answers: the stage's own model could not tell it.

    The stage is given this very store, which holds all of it, also where nothing can be written.
    """
    llm = run.load(compared)
    add_fused_lm_head(llm.model)
    videos = run.videos(part, llm, frozen_tower=True)
    known = References(run.reference_store(llm, compared), videos)
    # All have read what was there before anyone writes, so all share the same rows.
    ranks.wait()
    rows = {row.row_id: row for row in run.rows(part, llm)}
    lacking = [row for row in rows.values() if known.of([row]) is None]
    found = []
    for share in _shares(lacking, run.micro_batch):
        for some, values in dpo.log_probs(llm.model, share, videos, run.micro_batch):
            known.keep(some, values)
            found.append(([row.row_id for row in some], values.cpu()))
    known.store.flush()
    if ranks.size() > 1:
        for row_ids, values in ranks.gathered(found):
            known.keep([rows[row_id] for row_id in row_ids], values)
    return known.store


def _shares(rows: Sequence[Row], micro_batch: int) -> Iterator[Sequence[Row]]:
    """This rank's rows in turns, equally many turns on every rank; rows of one video stay together."""
    together = sorted(rows, key=lambda row: (row.video.sha256, row.prompt))
    n = 8 * micro_batch
    turns = [together[start : start + n] for start in range(0, len(together), n)]
    for start in range(0, len(turns), ranks.size()):
        place = start + ranks.rank()
        yield turns[place] if place < len(turns) else ()
