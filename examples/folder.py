"""Write masks for a folder of pictures, from a mask of the first one.

python folder.py frames/ init.png masks/
"""

import sys

import crwedge as cw


def main(folder: str, mask: str, out: str) -> None:
    """Write a palette PNG with the same name for each picture."""
    with cw.open_sink(out) as sink:
        for labels in cw.propagate(folder, mask, settings="edge"):
            sink.write(labels)
            print(labels.name, {i: int((labels.ids == i).sum()) for i in labels.object_ids})


if __name__ == "__main__":
    main(*sys.argv[1:])
