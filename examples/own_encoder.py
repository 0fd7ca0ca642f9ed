"""Learn an encoder from your own clips, export it, and track with it.

python own_encoder.py clips/ film.mp4 init.png [STEPS]

Some thousand steps make an encoder; `crwedge train clips/` chooses recipe and time for the machine.
"""

import sys
from dataclasses import replace

import crwedge as cw
from crwedge.train.config_file import read_config
from crwedge.train.loop import fit


def main(clips: str, film: str, mask: str, steps: str = "2000") -> None:
    """Train, export, track."""
    config = replace(read_config("edge"), videos=(clips,), images=(), steps=int(steps), workers=0)
    trained = fit(config, "runs/own", recipe="edge")
    bundle = cw.export_bundle(trained.encoder, "bundles/own")
    with cw.open_sink("own.jsonl") as sink:
        for labels in cw.propagate(film, mask, model=bundle):
            sink.write(labels)
    print(f"followed with {bundle.manifest.name}: own.jsonl")


if __name__ == "__main__":
    main(*sys.argv[1:])
