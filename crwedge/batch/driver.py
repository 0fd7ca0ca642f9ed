"""A whole batch: what is left to do, the pool that does it, the manifest that tells of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from crwedge.batch.events import Event, Finished, Released, Started
from crwedge.batch.job import Job
from crwedge.batch.manifest import Manifest
from crwedge.batch.results import MANIFEST, Record, Results
from crwedge.batch.resume import remaining
from crwedge.runtime.frame_queue import StopToken

_FAILURES_TOLD = 20


class Pool(Protocol):
    """What follows many videos at once."""

    def run(self, jobs: Sequence[Job], stop: StopToken) -> Iterator[Event]:
        """Follow all videos, in any order; tells of each that it is finished or released."""
        ...


@dataclass(frozen=True)
class Summary:
    """What came of a batch."""

    videos: int
    done: int
    """Videos whose results stand now."""
    skipped: int
    """Those of them that were done before."""
    failed: int
    waiting: int
    """Not begun, because the batch was stopped."""
    frames: int
    """Labelled in this run."""
    seconds: float
    manifest: str
    failures: dict[str, str]
    """The first errors, by name of the video."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rate = round(self.frames / self.seconds, 3) if self.seconds else 0.0
        return {**vars(self), "seconds": round(self.seconds, 3), "fps": rate}


def run_batch(
    jobs: Sequence[Job],
    results: Results,
    open_pool: Callable[[int], Pool],
    *,
    overwrite: bool = False,
    on_plan: Callable[[int, int], None] = lambda todo, done: None,
    on_event: Callable[[Event], None] = lambda event: None,
    stop: StopToken | None = None,
) -> Summary:
    """Follow all videos that are not done yet. This process alone writes the manifest.

    Args:
        jobs: one for each video, see `make_jobs`.
        results: where results go.
        open_pool: makes the pool for a number of jobs.
        overwrite: see `remaining`.
        on_plan: told how many videos are to be followed, and how many are done already.
        on_event: told of everything that happens.
        stop: no video is begun after it is set; those that are begun finish.

    Raises:
        UserError: another batch works there, results of other settings stand there, or the manifest cannot be written.
    """
    stop = stop or StopToken()
    begin = time.perf_counter()
    with results.hold():
        rest = remaining(jobs, results, overwrite)
        manifest = Manifest(results, jobs)
        for record in rest.done:
            manifest.set(record)
        for job in rest.todo:
            manifest.set(_waiting(job))
        manifest.flush(now=True)
        on_plan(len(rest.todo), len(rest.done))
        try:
            by_name = {job.name: job for job in rest.todo}
            for event in open_pool(len(rest.todo)).run(rest.todo, stop) if rest.todo else ():
                if isinstance(event, Started):
                    manifest.set({**by_name[event.name].to_dict(), "state": "running", "attempts": event.attempt})
                elif isinstance(event, Released):
                    manifest.set(_waiting(by_name[event.name]))
                elif isinstance(event, Finished):
                    manifest.set(event.record)
                manifest.flush()
                on_event(event)
        finally:
            for name in [job.name for job in rest.todo if manifest[job.name]["state"] == "running"]:
                manifest.set(_waiting(by_name[name]))
            manifest.flush(now=True)
    return _summary(jobs, rest.done, manifest, time.perf_counter() - begin, f"{results.where}/{MANIFEST}")


def _waiting(job: Job) -> Record:
    return {**job.to_dict(), "state": "waiting"}


def _summary(jobs: Sequence[Job], skipped: Sequence[Record], manifest: Manifest, seconds: float, where: str) -> Summary:
    lines = [manifest[job.name] for job in jobs]
    states = [line["state"] for line in lines]
    old = {record["name"] for record in skipped}
    failures = {line["name"]: line["error"] for line in lines if line["state"] == "failed"}
    return Summary(
        videos=len(jobs),
        done=states.count("done"),
        skipped=len(skipped),
        failed=len(failures),
        waiting=len(jobs) - states.count("done") - len(failures),
        frames=sum(line["frames"] for line in lines if line["state"] == "done" and line["name"] not in old),
        seconds=seconds,
        manifest=where,
        failures=dict(list(failures.items())[:_FAILURES_TOLD]),
    )
