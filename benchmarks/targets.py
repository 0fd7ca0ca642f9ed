"""Targets: painted in frame 0, started at the middle frame, beside a painted start; in another place; and without the object.

    python benchmarks/targets.py VOS_FOLDER [--sequences a,b] [--step 2] [--clips FOLDER] [--part 1/8] [--every 90] [--out FILE]

VOS_FOLDER holds a folder a sequence, each with JPEGImages/ and Annotations/. Films that do not show the object: every clip of
FOLDER, and every other sequence. `--part 1/8` takes every eighth clip in the order of their names, from number 1 on.

Another place: the object of a middle frame, cut out by its true mask, in the middle frame of the third sequence after it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import crwedge as cw
from crwedge.core.labels import region_iou
from crwedge.core.masks import object_ids, read_label_ids
from crwedge.core.pictures import read_picture
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.target import Target, join_targets, small_frame
from crwedge.runtime.target_finder import Found, TargetFinder


class Sequence:
    """Frames and true masks, every n-th.

    Args:
        folder: with JPEGImages/ and Annotations/.
        step: n.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.name = folder.name
        self._folder = folder
        self._names = sorted(path.stem for path in (folder / "Annotations").glob("*.png"))
        self.middle = len(self._names) // 2
        self.shown = [0, *range(self.middle, len(self._names), step)]

    def pixels(self, number: int) -> np.ndarray:
        """RGB uint8 (H, W, 3)."""
        return read_picture(next((self._folder / "JPEGImages").glob(f"{self._names[number]}.*")))

    def truth(self, number: int) -> np.ndarray:
        """(H, W) ids."""
        return np.asarray(read_label_ids(self._folder / "Annotations" / f"{self._names[number]}.png"))

    def target(self) -> Target:
        """Painted in frame 0."""
        mask = self.truth(0)
        return Target((small_frame(self.pixels(0), mask),), {i: f"{self.name} {i}" for i in object_ids(mask)})


def follow(tracker: cw.Tracker, sequence: Sequence, painted: bool) -> dict[str, Any]:
    """Overlap of each object in the second half, from a mask or from the target."""
    tracker.reset()
    targets, names = join_targets([sequence.target()])
    finder = None if painted else TargetFinder(targets, names, tracker)
    overlaps: dict[int, list[float]] = {i: [] for i in names}
    first: dict[int, int] = {}
    for number in sequence.shown[1:]:
        frame, truth = Frame(sequence.pixels(number), number), sequence.truth(number)
        prompt = finder.before(frame) if finder is not None else truth if number == sequence.middle else None
        labels = tracker.step(frame, prompt)
        if finder is not None:
            finder.after(labels)
        for i in names:
            if i in labels.object_ids:
                first.setdefault(i, number)
                overlaps[i].append(float(region_iou(labels.ids, truth, (i,))[0]))
    return {
        str(i): {
            "start": first.get(i),
            "first_J": round(values[0], 3) if values else None,
            "rest_J": round(float(np.mean(values[1:])), 3) if values[1:] else None,
        }
        for i, values in overlaps.items()
    }


def elsewhere(tracker: cw.Tracker, sequence: Sequence, place: Sequence) -> dict[str, Any] | None:
    """What a search finds of a sequence's objects in the place of another; None where the frames differ in size."""
    pixels, truth, around = (
        sequence.pixels(sequence.middle),
        sequence.truth(sequence.middle),
        place.pixels(place.middle),
    )
    if pixels.shape != around.shape:
        return None
    tracker.reset()
    targets, names = join_targets([sequence.target()])
    mixed = np.where(truth[..., None] > 0, pixels, around)
    found = {}
    for i, one in TargetFinder(targets, names, tracker).find(mixed, set(names)).items():
        overlap = None
        if one.certainty >= 1 and one.mask is not None:
            overlap = float(region_iou(one.mask.astype(np.uint8), (truth == i).astype(np.uint8), (1,))[0])
        found[str(i)] = {**facts(one), "J": None if overlap is None else round(overlap, 3)}
    return {"place": place.name, **found}


def facts(one: Found) -> dict[str, float]:
    """The figures of a search."""
    return {name: round(float(getattr(one, name)), 3) for name in ("certainty", "lead", "cover", "overlap")}


def films(clips: Path | None, part: str, every: int, sequences: list[Sequence]) -> Iterator[tuple[str, np.ndarray]]:
    """Name and frame of each film: of clips every n-th frame, of sequences four."""
    number, parts = map(int, part.split("/"))
    for path in [] if clips is None else sorted(clips.glob("*.mp4"))[number::parts]:
        with cw.open_source(str(path)) as source:
            for frame in source:
                if frame.index % every == 0:
                    yield path.name, frame.image
    for sequence in sequences:
        for at in sequence.shown[:: max(1, len(sequence.shown) // 4)]:
            yield sequence.name, sequence.pixels(at)


def main() -> None:
    """Print a line for each sequence and each false start, and one JSON object last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--sequences", default="")
    parser.add_argument("--step", type=int, default=2)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--part", default="1/8")
    parser.add_argument("--every", type=int, default=90)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--skip-starts", action="store_true")
    parser.add_argument("--skip-painted", action="store_true", help="painted starts do not depend on the search")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    chosen = set(filter(None, given.sequences.split(",")))
    folders = sorted(path for path in given.root.iterdir() if path.is_dir() and (not chosen or path.name in chosen))
    sequences = [Sequence(folder, given.step) for folder in folders]
    result: dict[str, Any] = {"starts": {}, "elsewhere": {}, "films": 0, "frames": 0, "false_starts": []}
    with cw.Tracker.open(settings="edge", workers=given.threads) as tracker:
        for sequence in [] if given.skip_starts else sequences:
            ways = {"target": False} if given.skip_painted else {"painted": True, "target": False}
            row = {way: follow(tracker, sequence, painted) for way, painted in ways.items()}
            result["starts"][sequence.name] = row
            print(sequence.name, json.dumps(row), flush=True)
        for number, sequence in enumerate([] if given.skip_starts else sequences):
            place = sequences[(number + 3) % len(sequences)]
            found = elsewhere(tracker, sequence, place) if place is not sequence else None
            if found is not None:
                result["elsewhere"][sequence.name] = found
                print(sequence.name, json.dumps(found), flush=True)
        tracker.reset()
        targets, names = join_targets([sequence.target() for sequence in sequences])
        finder = TargetFinder(targets, names, tracker)
        seen: set[str] = set()
        nearest: dict[str, dict[str, Any]] = {}
        for film, pixels in films(given.clips, given.part, given.every, sequences):
            seen.add(film)
            result["frames"] += 1
            for object_id, one in finder.find(pixels, set(names)).items():
                name = names[object_id]
                if name.startswith(f"{film} "):
                    continue
                near = {"film": film, **facts(one)}
                nearest[name] = max(nearest.get(name, near), near, key=lambda one: (one["certainty"], one["cover"]))
                if one.certainty >= 1:
                    result["false_starts"].append({"object": name, **near})
                    print("false start", name, near, flush=True)
        result["films"], result["nearest"] = len(seen), nearest
    print(json.dumps(result))
    if given.out is not None:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
