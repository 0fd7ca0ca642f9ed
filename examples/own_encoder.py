"""Train an encoder on your own clips, export it, and track with it.

python own_encoder.py clips/ film.mp4 init.png [key=value ...]

An encoder needs some thousand steps (steps=5000). `crwedge train clips/` trains for an hour by default.
"""

import sys

import crwedge as cw
from crwedge.train.config_file import read_config


def main(clips: str, film: str, mask: str, *settings: str) -> None:
    """Train, export, track."""
    trained = cw.fit(clips, read_config("default", settings), "runs/own")
    bundle = cw.export_bundle(trained.checkpoint, "bundles/own")
    with cw.open_sink("own.jsonl") as sink:
        for labels in cw.propagate(film, mask, model=bundle):
            sink.write(labels)
    print(f"followed with {bundle.manifest.name}: own.jsonl")


if __name__ == "__main__":
    main(*sys.argv[1:])
