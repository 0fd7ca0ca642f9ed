"""Access to the page: a token, sessions with cookies, and a limit on wrong tokens."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict, deque

COOKIE = "crwedge-session"
_LASTS = 12 * 3600.0
"""Seconds that a login lasts after its last use."""
_MOST_SESSIONS = 64
_GUESSES = 5
"""Wrong tokens of one address in `_PER` seconds; after them every token is refused."""
_ALL_GUESSES = 60
"""Wrong tokens of all addresses in `_PER` seconds."""
_PER = 60.0


class TooManyGuessesError(Exception):
    """Too many wrong tokens; for a while the right one is refused too."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = max(1, round(seconds))


class Access:
    """Checks tokens and sessions.

    Args:
        token: what has to be given; None where nothing has to.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._sessions: OrderedDict[str, float] = OrderedDict()
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._all_wrong: deque[float] = deque(maxlen=_ALL_GUESSES)
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """Whether no token is needed."""
        return self._token is None

    def check_token(self, token: str, address: str) -> bool:
        """Compare a token in constant time.

        Args:
            token: what was given.
            address: who gave it.

        Raises:
            TooManyGuessesError: this address, or all together, were wrong too often.
        """
        if self._token is None:
            return True
        now = time.monotonic()
        with self._lock:
            guesses = self._wrong.get(address, deque(maxlen=_GUESSES))
            for series in (guesses, self._all_wrong):
                if len(series) == series.maxlen and now - series[0] < _PER:
                    raise TooManyGuessesError(_PER - (now - series[0]))
            if hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode()):
                self._wrong.pop(address, None)
                return True
            guesses.append(now)
            self._all_wrong.append(now)
            self._wrong[address] = guesses
            self._wrong.move_to_end(address)
            while len(self._wrong) > 1000:
                self._wrong.popitem(last=False)
        return False

    def log_in(self) -> str:
        """Begin a session; returns what its cookie holds. Only a hash of it is kept."""
        name = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[_hash(name)] = time.monotonic()
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return name

    def knows(self, session: str) -> bool:
        """Whether a cookie names a session that has not ended."""
        if self._token is None:
            return True
        key, now = _hash(session), time.monotonic()
        with self._lock:
            used = self._sessions.pop(key, None)
            if used is None or now - used > _LASTS:
                return False
            self._sessions[key] = now
            return True


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
