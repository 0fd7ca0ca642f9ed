"""An ONNX Runtime session of an encoder, and the exchange of its weights between two frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crwedge.core.errors import BundleError


class Session:
    """A session made from the very bytes whose hash was checked, never from a path.

    `refit` may run in any thread: the new session is made beside the old one, and the change is one assignment, so no
    frame waits for it. A frame that is being computed ends on the session it began with.
    """

    def __init__(self, ort: Any, onnx: bytes, name: str, options: Any, providers: Sequence[Any]) -> None:
        """Load the graph; BundleError when ONNX Runtime refuses it. `name` is what errors call the graph."""
        self._ort, self._name, self._options, self._providers = ort, name, options, list(providers)
        self.current = self._load(onnx)

    def refit(self, onnx: bytes) -> None:
        """Go on with the weights of another graph of the same inputs and outputs."""
        fresh = self._load(onnx)
        for side in ("get_inputs", "get_outputs"):
            old, new = (
                [(value.name, value.type, value.shape) for value in getattr(session, side)()]
                for session in (self.current, fresh)
            )
            if old != new:
                raise BundleError(f"the new weights do not fit the running engine: {new} is not {old}")
        self.current = fresh

    def _load(self, onnx: bytes) -> Any:
        try:
            return self._ort.InferenceSession(onnx, self._options, providers=self._providers)
        except Exception as error:
            reason = str(error).splitlines()[0][:200]
            raise BundleError(f"ONNX Runtime cannot load {self._name}: {reason}; export it again") from error
