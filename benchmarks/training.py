"""One training step: a straightforward implementation of the published one and ours, in turn in one process.

    python benchmarks/training.py VIDEOS [--repeats N] [--clips B] [--clip-length T] [--json FILE]

Both read the same clips at 256 x 256 and learn a ResNet-18 to res4 on 49 patches of 64 x 64 a frame, with Adam:

* published style: each patch is cut and augmented by itself in the loader, float32, contiguous memory, every palindrome
  multiplied out.
* ours: frames leave the loader as uint8; patches are cut and jittered in one pass where the encoder runs; bfloat16,
  channels last; palindromes share their products. Also in float32, to tell the share of the precision.

Both load in the training process: where all cores are busy training, loader processes take their time from the
same cores. Times are medians of interleaved steps, so that other load on the machine hits all alike; where that load is
heavy, two threads wait for each other most of the time, and `--processor-time --threads 1` is the steadier measure.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from crwedge.core.images import IMAGENET_MEAN, IMAGENET_STD, resize_frame
from crwedge.model.encoder import Encoder, EncoderConfig
from crwedge.model.walk import walk_loss
from crwedge.train.augment import colour_views, jittered_patches
from crwedge.train.batches import batches
from crwedge.train.clips import ClipSource
from crwedge.train.config import TrainConfig
from crwedge.train.objective import autocast, build_model
from crwedge.train.open_clips import open_clips

Stages = dict[str, float]


class Watch:
    """Times the stages of a step: by the clock, or by the processor time of all threads."""

    clock: Callable[[], float] = time.perf_counter

    def __init__(self) -> None:
        self.stages: Stages = {}
        self._last = Watch.clock()

    def lap(self, name: str) -> None:
        """The stage `name` ends now."""
        now = Watch.clock()
        self.stages[name] = self.stages.get(name, 0.0) + now - self._last
        self._last = now


def published_steps(source: ClipSource, config: TrainConfig) -> Iterator[Stages]:
    """Each step as the paper's pseudocode suggests it."""
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(stage="res4"))
    head = nn.Linear(512, 128)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(parameters, 1e-4)
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    rng = np.random.default_rng(0)
    data, walk = config.data, config.walk
    while True:
        watch = Watch()
        clips: list[Tensor] = []
        for _ in range(data.batch):
            patches: list[Tensor] = []
            for frame in source.clip(rng):
                picture = torch.from_numpy(np.array(resize_frame(frame, (256, 256)))).permute(2, 0, 1)
                for top in range(0, 193, 32):
                    for left in range(0, 193, 32):
                        patch = _random_crop(picture[:, top : top + 64, left : left + 64].float() / 255, rng)
                        patches.append((patch - mean) / std)
            clips.append(torch.stack(patches))
        x = torch.stack(clips)
        watch.lap("load, cut, augment")
        features = encoder(x.flatten(0, 1)).mean(dim=(2, 3))
        nodes = functional.normalize(head(features), dim=1).view(data.batch, data.clip_length, 49, 128)
        watch.lap("encoder forward")
        loss = _palindromes(nodes, walk.temperature, walk.edge_dropout)
        watch.lap("walk")
        optimiser.zero_grad()
        loss.backward()
        watch.lap("backward")
        optimiser.step()
        watch.lap("optimiser")
        yield watch.stages


def _random_crop(patch: Tensor, rng: np.random.Generator) -> Tensor:
    """A random part of a patch (3, 64, 64), resized to it."""
    area, stretch = rng.uniform(0.7, 0.9), np.exp(rng.uniform(np.log(0.7), np.log(1.3)))
    width, height = (min(64, round(64 * (area * s) ** 0.5)) for s in (stretch, 1 / stretch))
    y, x = rng.integers(0, 65 - height), rng.integers(0, 65 - width)
    crop = patch[None, :, y : y + height, x : x + width]
    return functional.interpolate(crop, (64, 64), mode="bilinear", align_corners=False)[0]


def _palindromes(nodes: Tensor, temperature: float, dropout: float) -> Tensor:
    def step(a: Tensor, b: Tensor) -> Tensor:
        A = a @ b.transpose(1, 2) / temperature
        A[torch.rand_like(A) < dropout] = -1e20
        return A.softmax(-1)

    frames = nodes.unbind(1)
    onward = [step(a, b) for a, b in itertools.pairwise(frames)]
    inward = [step(b, a) for a, b in itertools.pairwise(frames)]
    losses = []
    for s in range(1, len(frames)):
        walk = onward[0]
        for matrix in [*onward[1:s], *inward[:s][::-1]]:
            walk = walk @ matrix
        losses.append(-torch.log(walk.diagonal(dim1=1, dim2=2) + 1e-20).mean())
    return torch.stack(losses).mean()


def our_steps(source: ClipSource, config: TrainConfig) -> Iterator[Stages]:
    """The training loop's own parts, timed one by one."""
    torch.manual_seed(0)
    model = build_model(config.encoder)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.0)
    stream = batches(source, config, start=0)
    while True:
        watch = Watch()
        batch = next(stream)
        watch.lap("load")
        pictures = colour_views(batch.views.flatten(0, 1), batch.colours.flatten(0, 1))
        pictures = jittered_patches(pictures, config.walk, batch.seeds)
        watch.lap("cut, augment")
        with autocast(pictures.device, config.run.precision):
            nodes = model.patches(pictures).view(*batch.views.shape[:2], -1, config.encoder.dim)
        watch.lap("encoder forward")
        loss = walk_loss(nodes, config.walk.temperature, config.walk.edge_dropout).loss
        watch.lap("walk")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        watch.lap("backward")
        optimiser.step()
        watch.lap("optimiser")
        yield watch.stages


def main() -> None:
    """Run, print two tables, save JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", help="a folder of videos")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--clip-length", type=int, default=4)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--processor-time", action="store_true", help="for a machine that does other work; --threads 1")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.processor_time:
        Watch.clock = staticmethod(time.process_time)
    if options.threads:
        torch.set_num_threads(options.threads)
    half = TrainConfig().with_changes(
        videos=(options.videos,), batch=options.clips, clip_length=options.clip_length, workers=0, precision="bfloat16"
    )
    source, _ = open_clips(half.data)
    ways: dict[str, Callable[[], Iterator[Stages]]] = {
        "published style": lambda: published_steps(source, half),
        "ours, float32": lambda: our_steps(source, half.with_changes(precision="float32")),
        "ours": lambda: our_steps(source, half),
    }
    running = {name: way() for name, way in ways.items()}
    seen: dict[str, list[Stages]] = {name: [] for name in ways}
    for repeat in range(options.repeats + 1):
        for name, steps in running.items():
            stages = next(steps)
            if repeat:  # the first step of each warms up
                seen[name].append(stages)
    report = _report(seen, options.clips)
    print(_table(report))
    if options.json:
        facts = {
            "machine": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "date": time.strftime("%Y-%m-%d"),
            "clock": "processor time" if options.processor_time else "wall",
            "clips": options.clips,
            "clip_length": options.clip_length,
        }
        options.json.write_text(json.dumps({**facts, **report}, indent=1) + "\n", encoding="utf-8")


def _report(seen: dict[str, list[Stages]], clips: int) -> dict[str, Any]:
    rows = {}
    for name, steps in seen.items():
        whole = statistics.median(sum(stages.values()) for stages in steps)
        stages = {stage: statistics.median(step[stage] for step in steps) for stage in steps[0]}
        rows[name] = {"clips_per_second": clips / whole, "seconds": whole, "stages": stages}
    # The ratio of each round by itself: load on the machine changes between rounds.
    pairs = zip(seen["published style"], seen["ours"], strict=True)
    ratios = sorted(sum(a.values()) / sum(b.values()) for a, b in pairs)
    return {"rows": rows, "ratio": {"median": statistics.median(ratios), "min": ratios[0], "max": ratios[-1]}}


def _table(report: dict[str, Any]) -> str:
    lines = ["| way | clips/s | seconds a step |", "|---|---|---|"]
    for name, row in report["rows"].items():
        lines.append(f"| {name} | {row['clips_per_second']:.2f} | {row['seconds']:.2f} |")
    ratio = report["ratio"]
    lines.append(f"\npublished / ours: {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})\n")
    lines += ["| way | stage | seconds | share |", "|---|---|---|---|"]
    for name, row in report["rows"].items():
        for stage, seconds in row["stages"].items():
            lines.append(f"| {name} | {stage} | {seconds:.3f} | {100 * seconds / row['seconds']:.0f} % |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
