"""Device memory of one owner: blocks that are used again, and scratch memory by name."""

from __future__ import annotations

import contextlib
from collections import defaultdict, deque

from crwedge.runtime.backends.cuda.driver import Driver
from crwedge.runtime.backends.cuda.errors import DeviceError, quiet_when_lost


class Block:
    """Device memory that returns to its pool when the last reference to it goes, in whichever thread."""

    def __init__(self, address: int, size: int, memory: DeviceMemory) -> None:
        self.address, self.size = address, size
        self._memory = memory

    def __del__(self) -> None:
        self._memory.give_back(self.address, self.size)


class DeviceMemory:
    """A pool of device memory for the work of one stream.

    A block may be taken again while a kernel that is queued still reads it: what writes to it is queued later on the same
    stream.

    Args:
        driver: the device.
        stream: where everything that uses the memory is queued.
    """

    def __init__(self, driver: Driver, stream: int) -> None:
        self.driver, self.stream = driver, stream
        self._sizes: dict[int, int] = {}
        self._free: defaultdict[int, deque[int]] = defaultdict(deque)
        self._scratch: dict[str, Block] = {}
        self._closed = False

    @property
    def nbytes(self) -> int:
        """Bytes taken from the device, in use or not."""
        return sum(self._sizes.values())

    def take(self, size: int) -> Block:
        """A block of `size` bytes; its content is undefined.

        Raises:
            DeviceError: out of device memory.
        """
        free = self._free[size]
        try:
            return Block(free.pop(), size, self)
        except IndexError:
            pass
        try:
            address = self.driver.allocate(size)
        except DeviceError as error:
            if error.lost:
                raise
            self.trim()
            address = self.driver.allocate(size)
        self._sizes[address] = size
        return Block(address, size, self)

    def reserve(self, size: int, count: int) -> None:
        """Have `count` blocks of `size` bytes ready, so that a lack of memory shows now."""
        blocks = [self.take(size) for _ in range(count)]
        del blocks

    def scratch(self, name: str, size: int) -> int:
        """Address of the memory `name` of at least `size` bytes; growing loses its content."""
        block = self._scratch.get(name)
        if block is None or block.size < size:
            if block is not None:
                old = self._scratch.pop(name).size
                del block
                self.trim(old)
            self._scratch[name] = block = self.take(size)
        return block.address

    def trim(self, size: int | None = None) -> None:
        """Give the blocks that nothing uses, or those of one size, back to the device."""
        with quiet_when_lost():
            self.driver.synchronise(self.stream)
        for free in self._free.values() if size is None else [self._free[size]]:
            while free:
                address = free.pop()
                del self._sizes[address]
                with quiet_when_lost():
                    self.driver.free(address)

    def clear(self) -> None:
        """Give everything back that is not held outside."""
        self._scratch.clear()
        self.trim()

    def close(self) -> None:
        """Give everything back, what is still held outside as soon as it is dropped."""
        self._closed = True
        self.clear()

    def give_back(self, address: int, size: int) -> None:
        """A block of `take` is not used any more. Any thread may call: appending to a deque is atomic."""
        self._free[size].append(address)
        if self._closed:
            # With the driver closed too, the memory is gone already.
            with contextlib.suppress(DeviceError):
                self.trim()
