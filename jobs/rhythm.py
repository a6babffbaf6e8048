"""How long a lease lasts, how often it is renewed, and how long we wait before using force.

A crash is seen within one lease (15 s). Tests shorten both figures through the environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Times of the job machinery, in seconds."""

    lease_s: float = 15.0
    patience_s: float = 60.0
    """For a late heartbeat, or a task that was asked to stop; force comes after it."""
    start_s: float = 60.0
    """The first lease, until the child's first heartbeat. A child that its worker sees die is not waited for."""
    poll_s: float = 0.5

    @property
    def beat_s(self) -> float:
        return self.lease_s / 5

    @classmethod
    def from_environment(cls) -> Rhythm:
        return cls(
            lease_s=float(os.environ.get("TEMPO_LEASE_S", cls().lease_s)),
            patience_s=float(os.environ.get("TEMPO_PATIENCE_S", cls().patience_s)),
            poll_s=float(os.environ.get("TEMPO_POLL_S", cls().poll_s)),
        )
