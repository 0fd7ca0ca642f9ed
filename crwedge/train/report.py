"""What a run tells: lines or a bar on the terminal, metrics.jsonl, TensorBoard."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from torch import Tensor

_SILENCE = 10.0
"""Seconds after which a run says that it is alive."""


class Journal:
    """Writes the progress of a run. On processes that are not the writer it does nothing."""

    def __init__(self, folder: Path, *, active: bool, quiet: bool = False, stream: TextIO | None = None) -> None:
        """Report into `folder` and, unless `quiet`, on `stream` (stderr by default)."""
        self._folder, self._active = folder, active
        self._stream = stream or sys.stderr
        self._quiet = quiet or not active
        self._bar: Any = None
        self._board: Any = None
        self._file: Any = None
        self._named: set[str] = set()
        self._said = time.perf_counter()

    def __enter__(self) -> Journal:
        """Open the files."""
        if self._active:
            self._file = open(self._folder / "metrics.jsonl", "a", encoding="utf-8")
            self._board = _board(self._folder)
            if not self._quiet and self._stream.isatty():
                self._bar = _bar()
                self._bar.start()
                self._task = self._bar.add_task("train", total=1.0, text="first step")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        if self._bar is not None:
            self._bar.stop()
        for thing in (self._board, self._file):
            if thing is not None:
                with contextlib.suppress(OSError):  # a full disk was told of already
                    thing.close()

    def say(self, text: str) -> None:
        """One line for the reader."""
        if self._quiet:
            return
        self._said = time.perf_counter()
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=self._stream, flush=True)

    def alive(self, step: int, share: float, seconds_left: float, loss: float) -> None:
        """After each step: the first one, and a line where nothing was said for a while; a bar is always moved."""
        text = f"step {step}  loss {loss:.3f}  {_clock(seconds_left)} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=share, text=text)
        elif step == 1 or time.perf_counter() - self._said > _SILENCE:
            self.say(text)

    def broken(self, files: dict[str, str]) -> None:
        """Name each unreadable file once."""
        for path, reason in files.items():
            if path not in self._named:
                self._named.add(path)
                self.say(f"skipped {path}: {reason}")

    @property
    def skipped(self) -> int:
        """How many files were named."""
        return len(self._named)

    def metrics(self, step: int, share: float, seconds_left: float, values: dict[str, float]) -> None:
        """One report: everywhere."""
        if not self._active:
            return
        entry = {"step": step, **{name: round(value, 6) for name, value in values.items()}}
        try:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            if self._board is not None:
                for name, value in values.items():
                    self._board.add_scalar(name, value, step)
        except OSError as error:
            # The run matters more than its figures; a checkpoint that cannot be written does end it.
            self.say(f"the figures of step {step} cannot be written to {self._folder}: {error.strerror or error}")
        text = summary(step, values, seconds_left)
        if self._bar is not None:
            self._bar.update(self._task, completed=share, text=text)
        else:
            self.say(text)

    def picture(self, step: int, image: Tensor, path: Path, caption: str) -> None:
        """Keep a picture (3, H, W) uint8 as a PNG with a caption, and in TensorBoard without."""
        if not self._active:
            return
        from PIL import Image

        from crwedge.core.files import atomic_write
        from crwedge.train.caption import captioned

        try:
            with atomic_write(path) as file:
                captioned(Image.fromarray(image.permute(1, 2, 0).numpy()), caption).save(file, format="PNG")
            if self._board is not None:
                self._board.add_image("transitions", image, step)
        except OSError as error:
            self.say(f"the picture {path} cannot be written: {error.strerror or error}")


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
        parts.append(f"{_clock(seconds_left)} left")
    return "  ".join(parts)


def trim_metrics(folder: Path, step: int) -> None:
    """Drop lines that a stopped run wrote after its last checkpoint: they will be written again."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError):
            continue  # cut off in the middle of a line
    from crwedge.core.files import atomic_write

    with atomic_write(path) as file:
        file.write("".join(kept).encode())


class Meter:
    """Means between two reports, and speed."""

    def __init__(self) -> None:
        """Start empty."""
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


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(BarColumn(bar_width=24), TextColumn("{task.fields[text]}"), console=Console(stderr=True))


def _board(folder: Path) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:  # the metrics are in metrics.jsonl all the same
        return None
    return SummaryWriter(str(folder / "tensorboard"))
