"""Receive the messages of the package for the length of a block."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def handled_by(handler: logging.Handler) -> Iterator[None]:
    """While the block runs, the messages of the logger `crwedge` from INFO on go to `handler` too."""
    logger = logging.getLogger("crwedge")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
