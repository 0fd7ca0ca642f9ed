"""A tracker's state: collected for a snapshot, and compared with the tracker that goes on from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crwedge.core.errors import CrwedgeError
from crwedge.runtime.backends.base import Backend, ContextState
from crwedge.runtime.locator import Locator
from crwedge.runtime.ops.snapshot import SnapshotError, State, plain


def collect_state(backend: Backend, locator: Locator | None, facts: Mapping[str, Any]) -> State:
    """The context, what chooses the region, and plain values, copied.

    Raises:
        CrwedgeError: nothing was labelled yet.
    """
    if backend.empty:
        raise CrwedgeError("there is nothing to save before the first frame")
    context = backend.state()
    located = locator.state() if locator is not None else ContextState({}, {})
    known = {"context": context.facts, "locator": located.facts, **facts}
    return State({**context.tensors, **located.tensors}, plain(known))


def restore_context(backend: Backend, state: State, identity: Mapping[str, Any]) -> None:
    """Give a backend the context of a state.

    Args:
        backend: its own context is forgotten.
        state: what was kept.
        identity: what the state must agree with.

    Raises:
        SnapshotError: the state was taken with other settings, another model or another size, or is damaged.
    """
    for name, value in plain(dict(identity)).items():
        if state.facts[name] != value:
            raise SnapshotError(f"the snapshot was taken with {name} {state.facts[name]}, not {value}")
    backend.clear()
    try:
        backend.restore(ContextState(state.tensors, state.facts["context"]))
    except (KeyError, ValueError) as error:
        raise SnapshotError(f"the snapshot is damaged ({error}); remove it to start again") from error
