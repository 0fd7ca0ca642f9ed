"""Paint a mask once, follow it on any camera.

    import crwedge as cw
    with cw.Tracker.open() as tracker, cw.open_source("camera0") as frames, cw.open_sink("masks/") as sink:
        mask = cw.read_mask("init.png")
        for frame in frames:
            labels = tracker.step(frame, mask)      # a mask may come with any frame
            mask = None
            sink.write(labels)
"""

__version__ = "0.1.0"
