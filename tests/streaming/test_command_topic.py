"""Commands through a real MQTT broker (mosquitto) to a run that is under way."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from crwedge.core.errors import SinkError, UserError
from crwedge.runtime.frame_queue import StopToken
from crwedge.runtime.ops.command_topic import parse_message
from crwedge.runtime.session import Session
from tests.streaming.test_mqtt import Listener, broker  # noqa: F401 - a fixture
from tests.web.conftest import OPTIONS, PacedSource, RandomAccess, folder, open_source, png, scene, wait_for  # noqa: F401


def test_commands_and_what_became_of_them(broker: int, folder: Path, scene: object) -> None:  # noqa: F811
    from dataclasses import replace

    address = f"mqtt://127.0.0.1:{broker}/door/front"
    stop, events = StopToken(), []
    source = PacedSource(RandomAccess(open_source(folder)), 10.0)
    session = Session(
        source, None, [], replace(OPTIONS, control=address), stop=stop, on_event=lambda *a, **k: events.append((a, k))
    )
    listener = Listener(broker)
    thread = threading.Thread(target=session.run)
    thread.start()
    try:
        wait_for(lambda: session.stats.previewed > 2)
        mask = scene.masks[0]  # type: ignore[attr-defined]

        def send(words: object) -> None:
            text = words if isinstance(words, bytes) else json.dumps(words).encode()
            listener._client.publish("door/front/commands", text, qos=1).wait_for_publish(30)

        def told(word: str) -> bool:
            return any(topic.endswith("/done") and word in payload for topic, payload in listener.got)

        send({"png": base64.b64encode(png(mask)).decode()})
        wait_for(lambda: session.stats.tracked > 0)
        wait_for(lambda: told('"command": "mask", "index"'))
        send({"remove": [2]})
        wait_for(lambda: told("remove [2]"))
        send({"remove": [9]})
        wait_for(lambda: told("there is no object 9"))
        send(b"{")
        wait_for(lambda: told("one JSON object"))
        send({"mask": "/etc/passwd"})
        wait_for(lambda: told("BASE64"))
        before = session.stats.previewed
        send({"forget": True})
        wait_for(lambda: session.stats.previewed > before + 2)
    finally:
        stop.set()
        thread.join(60)
        listener.close()
    assert session.stats.frames_in == session.stats.tracked + session.stats.previewed + session.stats.dropped


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        b"{}",
        b'{"png": 3}',
        b'{"png": "?"}',
        b'{"png": "aaaa"}',
        b'{"png": "", "remove": [1]}',
        b'{"mask": "a.png"}',
        b'{"remove": [1], "index": 3}',
        b'{"forget": false}',
        b"[" * 100_000,
        b" " * (33 << 20),
    ],
)
def test_what_is_no_command_is_refused(payload: bytes) -> None:
    with pytest.raises(UserError):
        parse_message(payload)


def test_commands_of_messages() -> None:
    assert parse_message(b'{"remove": [1, 2]}').remove == (1, 2)
    assert parse_message(b'{"forget": true}').forget
    ids = np.eye(4, dtype=np.uint8)
    sent = json.dumps({"png": base64.b64encode(png(ids)).decode()}).encode()
    np.testing.assert_array_equal(np.asarray(parse_message(sent).mask), ids)


def test_no_broker_is_one_line(tmp_path: Path) -> None:
    from crwedge.runtime.ops.command_topic import CommandTopic

    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed: pip install 'crwedge[mqtt]'")
    with pytest.raises(SinkError, match="cannot reach the broker"):
        CommandTopic("mqtt://127.0.0.1:9/door")
    with pytest.raises(SinkError, match="mqtt://host/topic"):
        CommandTopic("mqtt://127.0.0.1:9/")
