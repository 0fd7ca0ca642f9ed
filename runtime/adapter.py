"""Test-time training as the runtime knows it: a protocol, no PyTorch."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.labels import LabelMap
from crwedge.runtime.engine import Engine


class Adapter(Protocol):
    """Watches the stream and now and then hands over an engine with new weights."""

    def observe(self, frame: NDArray[np.uint8], labels: LabelMap) -> Engine | None:
        """Called once for each frame, after it was labelled.

        Args:
            frame: RGB uint8 (H, W, 3).
            labels: what the tracker said of it.

        Returns:
            An engine to use from the next frame on, or None to go on with the present one.
        """
        ...

    def close(self) -> None:
        """Stop whatever runs."""
        ...
