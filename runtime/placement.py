"""Where propagation happens: on the CPU, or on the device that encodes, which label maps alone then leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import resize_frame
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.engine import Engine, ResidentEngine, Size, resident
from crwedge.runtime.propagation.context import ContextBuffer
from crwedge.runtime.propagation.propagator import LabelPropagator, labels_to_ids

Features = NDArray[np.float32]
"""(C, h, w). On a device these are `DeviceFeatures`, which numpy can read like an array."""


Ahead = Callable[[], "NDArray[np.uint8] | None"]
"""The frame that waits, RGB uint8 (H, W, 3), or None."""


class Propagate(Protocol):
    """What follows the settings it was made with, frame by frame."""

    def __call__(self, features: Features, context: ContextBuffer) -> NDArray[np.float32]:
        """Soft labels (K, h, w) of a frame; see `LabelPropagator`."""
        ...

    def measure(self, on: bool = True) -> None:
        """Keep the entropy of the top-k weights of each call in `spread`; on the CPU alone."""
        ...

    @property
    def spread(self) -> NDArray[np.float32] | None:
        """(h * w,) what `measure` asked for, at the last call."""
        ...

    def close(self) -> None:
        """End the threads, where there are any."""
        ...


class Placement(Protocol):
    """The four things that differ between the CPU and a device."""

    context: ContextBuffer
    ahead: Ahead
    """Asked, while a device computes, for the frame that will probably be the next; never on the CPU."""

    def encode(self, engine: Engine, frame: NDArray[np.uint8], size: Size | None) -> Features:
        """Features of RGB uint8 (H, W, 3), computed at `size`."""
        ...

    def propagator(self, settings: PropagationSettings) -> Propagate:
        """What labels frames from the context; several may be made, with different settings."""
        ...

    def ids(self, soft: NDArray[np.float32], object_ids: tuple[int, ...], size: Size) -> NDArray[np.uint8]:
        """Ids (H, W) of the frame last labelled or pinned."""
        ...


def open_placement(
    engine: Engine, settings: PropagationSettings, workers: int | None = None, on_cpu: bool = False
) -> Placement:
    """On the engine's device where it has one, else on the CPU.

    Args:
        engine: the encoder.
        settings: the protocol.
        workers: threads on the CPU.
        on_cpu: stay there whatever the engine is, for what only the CPU can do: estimates of trust, and features that
            are computed again.
    """
    on_device = None if on_cpu else resident(engine)
    return OnHost(settings, workers) if on_device is None else OnDevice(on_device, settings)


class OnHost:
    """Everything in the host's memory."""

    def __init__(self, settings: PropagationSettings, workers: int | None = None) -> None:
        """See `open_placement`."""
        self.settings, self.workers = settings, workers
        self.ahead: Ahead = _nothing_waits
        self.context = ContextBuffer.from_settings(settings)

    def encode(self, engine: Engine, frame: NDArray[np.uint8], size: Size | None) -> Features:
        """See `Placement.encode`."""
        return engine.run(resize_frame(frame, size) if size else frame)

    def propagator(self, settings: PropagationSettings) -> LabelPropagator:
        """See `Placement.propagator`."""
        return LabelPropagator(settings, self.workers)

    def ids(self, soft: NDArray[np.float32], object_ids: tuple[int, ...], size: Size) -> NDArray[np.uint8]:
        """See `Placement.ids`."""
        return labels_to_ids(soft, object_ids, size, self.settings.output_norm)


class OnDevice:
    """Features, context and label maps in the memory of the engine's device."""

    def __init__(self, engine: ResidentEngine, settings: PropagationSettings) -> None:
        """See `open_placement`."""
        from crwedge.runtime.backends.cuda.propagator import DevicePropagator

        self._driver, self._engine = engine.driver, engine
        self.ahead: Ahead = _nothing_waits
        self._device = DevicePropagator(
            engine.driver, settings, engine.stream, say=engine.say, meanwhile=self._send_ahead
        )
        self.context: ContextBuffer = self._device

    def encode(self, engine: Engine, frame: NDArray[np.uint8], size: Size | None) -> Features:
        """See `Placement.encode`. An engine elsewhere, as one with new weights may be, sends its features here."""
        here = resident(engine)
        if here is None or here.driver is not self._driver:
            return engine.run(resize_frame(frame, size) if size else frame)
        self._engine = here
        # The first frame shows whether the device has the memory; `auto` can still go on elsewhere then.
        features: Any = here.run_resident(frame, size, later=not self.context.empty)
        if self.context.empty:
            self._device.reserve(features.shape)
        return cast(Features, features)

    def propagator(self, settings: PropagationSettings) -> Propagate:
        """See `Placement.propagator`."""
        return _OnThisDevice(settings)

    def ids(self, soft: NDArray[np.float32], object_ids: tuple[int, ...], size: Size) -> NDArray[np.uint8]:
        """See `Placement.ids`."""
        return self._device.ids(object_ids, size)

    def _send_ahead(self) -> None:
        """The device is busy with a frame: let the copy of the next one go beside it."""
        frame = self.ahead()
        if frame is not None:
            self._engine.prefetch(frame)


def _nothing_waits() -> None:
    return None


class _OnThisDevice:
    def __init__(self, settings: PropagationSettings) -> None:
        self._settings = settings

    def __call__(self, features: Features, context: ContextBuffer) -> NDArray[np.float32]:
        from crwedge.runtime.backends.cuda.propagator import DevicePropagator

        assert isinstance(context, DevicePropagator)
        return context.propagate(features, self._settings)

    def measure(self, on: bool = True) -> None:
        """Nothing is measured here; `open_placement(on_cpu=True)` is for that."""

    @property
    def spread(self) -> NDArray[np.float32] | None:
        return None

    def close(self) -> None:
        """Nothing to end."""
