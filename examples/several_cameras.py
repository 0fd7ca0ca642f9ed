"""Track several sources with one encoder in one process, one thread per source.

python several_cameras.py camera0 init0.png rtsp://10.0.0.7/live init1.png ...
"""

import sys
from contextlib import closing

import crwedge as cw
from crwedge.runtime.backends.engine import LockedEngine
from crwedge.runtime.bundle_lookup import find_bundle
from crwedge.runtime.sessions import run_sessions


def main(*arguments: str) -> None:
    """Track until all sources end. An error in one source ends all."""
    stop, bundle = cw.StopToken(), find_bundle()
    with closing(cw.open_engine(bundle)) as engine:
        shared, options = LockedEngine(engine), cw.SessionOptions(model=bundle, threads=1)
        sessions = [
            cw.Session(source, mask, f"camera-{number}.jsonl", options, engine=shared, stop=stop)
            for number, (source, mask) in enumerate(zip(arguments[::2], arguments[1::2], strict=True))
        ]
        for result in run_sessions(sessions, [[] for _ in sessions]):
            print(f"{result['source']}: {result['tracked']} frames, {result['fps']} a second")


if __name__ == "__main__":
    main(*sys.argv[1:])
