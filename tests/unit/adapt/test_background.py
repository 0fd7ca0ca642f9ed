"""The trainer's process may do what it likes: tracking goes on unharmed, and the reason is said. Real processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.adapt.trainer import TestTimeTrainer
from crwedge.core.scene import render_scene
from crwedge.core.settings import preset
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.tracker import Tracker
from tests.unit.adapt.frames import FrameList

SCENE = render_scene(frames=8, height=64, width=80, objects=1, seed=3)
PROTOCOL = preset("crw").with_changes(context_length=2)

START = """
import os, sys, time
import numpy as np
from crwedge.adapt.wire import read_message, write_message
source, target = sys.stdin.buffer, sys.stdout.buffer
read_message(source)
write_message(target, {"kind": "ready"})
read_message(source)
def answer(values, graph=b"no graph"):
    from safetensors.numpy import save
    weights = save({"conv1.weight": np.full(4, values, np.float32)})
    outcome = {"updates": 1, "seconds": 1.0, "loss": 1.0, "held_before": 1.0, "held_after": 1.0, "undone": ""}
    write_message(target, {"kind": "window", "index": 0, "weights": len(weights), **outcome}, weights + graph)
"""
UNDONE = """
while True:
    outcome = {"updates": 0, "seconds": 1.0, "loss": float("nan"), "held_before": 1.0, "held_after": float("nan")}
    write_message(target, {"kind": "window", "index": 0, **outcome, "undone": "the loss is not finite"})
    read_message(source)
"""


def labels_of(frames: int, trainer: TestTimeTrainer | None, after: Callable[[int], None]) -> list[NDArray[np.float32]]:
    with Tracker.open(shipped_bundle(), "cpu", PROTOCOL, adapter=trainer, workers=1) as tracker:
        found = []
        for index in range(frames):
            image = SCENE.frames[index % len(SCENE.frames)]
            found.append(tracker.step(image, SCENE.masks[0] if index == 0 else None).soft)
            after(index)
        return found


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("os._exit(3)", "has ended with exit code 3"),
        ("os.kill(os.getpid(), 9)", "has ended with signal 9"),
        ("raise ValueError('a bad day')", "a bad day"),
        ("time.sleep(60)", "in time"),
        ("answer(float('nan'))", "weights that are not finite (conv1.weight)"),
        ("answer(1.0)", "ONNX Runtime cannot load"),
        ("target.write(b'x' * 5000); target.flush(); time.sleep(60)", "sent something that is not a message"),
        ("write_message(target, {'kind': 'error', 'reason': 'no room'})", "failed: no room"),
        ("hog = b'x' * 400_000_000; time.sleep(60)", "more than memory_mb = 300"),
        (UNDONE, "2 windows had to be undone, the last because the loss is not finite"),
    ],
    ids=["exit", "kill", "raise", "sleep", "nan", "graph", "garbage", "error", "memory", "undone"],
)
def test_tracking_goes_on(behaviour: str, reason: str, said: list[str]) -> None:
    plain = labels_of(12, None, lambda index: None)
    trainer = TestTimeTrainer(
        worker=(sys.executable, "-c", START + behaviour),
        every=1,
        m=1,
        patience=3.0 if behaviour == "time.sleep(60)" else 30.0,
        memory_mb=300,
        rollbacks=2,
    )

    def wait(index: int) -> None:
        # Until it has gone wrong, frames come slowly; then a few more.
        end, number = time.monotonic() + 30, index
        while index == 8 and not trainer.stats.stopped and time.monotonic() < end:
            time.sleep(0.02)
            number += 1
            trainer.prepare(SCENE.frames[0], number)

    got = labels_of(12, trainer, wait)
    assert reason in trainer.stats.stopped
    assert trainer.stats.swaps == 0
    assert any(reason in line and "tracking goes on" in line for line in said)
    assert all((a == b).all() for a, b in zip(got, plain, strict=True))
    assert trainer._background is not None
    assert trainer._background.process is not None
    assert trainer._background.process.returncode is not None, "the process was left behind"


def test_a_stopped_process_blocks_no_frame() -> None:
    trainer = TestTimeTrainer(worker=(sys.executable, "-c", START + "time.sleep(60)"), every=1, m=1, patience=60.0)
    longest = 0.0
    with Tracker.open(shipped_bundle(), "cpu", PROTOCOL, adapter=trainer, workers=1) as tracker:
        assert trainer._background is not None
        while trainer._background.process is None:
            time.sleep(0.01)
        os.kill(trainer._background.process.pid, signal.SIGSTOP)
        big = np.zeros((64, 80, 3), np.uint8)
        tracker.step(big, SCENE.masks[0])
        for index in range(1, 50):
            begun = time.thread_time()
            trainer.prepare(big, index)
            longest = max(longest, time.thread_time() - begun)
    # Time of this thread, not of the clock: what others take is none of its own.
    assert longest < 0.05
    assert trainer.stats.dropped > 0


def test_the_real_trainer_learns_and_is_killed(said: list[str]) -> None:
    trainer = TestTimeTrainer(
        every=2, m=2, updates=1, size=32, clips=1, nice=0, device="cpu", tolerance=10.0, patience=300.0
    )

    def wait(index: int) -> None:
        end = time.monotonic() + 120
        background = trainer._background
        assert background is not None
        if index == 4:
            while trainer.stats.windows < 1 and not trainer.stats.stopped and time.monotonic() < end:
                time.sleep(0.05)
        if index == 6:
            assert background.process is not None
            os.kill(background.process.pid, signal.SIGKILL)
        if index == 9:
            while not trainer.stats.stopped and time.monotonic() < end:
                time.sleep(0.05)

    got = labels_of(14, trainer, wait)
    assert trainer.stats.swaps >= 1, trainer.stats
    assert "signal 9" in trainer.stats.stopped
    plain = labels_of(14, None, lambda index: None)
    assert (got[4] == plain[4]).all()
    assert (got[-1] != plain[-1]).any(), "the new weights changed nothing"
    assert len(trainer.weights()) > 1_000_000


def test_frames_of_a_file_wait_for_their_windows() -> None:
    trainer = TestTimeTrainer(every=2, updates=1, size=32, clips=1, device="cpu", tolerance=10.0)
    source = FrameList(list(SCENE.frames))
    with Tracker.open(shipped_bundle(), "cpu", PROTOCOL, adapter=trainer, workers=1) as tracker:
        for frame in trainer.ahead(source):
            tracker.step(frame, SCENE.masks[0] if frame.index == 0 else None)
            kept = max(0, frame.index // 2)
            assert (trainer.stats.windows, trainer.stats.swaps, trainer.stats.dropped) == (kept, kept, 0)


def test_a_file_does_not_wait_for_a_trainer_that_ended() -> None:
    trainer = TestTimeTrainer(every=2, worker=(sys.executable, "-c", "import os; os._exit(3)"))
    source = FrameList(list(SCENE.frames))
    with Tracker.open(shipped_bundle(), "cpu", PROTOCOL, adapter=trainer, workers=1) as tracker:
        for frame in trainer.ahead(source):
            tracker.step(frame, SCENE.masks[0] if frame.index == 0 else None)
    assert "exit code 3" in trainer.stats.stopped
    assert trainer.stats.windows == 0
