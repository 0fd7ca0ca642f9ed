"""Commands from an MQTT broker."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crwedge.core.errors import UserError
from crwedge.core.id_pictures import read_ids
from crwedge.core.json_text import parse_json
from crwedge.runtime.broker import connect, topic_of
from crwedge.runtime.events import silent
from crwedge.runtime.ops.command import Command, CommandError, parse_command
from crwedge.runtime.sources.uri import redact

_MOST_BYTES = 32 << 20
"""Of one message."""
_MOST_WAITING = 100
"""Commands; more are refused."""


class CommandTopic:
    """Commands from `TOPIC/commands`; the outcome of each goes to `TOPIC/commands/done`.

    A message is `{"remove": [2]}`, `{"forget": true}`, or `{"png": "..."}` with a mask in base64: files of this machine
    cannot be named.

    Args:
        address: `mqtt://[user:password@]host[:port]/topic`, or `mqtts://` with TLS.
        on_event: called for each message that is not a command.

    Raises:
        MissingExtraError: paho-mqtt is not installed.
        SinkError: there is no broker.
    """

    def __init__(self, address: str, on_event: Callable[..., None] = silent) -> None:
        self.name, self.topic = redact(address), f"{topic_of(address)}/commands"
        self.text = ""
        self._on_event = on_event
        self._waiting: deque[Command] = deque()
        self._client = connect(address, self._prepare)

    def peek(self) -> Command | None:
        """See `CommandReader.peek`."""
        if not self._waiting:
            return None
        self.text = self._waiting[0].text
        return self._waiting[0]

    def done(self, index: int, error: UserError | None = None) -> None:
        """See `CommandReader.done`."""
        self._waiting.popleft()
        self._tell({"command": self.text, **({"index": index} if error is None else {"refused": str(error)})})

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _prepare(self, client: Any) -> None:
        client.on_message = self._take
        # After each connection, so that a broker that was restarted knows us again.
        client.on_connect = lambda client, *_: client.subscribe(self.topic, qos=1)

    def _take(self, _: object, __: object, message: Any) -> None:
        """Called in the client's thread: nothing may be raised."""
        if message.retain:
            # It was sent before this run began.
            return
        try:
            if len(self._waiting) >= _MOST_WAITING:
                raise CommandError(f"{_MOST_WAITING} commands are waiting already")
            self._waiting.append(parse_message(message.payload))
        except UserError as error:
            self._on_event("control_refused", command="", reason=str(error))
            self._tell({"command": "", "refused": str(error)})

    def _tell(self, facts: dict[str, Any]) -> None:
        self._client.publish(f"{self.topic}/done", json.dumps(facts), qos=1)


def parse_message(payload: bytes) -> Command:
    """Parse a message; see `CommandTopic`.

    Raises:
        UserError: it is not a command.
    """
    if len(payload) > _MOST_BYTES:
        raise CommandError(f"a command can have at most {_MOST_BYTES >> 20} MiB")
    text = payload.decode("utf-8", "replace")
    try:
        words = parse_json(text)
    except ValueError as error:
        raise CommandError(f"a command is one JSON object ({error})") from error
    if not isinstance(words, dict) or "mask" in words or "index" in words:
        raise CommandError('a command is {"png": BASE64}, {"remove": [2]} or {"forget": true}')
    if "png" not in words:
        return parse_command(text, Path())
    if words.keys() != {"png"} or not isinstance(words["png"], str):
        raise CommandError('"png" is a mask in base64, and cannot be combined with other keys')
    try:
        data = base64.b64decode(words["png"], validate=True)
    except ValueError as error:
        raise CommandError('"png" is a mask in base64') from error
    return Command(read_ids(data))
