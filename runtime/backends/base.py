"""The interface between the tracker and the device that computes.

A backend encodes frames, holds the context, and labels frames from it. Features, context and soft labels stay where the
backend computes; only what is asked for comes to the host. `CpuBackend` and `CudaBackend` are chosen in `open.py` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.engine import Engine
from crwedge.runtime.propagation.confidence import Signs
from crwedge.runtime.propagation.view import View

Size = tuple[int, int]


class Features(Protocol):
    """Features of one frame: an array, or a buffer of a device."""

    @property
    def view(self) -> View:
        """The part of the frame that they belong to."""
        ...

    @property
    def channels(self) -> int:
        """C."""
        ...

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The frame they were computed from, RGB uint8 (H, W, 3)."""
        ...

    def numpy(self) -> NDArray[np.float32]:
        """(C, h, w) float32, unit length over C, on the host."""
        ...


class Prediction(Protocol):
    """Soft labels of one frame. It stays valid until it is remembered and falls out of the context, or is dropped."""

    @property
    def features(self) -> Features:
        """What was labelled."""
        ...

    @property
    def soft(self) -> NDArray[np.float32]:
        """(K, h, w) float32 on the host, the mean of `fine` in each cell; channel 0 is the background."""
        ...

    @property
    def fine(self) -> NDArray[np.float32]:
        """(K, h * s, w * s) float32 on the host, with s the `label_scale` of the settings; the same as `soft` for s = 1."""
        ...

    @property
    def support(self) -> NDArray[np.float32] | None:
        """(h, w) how alike the kept neighbours are to each cell, on the host; None where `Search.support` did not ask for it.

        The temperature x the logarithm of the sum of exp(similarity / temperature); -inf where there is no neighbour.
        """
        ...

    def ids(self, object_ids: tuple[int, ...], size: Size) -> NDArray[np.uint8]:
        """Ids (H, W) of a frame of `size`: linear resize, then the argmax; the background outside the view."""
        ...

    def confidence_signs(self) -> Sequence[Signs | None]:
        """Signs of each object, in the order of the channels, from the last pinned frame that shows it.

        None where no pinned frame shows it. The frame must have been found with `Search.entropy`.
        """
        ...


@dataclass(frozen=True)
class Search:
    """How the context is searched for one frame."""

    settings: PropagationSettings
    """Neighbourhood, k and temperature. The context itself is that of the backend's own settings."""
    newest: int | None = None
    """Largest number of ring places to compare; None for all."""
    entropy: bool = False
    """Whether the entropy of the top-k weights is kept, for `Prediction.confidence_signs`."""
    support: bool = False
    """Whether `Prediction.support` is kept."""


@dataclass(frozen=True)
class ContextState:
    """A copy of a context, for snapshots; the same on every backend."""

    tensors: dict[str, NDArray[Any]]
    """`features` (n, capacity, C) and `labels` (n, capacity, K * s * s) of the n slots in use, where unused cells are zero; and
    those of `ContextSlots.tensors`."""
    facts: dict[str, Any]
    """Plain values: see `ContextSlots.state`, and `slots`, the slot of each row."""


class Backend(Protocol):
    """Where the encoder and the propagation of one video run."""

    engine: Engine
    """What encodes."""
    settings: PropagationSettings
    """The protocol that the context was made for."""
    on_device: bool
    """Whether an NVIDIA device computes, whose memory may not suffice."""

    @property
    def empty(self) -> bool:
        """Whether the context holds no frame yet."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that the context takes."""
        ...

    def encode(self, frame: NDArray[np.uint8], view: View) -> Features:
        """Features of the view of an RGB uint8 frame (H, W, 3) of any size.

        Raises:
            SourceError: the encoder does not take pictures of the view's size.
            DeviceError: the device failed, and no other engine can go on.
        """
        ...

    def propagate(self, features: Features, search: Search) -> Prediction:
        """Label a frame from the context, which is not changed.

        Raises:
            CrwedgeError: the features are not finite.
        """
        ...

    def label(self, features: Features, soft: NDArray[np.float32]) -> Prediction:
        """A frame whose soft labels (K, h * s, w * s) come from outside: a prompt, or a prediction that was corrected."""
        ...

    def relabel(self, prediction: Prediction, soft: NDArray[np.float32]) -> Prediction:
        """The same frame with other soft labels (K, h * s, w * s); what was measured of it stays."""
        ...

    def remember(self, prediction: Prediction, *, pinned: bool, trust: float) -> None:
        """Add a frame to the context: to the ring, whose oldest frame falls out, or pinned, so that it stays.

        Args:
            prediction: made by this backend. Its K may be smaller than the context's: missing channels are zero.
            pinned: whether its labels come from a prompt. The ring is then reset.
            trust: 0 to 1, for `keep_trusted`.
        """
        ...

    def keep_trusted(self, trust: float, count: int) -> None:
        """Drop every frame of the ring but the `count` newest of at least this trust, and the copies that fill it."""
        ...

    def edit_labels(self, change: NDArray[np.float32]) -> None:
        """Labels of every context frame are multiplied with `change` (K, K'): adds, merges and drops channels."""
        ...

    def encode_again(self, known: Callable[[NDArray[np.uint8]], NDArray[np.float32] | None]) -> None:
        """Replace the features of every context frame, after the encoder's weights have changed; labels stay.

        Needs a backend that was made with `keep_frames`.

        Args:
            known: gives features (C, h, w) of a frame where they are already there; others are encoded here.
        """
        ...

    def rescale(self, view: View, cells: int) -> None:
        """Bring the context to the scale of a view: that of the next frame.

        The pinned frames are encoded again. Features of the ring's frames are resampled. Labels are resampled from those
        that each frame first had. A frame that would then have more than `cells` cells keeps those nearest to the view.
        """
        ...

    def use(self, engine: Engine) -> None:
        """Encode with another engine of the same network from here on; the one before it is closed."""
        ...

    def state(self) -> ContextState:
        """A copy of the context."""
        ...

    def restore(self, state: ContextState) -> None:
        """Go on from a state.

        Raises:
            ValueError: it is of other settings, or does not fit together.
        """
        ...

    def clear(self) -> None:
        """Forget the context and give its memory back."""
        ...

    def close(self) -> None:
        """Give back threads, memory and the engine."""
        ...
