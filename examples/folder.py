"""Masks of a folder of pictures, from a mask of the first.

python folder.py frames/ init.png masks/
"""

import sys

import crwedge as cw


def main(folder: str, mask: str, out: str) -> None:
    """Write a palette PNG for each picture, with its name."""
    with cw.open_sink(out) as sink:
        for labels in cw.propagate(folder, mask, settings="edge"):
            sink.write(labels)
            print(labels.name, {i: int((labels.ids == i).sum()) for i in labels.object_ids})


if __name__ == "__main__":
    main(*sys.argv[1:])
