"""Does a target start on a look-alike? In rendered films of one body and its look-alike, which has the same skin.

    python benchmarks/look_alikes.py [--films 28] [--threads 1]

A body and its look-alike begin in halves of their own. The target is the first frame's half with the body, so that it does not
show the look-alike. It is searched in frames 0, 3 and 6: in the other half, where the look-alike is alone (films whose body or
look-alike has come into the wrong half are left out), and in the whole frame. Certainty is 1 where an object starts.

Prints a line for each film and one JSON object last: frames that were searched, starts, and how many of them overlap the body
by at least a half.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

import crwedge as cw
from crwedge.core.film import render_film
from crwedge.core.labels import region_iou
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.target import Target, TargetFrame
from crwedge.runtime.target_finder import TargetFinder

SIZE = 240, 426
FRAMES = (0, 3, 6)


def look(tracker: cw.Tracker, target: Target, pixels: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """What a new search finds in one frame, and how far that is the object (overlap)."""
    tracker.reset()
    finder = TargetFinder([target], {1: "body"}, tracker)
    best = finder.find(pixels, {1})[1]
    mask = finder.before(Frame(pixels, 0))
    overlap = None if mask is None else round(float(region_iou(mask, truth, (1,))[0]), 3)
    facts = {name: round(float(getattr(best, name)), 3) for name in ("certainty", "lead", "cover", "overlap")}
    return {**facts, "started": mask is not None, "overlap": overlap}


def search_film(tracker: cw.Tracker, seed: int) -> dict[str, list[dict[str, Any]]]:
    """What is found in one film: where the look-alike is alone, and where both are."""
    film, half = render_film(max(FRAMES) + 1, *SIZE, objects=1, seed=seed), SIZE[1] // 2
    left = np.nonzero(film.masks[0])[1].mean() < half
    own, other = (slice(0, half), slice(half, None)) if left else (slice(half, None), slice(0, half))

    def part(frames: np.ndarray, number: int, columns: slice) -> np.ndarray:
        return np.ascontiguousarray(frames[number][:, columns])

    target = Target((TargetFrame(part(film.frames, 0, own), part(film.masks, 0, own)),), {1: "body"})
    alone = [
        look(tracker, target, part(film.frames, number, other), part(film.masks, number, other))
        for number in FRAMES
        if not part(film.masks, number, other).any()
    ]
    return {"alone": alone, "both": [look(tracker, target, film.frames[n], film.masks[n]) for n in FRAMES]}


def main() -> None:
    """Search all films."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=28)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    rows: dict[str, list[dict[str, Any]]] = {"alone": [], "both": []}
    films = 0
    with cw.Tracker.open(shipped_bundle(), "cpu", "edge", workers=given.threads) as tracker:
        for seed in range(given.films):
            found = search_film(tracker, seed)
            films += any(one["started"] for one in found["alone"])
            print(seed, json.dumps(found), flush=True)
            for name, values in found.items():
                rows[name] += values
    starts = {name: [one for one in values if one["started"]] for name, values in rows.items()}
    summary = {
        name: {
            "frames": len(values),
            "starts": len(starts[name]),
            "on_the_body": sum(one["overlap"] >= 0.5 for one in starts[name]),
        }
        for name, values in rows.items()
    }
    print(json.dumps({**summary, "films": given.films, "films_with_a_false_start": films}))


if __name__ == "__main__":
    main()
