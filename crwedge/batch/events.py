"""What a pool of workers tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from crwedge.batch.results import Record


@dataclass(frozen=True)
class Started:
    """A video is being followed."""

    name: str
    attempt: int = 1
    worker: int | None = None
    """Process, where it is on this machine."""


@dataclass(frozen=True)
class Advanced:
    """Frames of a video were written."""

    name: str
    frames: int
    total: int | None


@dataclass(frozen=True)
class Finished:
    """A video is done, or has failed."""

    record: Record


@dataclass(frozen=True)
class Released:
    """A video was taken back, because the batch was stopped."""

    name: str


@dataclass(frozen=True)
class Idle:
    """Nothing happened for a moment."""


Event = Started | Advanced | Finished | Released | Idle
