"""Messages of the package on the terminal: those of the logger `crwedge`."""

from __future__ import annotations

import contextlib
import logging
import sys

from crwedge.core.log_handler import handled_by

_log = logging.getLogger("crwedge")


class MessageHandler(logging.Handler):
    """Prints each message as a plain line, and a note that repeats only once."""

    def __init__(self) -> None:
        super().__init__()
        self.to_stdout = False
        self._notes: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message. The stream is looked up each time: a progress bar replaces it."""
        text = self.format(record)
        if text.startswith("note: "):
            if text in self._notes:
                return
            self._notes.add(text)
        if self.to_stdout:
            print(text, flush=True)  # a closed pipe ends the command
            return
        with contextlib.suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)


def shown_messages() -> contextlib.AbstractContextManager[None]:
    """While the block runs, messages go to stderr; a command may send them to standard output with `messages`."""
    return handled_by(MessageHandler())


def messages(as_json: bool) -> logging.Logger:
    """The logger, for a command whose messages are its output: on standard output, unless that is for JSON."""
    for handler in _log.handlers:
        if isinstance(handler, MessageHandler):
            handler.to_stdout = not as_json
    return _log
