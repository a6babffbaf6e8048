"""Moments as a visitor reads them: in the visitor's own time zone."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st


def told(at_ms: int) -> str:
    """ "22 Nov 2026, 20:54"."""
    at = datetime.fromtimestamp(at_ms / 1000, _zone())
    return f"{at.day} {at:%b %Y, %H:%M}"


def _zone() -> tzinfo:
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
