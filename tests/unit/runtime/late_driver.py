"""A stand-in for a device whose streams run as late, or as early, as they may: what only works by luck fails here."""

from __future__ import annotations

from collections import deque
from ctypes import Structure
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.runtime.backends.cuda.host import HostDriver


class LateDriver(HostDriver):
    """Work waits in its stream until somebody waits for it.

    With `early` only the first stream made is late, and all others run at once but for the events they wait for. Memory that
    is given back while work that uses it still waits is an error here.
    """

    def __init__(self, early: bool = False) -> None:
        super().__init__()
        self.log: list[str] = []
        """Calls that matter for the order: kernels, copies by their stream, graphs, waits of the host."""
        self._early = early
        self._queues: dict[int, deque[tuple[str, Any, Any]]] = {0: deque()}
        self._passed: set[object] = set()
        self._marks: dict[int, tuple[int, object]] = {}
        self._on = 0

    def stream(self) -> int:
        number = 10 + len(self._queues)
        self._queues[number] = deque()
        return number

    def upload(self, address: int, source: NDArray[Any], stream: int) -> None:
        self._note(f"upload {source.nbytes}", stream)
        super().upload(address, source, stream)

    def download(self, target: NDArray[Any], address: int, stream: int) -> None:
        self._note("download", stream)
        super().download(target, address, stream)

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        self._note("copy", stream)
        super().copy(target, source, size, stream)

    def fill(self, address: int, value: int, size: int, stream: int) -> None:
        self._note("fill", stream)
        super().fill(address, value, size, stream)

    def launch(self, kernel: Any, grid: Any, threads: int, shared: int, params: Structure, stream: int) -> None:
        self._note(str(kernel.__name__), stream)
        super().launch(kernel, grid, threads, shared, params, stream)

    def launch_graph(self, graph: int, stream: int) -> None:
        self._note("graph", stream)
        super().launch_graph(graph, stream)

    def call(self, function: Any, stream: int) -> None:
        self._note("call", stream)
        super().call(function, stream)

    def record(self, event: int, stream: int) -> None:
        super().record(event, stream)
        mark = object()
        self._marks[event] = stream, mark
        self._queues[stream].append(("mark", mark, None))
        self._run_early(stream)

    def wait(self, stream: int, event: int) -> None:
        super().wait(stream, event)
        if event in self._marks:
            self._queues[stream].append(("wait", self._marks[event], None))

    def await_event(self, event: int) -> None:
        super().await_event(event)
        if event in self._marks:
            self._run_stream(*self._marks[event])

    def synchronise(self, stream: int) -> None:
        super().synchronise(stream)
        self.log.append(f"synchronise {stream}")
        self._run_stream(stream)

    def free(self, address: int) -> None:
        self._refuse_used(address, self._memory[address].nbytes)
        super().free(address)

    def unpin(self, array: NDArray[Any]) -> None:
        self._refuse_used(array.ctypes.data, array.nbytes)
        super().unpin(array)

    def _note(self, what: str, stream: int) -> None:
        self.log.append(f"{what} on {stream}" if self._recording is None else f"recorded {what}")
        self._on = stream

    def _do(self, function: Any, *arguments: Any, keep: Any = None) -> None:
        if self._recording is not None:
            super()._do(function, *arguments, keep=keep)
        else:
            self._queues[self._on].append(("work", (function, arguments), keep))
            self._run_early(self._on)

    def _run_early(self, stream: int) -> None:
        queue = self._queues[stream]
        late = not self._early or stream == min(number for number in self._queues if number)
        while queue and not late and (queue[0][0] != "wait" or queue[0][1][1] in self._passed):
            self._next(queue)

    def _run_stream(self, stream: int, until: object = None) -> None:
        queue = self._queues[stream]
        while queue and until not in self._passed:
            self._next(queue)

    def _next(self, queue: deque[tuple[str, Any, Any]]) -> None:
        kind, what, _ = queue[0]
        if kind == "wait" and what[1] not in self._passed:
            self._run_stream(*what)
        queue.popleft()
        if kind == "mark":
            self._passed.add(what)
        elif kind == "work":
            function, arguments = what
            function(*arguments)

    def _refuse_used(self, address: int, size: int) -> None:
        for queue in self._queues.values():
            for kind, what, _ in queue:
                used = _numbers(what[1]) if kind == "work" else []
                assert not any(address <= number < address + size for number in used), "memory given back while in use"


def _numbers(arguments: Any) -> list[int]:
    found: list[int] = []
    for value in arguments:
        if isinstance(value, int):
            found.append(value)
        elif isinstance(value, Structure):
            fields = [getattr(value, name) for name, *_ in value._fields_]
            found += [field for field in fields if isinstance(field, int)]
    return found


def held(frame: NDArray[np.uint8], address: int, driver: HostDriver, stream: int) -> NDArray[np.uint8]:
    """What lies at `address` by the time the stream gets there."""
    have = np.zeros_like(frame)
    driver.download(have, address, stream)
    return have
