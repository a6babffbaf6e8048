"""Formats in which a frozen version leaves the studio: one file per format, one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tempo_core.exchange import hub, ms_swift
from tempo_core.exchange.base import Exported, ExportPair, Provenance, Skipped, Version

Write = Callable[..., Exported]
"""`write(pairs, version, folder, *, video_root=None) -> Exported`."""

FORMATS: Mapping[str, Write] = {"ms_swift": ms_swift.write, "hub": hub.write}

__all__ = ["FORMATS", "ExportPair", "Exported", "Provenance", "Skipped", "Version"]
