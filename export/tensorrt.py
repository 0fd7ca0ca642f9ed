"""ONNX to a TensorRT engine, with TensorRT 10.3 to 11.x or TensorRT for RTX; their Python API is the same.

The network is strongly typed: the graph defines what is float16 and int8. The builder's precision flags, which version 11
removed, are not used.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crwedge.core.engine_key import ANY_DEVICE, Profile
from crwedge.core.errors import BundleError, MissingExtraError, SettingError
from crwedge.core.optional import import_optional
from crwedge.export.onnx import INPUT
from crwedge.export.precision import to_signed_activations

OnProgress = Callable[[str, int, int], None]
"""Called with the name of a phase, its finished steps and its total steps."""


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build."""

    profile: Profile
    refittable: bool = True
    """Whether the weights can be replaced later, as test-time training does."""
    workspace_mb: int | None = None
    """Largest scratch memory of a layer, in MiB; None: TensorRT's default."""


@dataclass(frozen=True)
class Built:
    """Results of a build."""

    engine: bytes
    timing_cache: bytes
    """Makes the next build on the same device faster."""


def load_tensorrt(module: str) -> Any:
    """Import `tensorrt` or `tensorrt_rtx`; MissingExtraError says how to install it."""
    if module == "tensorrt_rtx":
        try:
            return import_optional(module, extra="tensorrt")
        except MissingExtraError as error:
            raise MissingExtraError("tensorrt_rtx is not installed: pip install tensorrt-rtx") from error
    return import_optional(module, extra="tensorrt")


def device(module: str) -> tuple[str, str]:
    """Compute capability and name of the GPU that engines are built for.

    TensorRT for RTX can build without a GPU, for all devices that it supports. TensorRT cannot.

    Raises:
        SettingError: `module` needs a GPU and there is none.
    """
    try:
        cuda = import_optional("pycuda.driver", extra="tensorrt")
        cuda.init()
        first = cuda.Device(0)
        major, minor = first.compute_capability()
        return f"{major}.{minor}", str(first.name())
    except Exception as error:
        if module == "tensorrt_rtx":
            return ANY_DEVICE, "any RTX device"
        raise SettingError(
            f"TensorRT builds an engine on the GPU that will run it, and no GPU can be used here ({error}); copy the "
            "bundle to the device and run `crwedge export BUNDLE --engine tensorrt` there, or use --engine onnx"
        ) from error


def check_graph(trt: Any, onnx: bytes) -> int:
    """Parse a graph without building it; returns the number of layers. BundleError when TensorRT refuses it."""
    lines: list[str] = []
    builder = trt.Builder(_logger(trt, lines))
    return int(_parse(trt, builder, onnx, lines)[0].num_layers)


def build_engine(
    trt: Any,
    onnx: bytes,
    options: BuildOptions,
    *,
    timing_cache: bytes = b"",
    on_progress: OnProgress = lambda *_: None,
) -> Built:
    """Build an engine.

    Args:
        trt: the module `tensorrt` or `tensorrt_rtx`.
        onnx: the graph, with any size or the single size of the profile.
        options: profile, memory, refit.
        timing_cache: that of an earlier build, or empty.
        on_progress: called with the progress.

    Raises:
        BundleError: the graph is refused, or the build failed.
    """
    lines: list[str] = []
    builder = trt.Builder(_logger(trt, lines))
    # The parser must outlive the build, because it owns the network's weights.
    network, parser = _parse(trt, builder, onnx, lines)
    config = builder.create_builder_config()
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    if options.refittable:
        config.set_flag(trt.BuilderFlag.REFIT)
    config.progress_monitor = _monitor(trt, on_progress)
    _set_profile(builder, config, network, options.profile)
    cache = _use_timing_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BundleError(f"TensorRT {trt.__version__} could not build the engine: {_last(lines)}")
    kept = _timings(config) if cache is not None else b""
    del parser
    return Built(bytes(memoryview(plan)), kept)


def _parse(trt: Any, builder: Any, onnx: bytes, lines: list[str]) -> tuple[Any, Any]:
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, builder.logger)
    if not parser.parse(to_signed_activations(onnx)):
        reasons = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors)) or _last(lines)
        raise BundleError(
            f"TensorRT {trt.__version__} refuses the graph: {' '.join(reasons.split())[:400]}; export again"
        )
    return network, parser


def _set_profile(builder: Any, config: Any, network: Any, profile: Profile) -> None:
    """Set the optimisation profile; a graph with a fixed size must have that of the profile."""
    first = network.get_input(0)
    shape = tuple(first.shape) if first is not None else ()
    if len(shape) != 4 or first.name != INPUT:
        raise BundleError(f"this is not the graph of an encoder: it has no input {INPUT} (N, H, W, 3); export it again")
    sides = shape[1:3]
    if -1 not in sides:
        if not profile.fixed or sides != profile.opt:
            raise SettingError(f"the graph takes {sides[0]}x{sides[1]} only, not {profile}; export it without --size")
        return
    shapes = builder.create_optimization_profile()
    shapes.set_shape(INPUT, *((1, *size, 3) for size in (profile.min, profile.opt, profile.max)))
    config.add_optimization_profile(shapes)


def _use_timing_cache(config: Any, data: bytes) -> Any:
    """Use the timing cache of an earlier build, or an empty one if it is damaged or of another version."""
    for start in (data, b""):
        # The bindings of TensorRT for RTX raise a deprecation warning here.
        with contextlib.suppress(RuntimeError, TypeError, ValueError), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            cache = config.create_timing_cache(start)
            if cache is not None and config.set_timing_cache(cache, False):
                return cache
    return None


def _timings(config: Any) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return bytes(memoryview(config.get_timing_cache().serialize()))


def _logger(trt: Any, lines: list[str]) -> Any:
    """A logger that appends warnings and errors to `lines`."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.Severity.WARNING):
                lines.append(message)

    return Log()


def _monitor(trt: Any, on_progress: OnProgress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.totals: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.totals[phase_name] = num_steps
            on_progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            on_progress(phase_name, step + 1, self.totals.get(phase_name, 0))
            return True

        def phase_finish(self, phase_name: str) -> None:
            total = self.totals.pop(phase_name, 0)
            on_progress(phase_name, total, total)

    return Monitor()


def _last(lines: list[str]) -> str:
    return " ".join(lines[-1].split())[:300] if lines else "it gave no reason"
