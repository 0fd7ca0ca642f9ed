"""The backends that the contract suite runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crwedge.runtime.backends.base import Backend
from tests.backends import MAKERS, Make


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes backends of one kind and closes them."""
    made: list[Backend] = []

    def maker(*arguments: Any, **options: Any) -> Backend:
        made.append(MAKERS[request.param](*arguments, **options))
        return made[-1]

    yield maker
    for backend in made:
        backend.close()
        assert backend.engine.closed  # type: ignore[attr-defined]
