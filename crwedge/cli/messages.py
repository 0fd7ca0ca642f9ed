"""The sentences of the package on stderr."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from crwedge.runtime.events import StderrHandler


@contextlib.contextmanager
def messages_on_stderr() -> Iterator[logging.Logger]:
    """While the block runs, what the logger `crwedge` says goes to stderr, one plain line each; yields the logger."""
    logger, handler = logging.getLogger("crwedge"), StderrHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield logger
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
