"""The trainer's process: `python -m crwedge.adapt.worker`. Reads windows from stdin, answers with weights on stdout.

A process of its own, started afresh: the frame path shares no lock, no thread and no memory with it, and it may be
ended at any moment.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np


def main() -> None:
    """Serve until the tracker closes the pipe or dies."""
    from crwedge.adapt.wire import read_message, write_message
    from crwedge.core.heap import keep_freed_memory

    keep_freed_memory()
    # What a library prints must not come between the messages.
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    source = os.fdopen(os.dup(0), "rb")
    parent = os.getppid()
    try:
        opened = read_message(source)
        if opened is None:
            return
        tuner, manifest = _open(*opened)
        precision = opened[0]["precision"]
        write_message(target, {"kind": "ready"})
        total = 0

        def report_progress(update: int, loss: float) -> None:
            if os.getppid() != parent:
                raise SystemExit
            write_message(target, {"kind": "progress", "update": update, "loss": loss})

        while (message := read_message(source)) is not None:
            header, body = message
            frames = list(np.frombuffer(body, np.uint8).reshape(header["shape"]))
            outcome = tuner.run(frames, header["index"], report_progress)
            total += 0 if outcome.undone else outcome.updates
            reply: dict[str, Any] = {"kind": "window", "index": header["index"], **outcome.__dict__}
            if outcome.undone:
                write_message(target, reply)
            else:
                weights, graph = _files(tuner.encoder(), manifest, total, precision)
                write_message(target, {**reply, "weights": len(weights)}, weights + graph)
    except BrokenPipeError:
        return
    except Exception as error:
        write_message(target, {"kind": "error", "reason": f"{type(error).__name__}: {error}"})


def _open(header: dict[str, Any], weights: bytes) -> Any:
    import tempfile
    from pathlib import Path

    import torch

    from crwedge.adapt.finetune import FineTuner
    from crwedge.adapt.settings import TestTimeSettings
    from crwedge.core.bundle import WEIGHTS, Manifest
    from crwedge.model.checkpoint import load_encoder

    settings = TestTimeSettings(**header["settings"])
    os.nice(settings.nice)
    torch.set_num_threads(settings.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / WEIGHTS
        path.write_bytes(weights)
        encoder, _ = load_encoder(path)
    values = header["manifest"]
    values["size"] = None if values["size"] is None else tuple(values["size"])
    return FineTuner(encoder, settings), Manifest(**values)


def _files(encoder: Any, manifest: Any, updates: int, precision: str) -> tuple[bytes, bytes]:
    from crwedge.adapt.weights import encoder_file, encoder_graph

    return encoder_file(encoder, manifest, updates), encoder_graph(encoder, manifest, precision)


if __name__ == "__main__":
    main()
