"""How many workers a machine takes, by its processors and its memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crwedge.core.errors import SettingError
from crwedge.runtime.propagation.attention import cpu_count

WORKER_MB = 1000
"""Memory that is planned for a worker. Measured peaks at 480 x 854 and 1080 x 1920: 300 and 390 MB with the preset edge, 400
and 980 MB with crw."""
_SHARE = 0.8
"""Part of the free memory that a batch takes unless told otherwise."""


@dataclass(frozen=True)
class Machine:
    """What the workers of a batch may take."""

    workers: int
    threads: int
    """Of each worker."""
    worker_mb: float
    """Memory of each worker; one that takes more is ended."""


def size_machine(
    jobs: int, workers: int | None = None, threads: int | None = None, memory_mb: float | None = None
) -> Machine:
    """Choose the number of workers.

    Args:
        jobs: number of videos.
        workers: by default one a processor, as far as the memory goes.
        threads: of each worker; by default its share of the processors.
        memory_mb: for all workers together; by default 80 % of what is free now.

    Raises:
        SettingError: a number below one.
    """
    for name, value in (("--workers", workers), ("--threads", threads), ("--memory", memory_mb)):
        if value is not None and value < 1:
            raise SettingError(f"{name} is {value:g}; it must be 1 or more")
    total = memory_mb or _SHARE * available_mb()
    count = workers or min(cpu_count() // (threads or 1), int(total // WORKER_MB))
    count = max(1, min(count, jobs))
    return Machine(count, threads or max(1, cpu_count() // count), total / count)


def available_mb() -> float:
    """Memory that is free now, of the machine or of the container, whichever is less."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return 4.0 * WORKER_MB
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        free = min(free, (limit - int((group / "memory.current").read_text())) / (1 << 20))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        pass
    return max(free, 1.0)


def resident_mb(pid: int) -> float:
    """Memory that a process holds now; 0 where it is gone or the system does not say."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except (OSError, ValueError):
        pass
    return 0.0
