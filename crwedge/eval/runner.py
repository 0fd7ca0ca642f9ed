"""Score many clips in one or several processes; finished clips are not scored again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any

from crwedge.eval.results import ResultFolder

OnProgress = Callable[[str, dict[str, Any], bool], None]
"""Called with the name of a clip, its score, and whether the score was stored before."""


def run_clips(
    tasks: Mapping[str, Callable[[], Any]],
    folder: ResultFolder,
    processes: int = 1,
    on_progress: OnProgress | None = None,
) -> dict[str, dict[str, Any]]:
    """Run every task whose score is not in the folder.

    At most one task for each process is submitted at a time, so memory does not grow with the number of clips.

    Args:
        tasks: by clip; each returns a score with `to_dict()`. With several processes they must be picklable.
        folder: stores the scores.
        processes: number of clips at once.
        on_progress: called after each clip.

    Returns:
        The scores by clip, in the order of `tasks`.
    """
    scores: dict[str, dict[str, Any]] = {}
    waiting = []
    for name, task in tasks.items():
        known = folder.load(name)
        if known is None:
            waiting.append((name, task))
        else:
            scores[name] = known
            if on_progress:
                on_progress(name, known, True)

    def keep(name: str, score: dict[str, Any]) -> None:
        folder.save(name, score)
        scores[name] = score
        if on_progress:
            on_progress(name, score, False)

    if processes <= 1:
        for name, task in waiting:
            keep(name, task().to_dict())
    elif waiting:
        # Not forked, because the parent may have threads of BLAS and of the propagator.
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            running: dict[Future[dict[str, Any]], str] = {}
            try:
                while waiting or running:
                    while waiting and len(running) < processes:
                        name, task = waiting.pop(0)
                        running[pool.submit(_run, task)] = name
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        keep(running.pop(future), future.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return {name: scores[name] for name in tasks}


def _run(task: Callable[[], Any]) -> dict[str, Any]:
    result: dict[str, Any] = task().to_dict()
    return result
