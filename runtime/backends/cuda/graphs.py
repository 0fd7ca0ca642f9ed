"""Steps that are recorded once and launched again: CUDA graphs, by what they were recorded for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from crwedge.runtime.backends.cuda.driver import Driver
from crwedge.runtime.backends.cuda.errors import DeviceError, quiet_when_lost

_KEPT = 16
"""Graphs kept at most: two buffers of frames, a few neighbourhoods, a label more or less."""


class Graphs:
    """The graphs of one stream.

    Work of a new key is queued as it is the first time: libraries make ready then what they could not make ready while
    being recorded (TensorRT asks for it after every change of its input's shape). The second time it is recorded, and
    from then on the graph is launched. Where recording fails, the work is queued as it is for good, which is said once.
    """

    def __init__(self, driver: Driver, stream: int, what: str, say: Callable[[str], None], use: bool = True) -> None:
        """No graph yet.

        Args:
            driver: the device.
            stream: where work is queued.
            what: the work's name, for the message.
            say: told, in one line, that it cannot be recorded, and why.
            use: whether to record at all.
        """
        self.driver, self.stream, self.use = driver, stream, use
        self._what, self._say = what, say
        self._graphs: OrderedDict[Hashable, int] = OrderedDict()

    def run(self, key: Hashable, work: Callable[[], None]) -> bool:
        """Queue `work`, by its graph where there is one; False when it cannot be recorded, and nothing was queued.

        Args:
            key: tells whether the work is the same as before: every address, size and number that goes into it.
            work: queues kernels and copies on the stream, between pinned memory and the device alone.
        """
        if not self.use:
            return False
        graph = self._graphs.get(key)
        if graph is None:
            self._graphs[key] = 0
            self._drop_oldest()
            work()
            return True
        if not graph:
            try:
                graph = self._graphs[key] = self._record(work)
            except DeviceError as error:
                if error.lost:
                    raise
                self.use = False
                self._say(f"{self._what} not recorded as a CUDA graph, and launched one by one: {error}")
                return False
        self._graphs.move_to_end(key)
        self.driver.launch_graph(graph, self.stream)
        return True

    @property
    def recorded(self) -> int:
        """How many graphs there are."""
        return sum(graph != 0 for graph in self._graphs.values())

    def clear(self) -> None:
        """Forget all graphs; the stream has to be through with them."""
        while self._graphs:
            _, graph = self._graphs.popitem()
            self._free(graph)

    def _record(self, work: Callable[[], None]) -> int:
        self.driver.begin_capture(self.stream)
        try:
            work()
        except BaseException:
            self.driver.abandon_capture(self.stream)
            raise
        return self.driver.end_capture(self.stream)

    def _drop_oldest(self) -> None:
        while len(self._graphs) > _KEPT:
            _, graph = self._graphs.popitem(last=False)
            self._free(graph)

    def _free(self, graph: int) -> None:
        if graph:
            with quiet_when_lost():
                self.driver.free_graph(graph)
