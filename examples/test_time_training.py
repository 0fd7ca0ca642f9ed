"""Train the encoder on the video that is tracked.

python test_time_training.py film.mp4 init.png [UPDATES]
"""

import sys

import crwedge as cw


def main(film: str, mask: str, updates: str = "20") -> None:
    """Track with an encoder that is trained on a window every five frames."""
    trainer = cw.TestTimeTrainer(every=5, updates=int(updates))
    with cw.Tracker.open(adapter=trainer) as tracker, cw.open_source(film) as source, cw.open_sink("masks") as sink:
        prompt = cw.read_mask(mask)
        for frame in trainer.ahead(source):  # for a file, waits until each window is trained
            sink.write(tracker.step(frame, prompt))
            prompt = None
        print(f"{trainer.stats.swaps} new encoders from {trainer.stats.windows} windows")


if __name__ == "__main__":
    main(*sys.argv[1:])
