"""Write a CVAT task and a COCO file from a run, with names.

python export_to_cvat.py film.mp4 init.png 1=dog,2=rider

In CVAT: "Upload annotations", format "CVAT 1.1", file `task.zip`.
"""

import sys

import crwedge as cw
from crwedge.formats.open import open_annotation


def main(film: str, mask: str, names: str) -> None:
    """Write both files, and read the first one back."""
    options = cw.SessionOptions(names=names, overwrite=True)
    cw.Session(film, mask, ["task.zip?format=cvat", "instances.json"], options).run()
    with open_annotation("task.zip") as annotation:
        count = sum(1 for _ in annotation.frames())
        print(f"task.zip: {count} frames of {annotation.video.name} with {dict(annotation.names)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
