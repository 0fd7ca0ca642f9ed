"""`--ttt`: from options to a trainer, and the summary at the end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crwedge.adapt.trainer import TestTimeTrainer

_log = logging.getLogger("crwedge")


def open_trainer(
    mode: str | None, budget: str | None, recipe: str, settings: Mapping[str, Any], save: Path | None
) -> TestTimeTrainer | None:
    """The trainer that the options ask for, or None without `--ttt`.

    Args:
        mode: causal or lookahead.
        budget: see `crwedge.adapt.settings.parse_budget`.
        recipe: `own` or `appendix`, where the settings start.
        settings: other fields of `TestTimeSettings`.
        save: where the adapted encoder is to go.

    Raises:
        SettingError: an option has a value that it cannot have, or is given without `--ttt`.
        MissingExtraError: PyTorch is not installed.
    """
    from crwedge.core.bundle import MANIFEST
    from crwedge.core.errors import SettingError

    if mode is None:
        keys = {"ttt-budget": budget, "save-adapted": save, "ttt-recipe": recipe != "own", **_keys(settings)}
        if given := [key for key, value in keys.items() if value]:
            raise SettingError(f"--set {given[0]} belongs to test-time training: add --ttt causal or --ttt lookahead")
        return None
    from crwedge.adapt.settings import TestTimeSettings, parse_budget
    from crwedge.adapt.trainer import TestTimeTrainer

    if save is not None and save.exists() and not (save / MANIFEST).is_file():
        raise SettingError(f"save-adapted: {save} exists and is not a bundle; choose another folder")
    start = TestTimeSettings.appendix() if recipe == "appendix" else TestTimeSettings()
    return TestTimeTrainer(start.with_changes(mode=mode, **(parse_budget(budget) if budget else {}), **settings))


def _keys(settings: Mapping[str, Any]) -> dict[str, bool]:
    return {f"ttt-{name.replace('_', '-')}": True for name in settings}


def finish(trainer: TestTimeTrainer, save: Path | None) -> dict[str, Any]:
    """Write the adapted encoder, if requested, and log a summary. Call it after the tracker is closed.

    A run that tracked well does not fail for want of a window: that is said instead.
    """
    stats = trainer.stats
    rate = f"{1e3 * stats.seconds / stats.updates:.0f} ms each" if stats.updates else "none kept"
    _log.info(
        f"test-time training ({trainer.settings.mode}): {stats.windows} windows kept, {stats.undone} undone, "
        f"{stats.dropped} skipped; {stats.updates} updates, {rate}; new weights {stats.swaps} times"
    )
    if not stats.updates:
        _log.info(f"test-time training changed nothing: {_why_nothing(trainer)}")
    saved = None
    if save is not None and trainer.weights():
        saved = str(trainer.save(save).path)
        _log.info(f"adapted encoder: {saved}")
    elif save is not None:
        _log.info(f"note: no window was learnt from, so there is nothing to write to {save}")
    return {**stats.to_dict(), "settings": trainer.settings.to_dict(), "saved": saved}


def _why_nothing(trainer: TestTimeTrainer) -> str:
    """Why no update was kept, and what would help."""
    stats, settings = trainer.stats, trainer.settings
    if stats.stopped:
        return stats.stopped
    if stats.undone:
        return f"all {stats.undone} windows were undone, as the error on held frames grew (lower learning_rate)"
    ended = (
        f"the video ended before a first window was learnt from (one begins every {settings.every} frames and takes "
        f"{settings.updates} updates)"
    )
    shorter = "give a longer video, or fewer updates (--set ttt-updates=N)"
    return f"{ended}: {shorter}" + (
        "; a file waits for its windows without --set ttt-budget" if settings.duty < 1 else ""
    )
