"""Label maps as messages of an MQTT broker."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from crwedge.core.labels import LabelMap
from crwedge.runtime.broker import connect, topic_of
from crwedge.runtime.closing import Closing
from crwedge.runtime.sinks.jsonl import frame_facts
from crwedge.runtime.sources.uri import redact


class MqttSink(Closing):
    """One message a frame on `TOPIC`: the JSON of `*.jsonl`. `TOPIC/status` says `online` or, by will, `offline`.

    Args:
        address: `mqtt://[user:password@]host[:port]/topic`, or `mqtts://` with TLS.
    """

    def __init__(self, address: str, timeout: float = 10.0) -> None:
        """Connect; MissingExtraError without paho-mqtt, SinkError when there is no broker."""
        self.name, self.topic = redact(address), topic_of(address)
        self._timeout = timeout
        self._client = connect(address, self._prepare)

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

    def _prepare(self, client: Any) -> None:
        client.will_set(f"{self.topic}/status", "offline", qos=1, retain=True)
        # After each connection, so that a broker that was restarted knows us again.
        client.on_connect = self._greet

    def _greet(self, client: Any, *_: object) -> None:
        client.publish(f"{self.topic}/status", "online", qos=1, retain=True)
