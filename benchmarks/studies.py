"""What a study of the propagation costs beside its slowest point, in one run: all points together against each alone.

    python benchmarks/studies.py DATA/vos --sequences camel,cows --frames 15

Both sides read the same cached features and score the same frames; encoding is left out, as it is shared either way. Times
are those of the process's own work on one thread (CPU seconds), so that a busy machine disturbs them less.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from crwedge.core.images import parse_size
from crwedge.core.settings import preset
from crwedge.eval.datasets import Clip, davis_clips
from crwedge.eval.davis import score_clip, score_sweep
from crwedge.eval.encoders import EncoderSpec
from crwedge.eval.feature_cache import FeatureCache
from crwedge.eval.follow import Follower
from crwedge.eval.scorer import overall
from crwedge.eval.studies import PROPAGATION


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it gave."""
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def measure(name: str, clips: list[Clip], follower: Follower) -> dict[str, Any]:
    """One study: CPU seconds of every point alone and of all together, and how far their scores are apart."""
    study = PROPAGATION[name]
    points = {label: replace(follower, settings=study.settings(label, follower.settings)) for label in study.points}
    alone, scores = {}, {}
    for label, point in points.items():

        def one(point: Follower = point) -> dict[str, Any]:
            return {clip.name: score_clip(clip, point, "2017") for clip in clips}

        alone[label], scores[label] = seconds(one)
    together, swept = seconds(lambda: {clip.name: score_sweep(clip, points, "2017") for clip in clips})
    apart = max(
        abs(overall(scores[label])["JF"] - overall({clip: swept[clip][label] for clip in swept})["JF"])
        for label in points
    )
    slowest, total = max(alone.values()), sum(alone.values())
    row = {"points": len(points), "alone_s": alone, "slowest_s": slowest, "sum_s": total, "together_s": together}
    return {**row, "over_slowest": together / slowest, "sum_over_slowest": total / slowest, "JF_apart": apart}


def main() -> None:
    """Print one line a study and a JSON object last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--studies", default="context,topk,radius")
    parser.add_argument("--sequences", default="camel,cows")
    parser.add_argument("--frames", type=int, default=15)
    parser.add_argument("--size", default="240x428")
    arguments = parser.parse_args()
    clips = [c.first(arguments.frames) for c in davis_clips(arguments.root, "2017", arguments.sequences.split(","))]
    report: dict[str, Any] = {
        "clips": [clip.name for clip in clips],
        "frames": arguments.frames,
        "size": arguments.size,
    }
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder))
        spec = EncoderSpec("bundle", None, "cpu").resolved()
        follower = Follower(spec, preset("crw"), parse_size(arguments.size), 1, cache)
        points = {"first": replace(follower, settings=replace(follower.settings, context_length=1))}
        for clip in clips:  # encode, and compile
            score_clip(clip, points["first"], "2017")
            score_sweep(clip, points, "2017")
        for name in arguments.studies.split(","):
            row = report[name] = measure(name, clips, follower)
            print(
                f"{name}: {row['points']} points together {row['together_s']:.1f} s, slowest alone {row['slowest_s']:.1f} s "
                f"({row['over_slowest']:.2f} times), one after the other {row['sum_s']:.1f} s "
                f"({row['sum_over_slowest']:.2f} times); J&F apart by {row['JF_apart']:.1e}",
                flush=True,
            )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
