"""A TensorRT that builds nothing: the names that the exporter uses, and a record of what was asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


def fake(version: str = "10.3.0", sides: tuple[int, int] = (-1, -1), refit_works: bool = True) -> Any:
    """A module; `asked` holds what happened."""
    asked: list[Any] = []

    class Parser:
        num_errors = 1

        def __init__(self, network: Any, logger: Any) -> None:
            self.logger = logger

        def parse(self, data: bytes) -> bool:
            asked.append(("parse", len(data)))
            return data != b"bad"

        def get_error(self, index: int) -> Any:
            return SimpleNamespace(desc=lambda: "Assertion failed:\nno such operator")

    class Config:
        progress_monitor: Any = None
        flags: set[str]

        def __init__(self) -> None:
            self.flags = set()

        def set_flag(self, flag: str) -> None:
            self.flags.add(flag)
            asked.append(("flag", flag))

        def set_memory_pool_limit(self, pool: str, size: int) -> None:
            asked.append((pool, size))

        def add_optimization_profile(self, profile: Any) -> None:
            asked.append(("profile", profile.shapes))

        def create_timing_cache(self, data: bytes) -> Any:
            asked.append(("timings", data))
            if data == b"damaged":
                raise RuntimeError("damaged")
            return SimpleNamespace(serialize=lambda: b"timings")

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            self.cache = cache
            return not ignore_mismatch

        def get_timing_cache(self) -> Any:
            return self.cache

    class Builder:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def create_network(self, flags: int) -> Any:
            asked.append(("network", flags))
            return SimpleNamespace(
                num_layers=5, get_input=lambda _: SimpleNamespace(name="frames", shape=(1, *sides, 3))
            )

        def create_builder_config(self) -> Config:
            return Config()

        def create_optimization_profile(self) -> Any:
            profile = SimpleNamespace()
            profile.set_shape = lambda name, *shapes: setattr(profile, "shapes", (name, *shapes))
            return profile

        def build_serialized_network(self, network: Any, config: Config) -> bytes | None:
            asked.append(("build",))
            if "REFIT" in config.flags and not refit_works:
                self.logger.log(1, "no refit here")
                return None
            config.progress_monitor.phase_start("Building", None, 2)
            config.progress_monitor.step_complete("Building", 0)
            config.progress_monitor.phase_finish("Building")
            return b"engine of " + version.encode()

    class Logger:
        Severity = SimpleNamespace(WARNING=2)

    class Monitor:
        pass

    return SimpleNamespace(
        __version__=version,
        asked=asked,
        Builder=Builder,
        OnnxParser=Parser,
        ILogger=Logger,
        IProgressMonitor=Monitor,
        BuilderFlag=SimpleNamespace(REFIT="REFIT"),
        MemoryPoolType=SimpleNamespace(WORKSPACE="WORKSPACE"),
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
    )
