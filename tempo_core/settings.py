"""Where things lie, and the constants that are no setting."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

TRUST_REMOTE_CODE = False
"""A constant: code that comes with a checkpoint is never run."""

EMBEDDED_MODEL = Path(__file__).parent / "video_llms" / "embedded"
"""The tiny Video LLM that ships with the project."""

SECOND_MODEL = Path(__file__).parent / "video_llms" / "embedded_onevision"
"""Another one, built differently: its pairs and those of the first make the smallest study of transfer."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds everything the studio writes (TEMPO_HOME, default `./.tempo`)."""

    root: Path
    database_url: str | None = field(default=None, repr=False)
    """A Postgres server's (TEMPO_DATABASE_URL) in the place of the file; it may hold a password."""

    @classmethod
    def from_environment(cls) -> Home:
        root = Path(os.environ.get("TEMPO_HOME") or ".tempo").resolve()
        return cls(root, os.environ.get("TEMPO_DATABASE_URL") or None)

    def make(self) -> Home:
        for folder in (self.root, self.media, self.models, self.runs, self.cache, self.backups, self.exports):
            folder.mkdir(parents=True, exist_ok=True)
        return self

    @property
    def database(self) -> Path:
        """The file; `db.session.Database.of` opens it, or the server in its place."""
        return self.root / "tempo.db"

    @property
    def media(self) -> Path:
        """Videos we drew and proxies; a user's own videos stay where they are."""
        return self.root / "media"

    def proxy(self, sha256: str) -> Path:
        """The browser's copy of a video whose file it cannot play or step quickly."""
        return self.media / "proxies" / f"{sha256}.mp4"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def exports(self) -> Path:
        return self.root / "exports"
