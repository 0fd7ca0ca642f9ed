"""Write a recording for the Rerun viewer: pictures, masks, boxes, and the area of each object over time.

python with_rerun.py film.mp4 init.png out.rrd && rerun out.rrd
"""

import sys

import rerun as rr

import crwedge as cw
from crwedge.core.places import object_places


def main(film: str, mask: str, out: str) -> None:
    """Log every frame to a file."""
    recording = rr.RecordingStream("crwedge")
    recording.save(out)
    for labels in cw.propagate(film, mask, settings="edge"):
        recording.set_time("frame", sequence=labels.index)
        recording.log("camera", rr.Image(labels.frame).compress(jpeg_quality=85))
        recording.log("camera/objects", rr.SegmentationImage(labels.ids))
        places = object_places(labels.ids)
        boxes = [place.box for place in places.values()]
        xy, size = [box[:2] for box in boxes], [box[2:] for box in boxes]
        recording.log("camera/boxes", rr.Boxes2D(mins=xy, sizes=size, class_ids=list(places)))
        for i, place in places.items():
            recording.log(f"area/{i}", rr.Scalars(place.area))
    recording.disconnect()


if __name__ == "__main__":
    main(*sys.argv[1:])
