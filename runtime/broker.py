"""A connection to an MQTT broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from crwedge.core.errors import SinkError
from crwedge.core.optional import import_optional
from crwedge.core.uri import redact

_MOST_WAITING = 100
"""Messages kept while the broker is away; the oldest are dropped."""


def is_broker(text: str) -> bool:
    """Whether a text is the address of a broker."""
    return text.startswith(("mqtt://", "mqtts://"))


def topic_of(address: str) -> str:
    """The topic of `mqtt://host/topic`.

    Raises:
        SinkError: it has none, or one with wildcards.
    """
    parts = urlsplit(address)
    topic = parts.path.strip("/")
    if not parts.hostname or not topic or any(sign in topic for sign in "+#"):
        raise SinkError(f"{redact(address)} is not an MQTT topic; write it as mqtt://host/topic")
    return topic


def connect(address: str, prepare: Callable[[Any], None]) -> Any:
    """A client (paho-mqtt) that is connected and works in a thread of its own.

    Args:
        address: `mqtt://[user:password@]host[:port]/topic`, or `mqtts://` with TLS.
        prepare: sets callbacks and the will of the client before it connects.

    Raises:
        MissingExtraError: paho-mqtt is not installed.
        SinkError: there is no broker.
    """
    module = import_optional("paho.mqtt.client", extra="mqtt")
    enums = import_optional("paho.mqtt.enums", extra="mqtt")
    parts = urlsplit(address)
    client = module.Client(enums.CallbackAPIVersion.VERSION2)
    client.max_queued_messages_set(_MOST_WAITING)
    if parts.username is not None:
        client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
    if parts.scheme == "mqtts":
        client.tls_set()
    prepare(client)
    try:
        client.connect(parts.hostname, parts.port or (8883 if parts.scheme == "mqtts" else 1883))
    except (OSError, ValueError) as error:
        raise SinkError(f"cannot reach the broker of {redact(address)}: {error}") from error
    client.loop_start()
    return client
