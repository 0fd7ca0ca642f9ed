"""What a run reports: log lines, events, metrics.jsonl, TensorBoard, pictures."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from crwedge.core.files import atomic_write
from crwedge.runtime.events import silent

_SILENCE = 10.0
"""Seconds after which a run says that it is alive."""

_log = logging.getLogger(__name__)


class Journal:
    """Reports the progress of a run. On processes that are not the main one it does nothing.

    Args:
        folder: of the run.
        active: whether this is the main process.
        on_event: called as `on_event("step", step=.., share=.., seconds_left=.., loss=..)` after each step, and as
            `on_event("metrics", step=.., **values)` at each report.
    """

    def __init__(self, folder: Path, *, active: bool, on_event: Callable[..., None] = silent) -> None:
        self._folder, self._active, self._on_event = folder, active, on_event
        self._board: Any = None
        self._file: Any = None
        self._named: set[str] = set()
        self._logged = time.perf_counter()

    def __enter__(self) -> Journal:
        """Open the files."""
        if self._active:
            self._file = open(self._folder / "metrics.jsonl", "a", encoding="utf-8")
            self._board = _board(self._folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        for file in (self._board, self._file):
            if file is not None:
                with contextlib.suppress(OSError):  # a full disk was reported already
                    file.close()

    def log(self, text: str) -> None:
        """One line at level INFO."""
        if self._active:
            self._logged = time.perf_counter()
            _log.info("%s", text)

    def step(self, step: int, share: float, seconds_left: float, loss: float) -> None:
        """After each step: an event, and a line at the first one and after ten seconds without any."""
        if not self._active:
            return
        self._on_event("step", step=step, share=share, seconds_left=seconds_left, loss=loss)
        if step == 1 or time.perf_counter() - self._logged > _SILENCE:
            self.log(f"step {step}  loss {loss:.3f}  {clock(seconds_left)} left")

    def broken(self, files: dict[str, str]) -> None:
        """Name each unreadable file once."""
        for path, reason in files.items():
            if path not in self._named:
                self._named.add(path)
                self.log(f"skipped {path}: {reason}")

    @property
    def skipped(self) -> int:
        """How many files were named."""
        return len(self._named)

    def metrics(self, step: int, seconds_left: float, values: dict[str, float]) -> None:
        """One report: a line, an event, metrics.jsonl, TensorBoard."""
        self.log(summary(step, values, seconds_left))
        self.record(step, values)

    def record(self, step: int, values: dict[str, float]) -> None:
        """Write figures, without a line in the log."""
        if not self._active:
            return
        self._on_event("metrics", step=step, **values)
        try:
            self._file.write(
                json.dumps({"step": step, **{name: round(value, 6) for name, value in values.items()}}) + "\n"
            )
            self._file.flush()
            if self._board is not None:
                for name, value in values.items():
                    self._board.add_scalar(name, value, step)
        except OSError as error:
            # The run matters more than its figures; a checkpoint that cannot be written does end it.
            self.log(f"the figures of step {step} cannot be written to {self._folder}: {error.strerror or error}")

    def picture(self, step: int, image: Tensor, path: Path, caption: str) -> None:
        """Keep a picture (3, H, W) uint8 as a PNG with a caption, and in TensorBoard without."""
        if not self._active:
            return
        from PIL import Image

        from crwedge.train.caption import captioned

        try:
            with atomic_write(path) as file:
                captioned(Image.fromarray(image.permute(1, 2, 0).numpy()), caption).save(file, format="PNG")
            if self._board is not None:
                self._board.add_image("transitions", image, step)
        except OSError as error:
            self.log(f"the picture {path} cannot be written: {error.strerror or error}")


def summary(step: int, values: dict[str, float], seconds_left: float) -> str:
    """The line of a report."""
    parts = [f"step {step}"]
    if "loss" in values:
        parts.append(f"loss {values['loss']:.3f}")
    returns = [f"{100 * value:.0f}" for name, value in values.items() if name.startswith("return/")]
    if returns:
        parts.append(f"return {' '.join(returns)} %")
    if "probe/J" in values:
        parts.append(f"probe J {values['probe/J']:.3f}")
    if "clips_per_second" in values:
        parts.append(f"{values['clips_per_second']:.1f} clips/s")
        parts.append(f"{clock(seconds_left)} left")
    return "  ".join(parts)


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The reports in a run's metrics.jsonl; a line that was cut off is left out."""
    path, found = folder / "metrics.jsonl", []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and "step" in entry:
                found.append(entry)
    return found


def trim_metrics(folder: Path, step: int) -> None:
    """Drop lines that a stopped run wrote after its last checkpoint: they will be written again."""
    path = folder / "metrics.jsonl"
    if path.is_file():
        kept = [json.dumps(entry) + "\n" for entry in read_metrics(folder) if entry["step"] <= step]
        with atomic_write(path) as file:
            file.write("".join(kept).encode())


class Meter:
    """Means between two reports, and speed."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}
        self._since = time.perf_counter()

    def add(self, **values: float) -> None:
        """One step's values."""
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)

    def take(self) -> dict[str, float]:
        """The means since the last call, `clips` as `clips_per_second`."""
        seconds = time.perf_counter() - self._since
        values = {name: total / count for name, (total, count) in self._sums.items() if name != "clips"}
        clips = self._sums.get("clips", (0.0, 0))[0]
        self._sums, self._since = {}, time.perf_counter()
        return {**dict(sorted(values.items())), "clips_per_second": clips / max(seconds, 1e-9)}


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(int(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _board(folder: Path) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:  # the metrics are in metrics.jsonl all the same
        return None
    return SummaryWriter(str(folder / "tensorboard"))
