"""Follow painted objects on a camera and print their positions.

python webcam.py camera0 init.png [FRAMES]
"""

import itertools
import sys

import crwedge as cw
from crwedge.core.places import object_places


def main(camera: str, mask: str, frames: str = "") -> None:
    """Follow until the camera ends, or for the given number of frames."""
    prompt = cw.read_mask(mask)
    with cw.open_source(camera) as source, cw.Tracker.open(options=cw.TrackerOptions(confidence=True)) as tracker:
        for frame in itertools.islice(source, int(frames) if frames else None):
            labels = tracker.step(frame, prompt)
            prompt = None
            for object_id, place in object_places(labels.ids).items():
                trust = labels.confidence.get(object_id, 1.0)
                x, y = place.centre
                print(
                    f"{labels.pts:.2f} s: object {object_id} at ({x:.0f}, {y:.0f}), confidence {trust:.2f}", flush=True
                )


if __name__ == "__main__":
    main(*sys.argv[1:])
