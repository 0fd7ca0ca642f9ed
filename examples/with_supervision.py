"""Draw masks, boxes and labels with supervision.

python with_supervision.py film.mp4 init.png out.mp4
"""

import sys

import supervision as sv

import crwedge as cw


def main(film: str, mask: str, out: str) -> None:
    """Annotate each frame. supervision uses the colour order of OpenCV, BGR."""
    painters = [sv.MaskAnnotator(color_lookup=sv.ColorLookup.TRACK), sv.BoxAnnotator(), sv.TraceAnnotator()]
    with cw.open_source(film) as source:
        rate = round(source.fps or 25)
    with cw.open_source(film) as source:
        height, width = next(iter(source)).image.shape[:2]
    with sv.VideoSink(out, sv.VideoInfo(width, height, rate)) as sink:
        for labels in cw.propagate(film, mask, settings="edge"):
            detections, picture = labels.to_supervision(), labels.frame[..., ::-1].copy()
            for painter in painters:
                picture = painter.annotate(picture, detections)
            sink.write_frame(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
