"""Score an encoder on unlabelled footage, beside the shipped one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crwedge.core.bundle import Bundle, record_cycle
from crwedge.core.errors import SourceError
from crwedge.cycle.footage import Clip, read_clips
from crwedge.cycle.score import CycleScore, CycleSettings, Difference, compared, cycle_score, rendered_clips
from crwedge.runtime.backends.open import open_engine
from crwedge.runtime.bundle_lookup import SHIPPED, find_bundle, shipped_bundle

_log = logging.getLogger("crwedge")

_RENDERED = 8
"""Most clips that are rendered where there is no footage."""
_EXPORTED = 4
"""Clips that an exported encoder is scored on."""


@dataclass(frozen=True)
class CheckReport:
    """Cycle consistency of one or two encoders on the same clips."""

    footage: str
    """What the clips were cut from."""
    settings: CycleSettings
    """The protocol."""
    scores: dict[str, CycleScore]
    """Name of the encoder -> its score; the checked one comes first."""
    sha256: dict[str, str]
    """Name of the encoder -> hash of its bundle."""

    @property
    def difference(self) -> Difference | None:
        """The checked encoder minus the shipped one; None where it was not compared."""
        return compared(*self.scores.values()) if len(self.scores) == 2 else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        result: dict[str, Any] = {
            "footage": self.footage,
            "protocol": self.settings.to_dict(),
            "encoders": {name: {**score.to_dict(), "sha256": self.sha256[name]} for name, score in self.scores.items()},
        }
        difference = self.difference
        return result if difference is None else {**result, "difference": difference.to_dict()}


def check(
    model: str | Path | Bundle = SHIPPED,
    videos: Sequence[str | Path] = (),
    *,
    clips: int = 24,
    seed: int = 0,
    engine: str = "auto",
    threads: int | None = None,
    compare: bool = True,
) -> CheckReport:
    """Score an encoder on unlabelled footage by cycle consistency.

    Args:
        model: a bundle, its name or its folder; `shipped` is the one that comes with the package.
        videos: videos, folders of videos or of pictures; by default rendered films.
        clips: clips that are cut from the footage; of rendered films at most 8.
        seed: of the warps and occluders.
        engine: see `open_engine`.
        threads: of the encoder and of the propagation; by default all processors.
        compare: score the shipped encoder on the same clips.

    Raises:
        SourceError: the footage gives fewer than two clips.
    """
    settings = CycleSettings(seed=seed)
    footage, name = _footage(videos, clips, settings)
    shipped = shipped_bundle()
    bundle = model if isinstance(model, Bundle) else find_bundle(shipped if model == SHIPPED else model)
    chosen = {bundle.manifest.name: bundle}
    if compare and bundle.sha256 != (reference := find_bundle(shipped)).sha256:
        chosen[f"{reference.manifest.name} (shipped)"] = reference
    scores = {}
    for label, one in chosen.items():
        encoder = open_engine(one, engine, threads)
        try:
            scores[label] = found = cycle_score(encoder, footage, settings, threads)
        finally:
            encoder.close()
        _log.info("%s: %.1f +- %.1f (%d regions, %s)", label, 100 * found.mean, 100 * found.error, found.regions, name)
    report = CheckReport(name, settings, scores, {label: one.sha256 for label, one in chosen.items()})
    if report.difference is not None:
        _log.info("%s", report.difference.sentence(*scores))
    return report


def score_bundle(bundle: Bundle, threads: int | None = None) -> Bundle:
    """Score an encoder on rendered films and write the score into its manifest.

    Args:
        bundle: takes frames of any size.
        threads: see `check`.

    Raises:
        BundleError: the manifest cannot be written.
    """
    report = check(bundle, clips=_EXPORTED, engine="cpu", threads=threads, compare=False)
    (score,) = report.scores.values()
    shown = {"score": round(100 * score.mean, 2), "error": round(100 * score.error, 2)}
    return record_cycle(bundle, {**shown, "footage": report.footage, "protocol": report.settings.to_dict()})


def _footage(videos: Sequence[str | Path], clips: int, settings: CycleSettings) -> tuple[list[Clip], str]:
    """The clips, and what they were cut from."""
    if not videos:
        rendered = rendered_clips(settings, min(clips, _RENDERED))
        return rendered, f"{len(rendered)} rendered films"
    found = read_clips(videos, count=clips, frames=settings.frames, rate=settings.rate, short_side=settings.short_side)
    if len(found) < 2:
        raise SourceError("the footage gives only one clip, too little for a score; give more or longer videos")
    return found, f"{len(found)} clips of {', '.join(Path(video).name for video in videos)}"
