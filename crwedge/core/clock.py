"""Wall-clock time as text."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_time(seconds: float | None = None) -> str:
    """`2026-11-25T16:05:00.123+00:00`.

    Args:
        seconds: since 1970; by default now.
    """
    when = datetime.now(timezone.utc) if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
    return when.isoformat(timespec="milliseconds")
