"""Workers on a Ray cluster: one task a video. Ray schedules them, and gives those of a worker that died to another one.

The driver alone writes the manifest. Results and inputs lie on storage that every node reaches: a shared folder, or a URI.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from crwedge.batch.events import Event, Finished, Idle, Released, Started
from crwedge.batch.job import Job
from crwedge.batch.open import open_results
from crwedge.batch.results import Record, Results
from crwedge.batch.runner import Runner, committed, new_run, problem_record
from crwedge.core.errors import SettingError
from crwedge.core.optional import import_optional
from crwedge.runtime.frame_queue import StopToken

LOCAL = "local"
_PATIENCE = 10.0
"""Seconds that a cluster has to take a connection."""
_TICK = 0.5
"""Seconds between two looks at the stop token."""


class RayPool:
    """Tasks with stated resources and retries.

    Args:
        results: where results go.
        address: of a cluster, `auto` for the one of this machine, or `local` for one that is started and ended here.
        threads: CPUs of each task.
        gpus: GPUs of each task; a part of one is possible.
        retries: how often Ray starts a task again whose worker died.
        cpus: CPUs of a `local` cluster; by default all.
    """

    def __init__(
        self,
        results: Results,
        address: str,
        threads: int = 1,
        gpus: float = 0.0,
        retries: int = 2,
        cpus: int | None = None,
    ) -> None:
        self._results, self._address, self._threads, self._gpus = results, address, threads, gpus
        self._retries, self._cpus = retries, cpus

    def run(self, jobs: Sequence[Job], stop: StopToken) -> Iterator[Event]:
        """See `Pool.run`. Twice as many tasks as fit are handed to Ray, so that a stop leaves few of them."""
        run = new_run()
        with self._connected() as ray:
            slots = self._slots(ray)
            follow = ray.remote(num_cpus=self._threads, num_gpus=self._gpus, max_retries=self._retries)(_follow)
            waiting = list(reversed(jobs))
            running: dict[Any, Job] = {}
            while waiting or running:
                if stop.is_set():
                    yield from (Released(job.name) for job in waiting)
                    waiting.clear()
                while waiting and len(running) < 2 * slots:
                    job = waiting.pop()
                    running[follow.remote(job, self._results.where, self._threads, run)] = job
                    yield Started(job.name)
                ready, _ = ray.wait(list(running), timeout=_TICK)
                for task in ready:
                    yield Finished(self._record(ray, task, running.pop(task), run))
                yield Idle()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        local = self._address == LOCAL
        # Read when Ray is imported, and by the processes that it starts: nothing is sent about this run.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        if local:
            # Ray listens on every interface; without the token nobody is heard.
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        ray = import_optional("ray", extra="cluster")
        self._check_address()
        with contextlib.ExitStack() as stack:
            more: dict[str, Any] = {}
            if local:
                # Its parts speak over loopback. (It would replace 127.0.0.1 by an address of the network.)
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="crw-", ignore_cleanup_errors=True))
                more = {"num_cpus": self._cpus, "include_dashboard": False, "_temp_dir": folder}
                more["_node_ip_address"] = "127.0.0.2"
            try:
                ray.init(address=self._address, log_to_driver=False, logging_level="ERROR", **more)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise SettingError(f"--ray {self._address}: {' '.join(str(error).split())[:200]}") from error
            stack.callback(ray.shutdown)
            yield ray

    def _check_address(self) -> None:
        """Refuse an address where nobody answers: Ray would try for minutes."""
        host, colon, port = self._address.removeprefix("ray://").rpartition(":")
        if not colon:
            return
        try:
            socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
        except (OSError, ValueError) as error:
            raise SettingError(
                f"--ray {self._address}: no cluster answers ({error}); `ray status` on the cluster shows its address"
            ) from error

    def _slots(self, ray: Any) -> int:
        """How many tasks fit the cluster; SettingError where none does."""
        there = ray.cluster_resources()
        for kind, wanted in (("CPU", self._threads), ("GPU", self._gpus)):
            if wanted and there.get(kind, 0) < wanted:
                raise SettingError(
                    f"each video asks for {wanted:g} {kind}, and the cluster has {there.get(kind, 0):g} in all: ask for "
                    f"less with {'--threads' if kind == 'CPU' else '--gpus'}"
                )
        fits = [there["CPU"] // self._threads] + ([there["GPU"] // self._gpus] if self._gpus else [])
        return max(1, int(min(fits)))

    def _record(self, ray: Any, task: Any, job: Job, run: str) -> Record:
        try:
            record: Record = ray.get(task)
            return record
        except ray.exceptions.RayError as error:
            if (done := committed(self._results, job, run)) is not None:
                return done
            attempts = self._retries + 1
            reason = f"its worker died {attempts} times, at last: {' '.join(str(error).split())[:200]}"
            return problem_record(job, reason, attempts)


def _follow(job: Job, out: str, threads: int, run: str) -> Record:
    """One task, in a process of Ray that is used for many."""
    with open_results(out).attend():
        return _runner(out, threads).run(job, run=run)


@cache
def _runner(out: str, threads: int) -> Runner:
    return Runner(open_results(out), threads)
