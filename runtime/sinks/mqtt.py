"""Label maps as messages of an MQTT broker."""

from __future__ import annotations

import contextlib
import json
from urllib.parse import unquote, urlsplit

from crwedge.core.errors import SinkError
from crwedge.core.labels import LabelMap
from crwedge.core.optional import import_optional
from crwedge.runtime.closing import Closing
from crwedge.runtime.sinks.jsonl import frame_facts
from crwedge.runtime.sources.uri import redact

_MOST_WAITING = 100
"""Messages kept while the broker is away; the oldest make way."""


class MqttSink(Closing):
    """One message a frame on `TOPIC`: the JSON of `*.jsonl`. `TOPIC/status` says `online` or, by will, `offline`.

    Args:
        address: `mqtt://[user:password@]host[:port]/topic`, or `mqtts://` with TLS.
    """

    def __init__(self, address: str, timeout: float = 10.0) -> None:
        """Connect; MissingExtraError without paho-mqtt, SinkError when there is no broker."""
        client = import_optional("paho.mqtt.client", extra="mqtt")
        enums = import_optional("paho.mqtt.enums", extra="mqtt")
        parts = urlsplit(address)
        self.name, self.topic = redact(address), parts.path.strip("/")
        if not parts.hostname or not self.topic or any(sign in self.topic for sign in "+#"):
            raise SinkError(f"{self.name} is no MQTT output; it is written as mqtt://host/topic")
        self._client = client.Client(enums.CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(_MOST_WAITING)
        self._client.will_set(f"{self.topic}/status", "offline", qos=1, retain=True)
        if parts.username is not None:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            self._client.tls_set()
        # After each connection, so that a broker that was restarted knows us again.
        self._client.on_connect = self._greet
        self._timeout = timeout
        try:
            self._client.connect(parts.hostname, parts.port or (8883 if parts.scheme == "mqtts" else 1883))
        except (OSError, ValueError) as error:
            raise SinkError(f"cannot reach the broker of {self.name}: {error}") from error
        self._client.loop_start()

    def write(self, labels: LabelMap) -> None:
        """One message; it never waits for the broker."""
        self._client.publish(self.topic, json.dumps(frame_facts(labels), separators=(",", ":")), qos=0)

    def close(self) -> None:
        """Say goodbye and disconnect."""
        goodbye = self._client.publish(f"{self.topic}/status", "offline", qos=1, retain=True)
        # A broker that is away will say it in our place.
        with contextlib.suppress(RuntimeError, ValueError):
            goodbye.wait_for_publish(self._timeout)
        self._client.disconnect()
        self._client.loop_stop()

    def _greet(self, *_: object) -> None:
        self._client.publish(f"{self.topic}/status", "online", qos=1, retain=True)
