"""Formats in which pairs leave the studio and come into it: one file per format, one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tempo_core.exchange import hound, hub, llama_factory, ms_swift, ms_swift_rejected_video, rrpo, trl
from tempo_core.exchange.base import Exported, ExportPair, ForeignPair, Provenance, Skipped, Unreadable, Version
from tempo_core.exchange.form import Form
from tempo_core.exchange.reading import Reader

Write = Callable[..., Exported]
"""`write(pairs, version, folder, *, video_root=None) -> Exported`."""

FORMS: Mapping[str, Form] = {
    module.FORM.name: module.FORM for module in (ms_swift, ms_swift_rejected_video, trl, llama_factory, hub)
}
FORMATS: Mapping[str, Write] = {name: form.write for name, form in FORMS.items()}

READERS: Mapping[str, Reader] = {
    "ms_swift": ms_swift,
    "ms_swift_rejected_video": ms_swift_rejected_video,
    "llama_factory": llama_factory,
    "trl": trl,
    "rrpo": rrpo,
    "hound": hound,
    "hub": hub,
}
"""What an import may be: by these keys a file is known."""

__all__ = [
    "FORMATS", "FORMS", "READERS", "ExportPair", "Exported", "ForeignPair", "Form", "Provenance", "Reader", "Skipped",
    "Unreadable", "Version",
]  # fmt: skip
