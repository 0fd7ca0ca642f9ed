"""Worker processes on this machine: they may die at any moment, and their videos are given to others."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from crwedge.batch.events import Advanced, Event, Finished, Idle, Released, Started
from crwedge.batch.job import Job
from crwedge.batch.machine import Machine, resident_mb
from crwedge.batch.results import Results
from crwedge.batch.runner import committed, new_run, problem_record
from crwedge.batch.worker import serve
from crwedge.runtime.frame_queue import StopToken

_TICK = 0.25
"""Seconds between two looks at memory and at the stop token."""

_LEAVE_S = 5.0
"""Seconds that a worker without a video has for its end."""


class LocalPool:
    """Processes that are started with a fresh interpreter, one engine each, and used for one video after the other.

    Args:
        results: where results go.
        machine: how many workers, and what each may take.
        retries: how often a video is tried again whose worker died.
    """

    def __init__(self, results: Results, machine: Machine, retries: int = 2) -> None:
        self._results, self.machine, self._retries = results, machine, retries
        self._run = new_run()

    def run(self, jobs: Sequence[Job], stop: StopToken) -> Iterator[Event]:
        """Follow all videos; a set `stop` lets those that are begun finish. Leaving the iteration ends the workers.

        Args:
            jobs: they are begun in this order.
            stop: no video is begun after it is set.

        Yields:
            What happens, and `Idle` several times a second.
        """
        waiting = deque((job, 1) for job in jobs)
        workers: list[_Worker] = []
        try:
            while waiting or any(worker.job for worker in workers):
                if stop.is_set():
                    yield from (Released(job.name) for job, _ in waiting)
                    waiting.clear()
                while waiting and (worker := self._free(workers)) is not None:
                    job, attempt = waiting.popleft()
                    worker.give(job, attempt, self._run)
                    yield Started(job.name, attempt, worker.process.pid)
                busy = {worker.connection: worker for worker in workers if worker.job}
                ready = wait(list(busy), timeout=_TICK)
                for connection in ready:
                    yield from self._hear(busy[connection], waiting, stop)  # type: ignore[index]
                self._watch_memory(workers)
                workers = [worker for worker in workers if not worker.dead]
                yield Idle()
        finally:
            for worker in workers:
                worker.leave()
            for worker in workers:
                worker.end()

    def _free(self, workers: list[_Worker]) -> _Worker | None:
        """A worker without a video; a new one where there may be more."""
        for worker in workers:
            if worker.job is None and not worker.dead:
                return worker
        if len(workers) >= self.machine.workers:
            return None
        workers.append(_Worker(self._results.where, self.machine.threads))
        return workers[-1]

    def _hear(self, worker: _Worker, waiting: deque[tuple[Job, int]], stop: StopToken) -> Iterator[Event]:
        """One message of a worker, or its death."""
        job = worker.job
        assert job is not None
        try:
            message: Any = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._bury(worker, job, waiting, stop)
            return
        if message[0] == "advanced":
            yield Advanced(job.name, message[1], message[2])
        else:
            worker.job = None
            yield Finished(message[1])

    def _bury(self, worker: _Worker, job: Job, waiting: deque[tuple[Job, int]], stop: StopToken) -> Iterator[Event]:
        worker.end()
        if (record := committed(self._results, job, self._run)) is not None:
            # It died between its last step and its answer.
            yield Finished(record)
        elif worker.verdict:
            yield Finished(problem_record(job, worker.verdict, worker.attempt))
        elif worker.attempt > self._retries:
            reason = f"its worker died {worker.attempt} times, the last time of {_cause(worker.process.exitcode)}"
            yield Finished(problem_record(job, reason, worker.attempt))
        elif stop.is_set():
            yield Released(job.name)
        else:
            waiting.appendleft((job, worker.attempt + 1))

    def _watch_memory(self, workers: list[_Worker]) -> None:
        limit = self.machine.worker_mb
        for worker in workers:
            if worker.job and worker.process.pid and (taken := resident_mb(worker.process.pid)) > limit:
                worker.verdict = (
                    f"it took {taken:.0f} MB and a worker may take {limit:.0f} MB: give --workers "
                    f"{max(1, self.machine.workers - 1)}, a larger --memory or a smaller --set size=HEIGHTxWIDTH"
                )
                worker.process.kill()


class _Worker:
    """A worker process and the video that it follows."""

    def __init__(self, out: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, out, threads), name="crwedge-worker", daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | None = None
        self.attempt = 0
        self.verdict = ""
        """Why it was ended by us."""
        self.dead = False

    def give(self, job: Job, attempt: int, run: str) -> None:
        """Send a job. A worker that has died is noticed when its answer is waited for."""
        self.job, self.attempt = job, attempt
        with contextlib.suppress(OSError):
            self.connection.send((job, attempt, run))

    def leave(self) -> None:
        """Let a worker without a video close its engine and end."""
        if self.job is None and not self.dead:
            with contextlib.suppress(OSError):
                self.connection.send(None)
                self.process.join(_LEAVE_S)

    def end(self) -> None:
        """End the process now; what it was writing is dropped."""
        self.dead, self.job = True, None
        self.process.kill()
        self.process.join()
        self.connection.close()


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
