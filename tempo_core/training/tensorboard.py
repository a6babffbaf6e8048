"""A run's metrics as TensorBoard event files, beside the database, for those who already have TensorBoard open.

The one thing to know: the database is the truth. These files are a copy that nothing here reads back, so a full disk
ends the copy with one note and never the run. Writing opens no connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from tempo_core.types import Metric


class EventFiles:
    """Event files in one folder, opened by the first value and flushed with every step."""

    def __init__(self, folder: Path, note: Callable[[str], None] = print) -> None:
        self.folder = folder
        self._note = note
        self._purge_step: int | None = None
        self._writer: SummaryWriter | None = None
        self._full = False

    def resumed(self, step: int) -> None:
        """Training goes on after this step: what earlier files say about later steps is void."""
        self.close()
        # A reader that meets this mark forgets everything from that step on in the files before it.
        self._purge_step = step + 1

    def write(self, metrics: Sequence[Metric]) -> None:
        """One call a step, with every metric of it."""
        if self._full or not metrics:
            return
        try:
            writer = self._opened()
            for metric in metrics:
                writer.add_scalar(metric.key, metric.value, metric.step)
            writer.flush()
        except OSError as error:
            self._full = True
            self._note(f"TensorBoard files are no longer written ({error.strerror or error}); the curves are kept.")

    def close(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            try:
                writer.close()
            except OSError:
                self._full = True

    def _opened(self) -> SummaryWriter:
        if self._writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(str(self.folder), purge_step=self._purge_step)
        return self._writer
