"""Follow joints instead of masks.

python keypoints.py film.mp4 joints.json

`joints.json` names the joints of the first frame: {"hand": [120, 64], "elbow": [98, 80]}.
"""

import sys

import crwedge as cw


def main(film: str, path: str) -> None:
    """Print x and y of each joint in each frame."""
    start, joints = cw.read_joints(path).first()
    with cw.open_source(film, start=start) as source, cw.Tracker.open() as tracker:
        prompt = joints
        for frame in source:
            labels = tracker.step(frame, prompt)
            prompt = None
            found = zip(labels.joints.names, labels.joints.xy, labels.joints.visible, strict=True)
            print(frame.index, {name: [round(float(v), 1) for v in xy] for name, xy, seen in found if seen})


if __name__ == "__main__":
    main(*sys.argv[1:])
