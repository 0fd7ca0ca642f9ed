"""The beginning of a run: what it says first, and the folder that a failed one does not leave."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from crwedge.core.errors import SettingError
from crwedge.model.checkpoint import write_bytes
from crwedge.train.config import TrainConfig
from crwedge.train.config_file import dump_config
from crwedge.train.open_clips import Data
from crwedge.train.state import saved_steps


def first_line(config: TrainConfig, data: Data, device: torch.device, recipe: str) -> str:
    """What is learnt from, where, how and for how long."""
    moving = [item for item in data.videos.items if not item.still]
    stills = len(data.videos.items) - len(moving) + len(data.images.items)
    parts = [f"{len(moving)} videos, {sum(item.seconds for item in moving) / 60:.1f} minutes of footage"]
    if config.data.synthetic:
        parts = ["rendered scenes" if config.data.synthetic == "scenes" else "noise"]
    if stills:
        parts[0] += f", {stills} pictures"
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    parts.append(f"{device} ({config.run.precision}{threads})")
    parts.append(f"recipe {recipe}" if recipe else "settings of your own")
    parts.append(f"{config.run.minutes:g} minutes" if config.run.minutes else f"{config.run.steps:,} steps")
    return "; ".join(parts)


@contextlib.contextmanager
def run_folder(folder: Path, config: TrainConfig, *, is_main: bool) -> Iterator[None]:
    """Make the run's folder with its configuration; one that is new and holds no checkpoint at an error is removed.

    Raises:
        SettingError: the folder cannot be written.
    """
    if not is_main:
        yield
        return
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / "config.toml", dump_config(config).encode())
    except OSError as error:
        raise SettingError(f"the run cannot be written to {folder} ({error.strerror}); choose another --out") from error
    try:
        yield
    except BaseException:
        if missing and not saved_steps(folder):
            shutil.rmtree(folder, ignore_errors=True)
            for path in missing[1:]:
                with contextlib.suppress(OSError):
                    path.rmdir()
        raise
