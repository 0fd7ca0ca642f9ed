"""Several sessions in one process: a thread each, one engine for all."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from crwedge.runtime.observer import Observer
from crwedge.runtime.session import Session

_SUMMED = ("frames_in", "tracked", "dropped", "failed", "written", "recovering", "restarts")


def run_sessions(sessions: Sequence[Session], observers: Sequence[Sequence[Observer]]) -> list[dict[str, Any]]:
    """Run each session in its own thread; the first error stops all.

    Args:
        sessions: made with one stop token.
        observers: of each session.

    Returns:
        What each `Session.run` returned.
    """

    def run(session: Session, watching: Sequence[Observer]) -> dict[str, Any]:
        try:
            return session.run(watching)
        except BaseException:
            session.stop()
            raise

    with ThreadPoolExecutor(len(sessions), "crwedge-stream") as pool:
        waiting = [pool.submit(run, *pair) for pair in zip(sessions, observers, strict=True)]
        # Short waits let the main thread take signals.
        while wait(waiting, timeout=0.2).not_done:
            pass
        return [future.result() for future in waiting]


def combine_results(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sums of all sessions under the names of one, the latency of the slowest, and each session in `streams`."""
    slowest = max(results, key=lambda result: result["latency_ms"]["p95"])
    return {
        **slowest,
        **{name: sum(result[name] for result in results) for name in _SUMMED},
        "fps": round(sum(result["fps"] for result in results), 3),
        "outputs": [target for result in results for target in result["outputs"]],
        "streams": list(results),
    }
