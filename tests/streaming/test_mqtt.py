"""Label maps through a real MQTT broker (mosquitto), killed without goodbye once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import crwedge as cw
from crwedge.core.errors import SinkError

mqtt = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed: pip install 'crwedge[mqtt]'")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    program = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if program is None:
        pytest.skip("no MQTT broker: apt-get install mosquitto")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    (tmp_path / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen(
        [program, "-c", str(tmp_path / "conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    yield port
    process.kill()
    process.wait()


class Listener:
    """Everything that is published below door/."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.enums import CallbackAPIVersion

        self.got: list[tuple[str, str]] = []
        self.subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _, __, message: self.got.append((message.topic, message.payload.decode()))
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("door/#", qos=1)
        self._client.loop_start()
        assert self.subscribed.wait(60)

    def wait_for(self, topic: str, payload: str) -> None:
        until = time.monotonic() + 60
        while (topic, payload) not in self.got and time.monotonic() < until:
            time.sleep(0.02)
        assert (topic, payload) in self.got, self.got

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_lines_status_and_will(broker: int) -> None:
    listener = Listener(broker)
    address = f"mqtt://127.0.0.1:{broker}/door/front"
    with cw.open_sink(address) as sink:
        listener.wait_for("door/front/status", "online")
        ids = np.zeros((16, 16), np.uint8)
        ids[:4] = 1
        sink.write(cw.LabelMap(ids, 0, (1,), np.zeros((2, 2, 2), np.float32), 0.5, states={1: "ok"}))
    listener.wait_for("door/front/status", "offline")
    (line,) = [json.loads(text) for topic, text in listener.got if topic == "door/front"]
    assert (line["index"], line["pts"], line["states"]) == (0, 0.5, {"1": "ok"})
    # One that dies says nothing; the broker says it in its place.
    listener.got.clear()
    code = f"import time, crwedge as cw; s = cw.open_sink({address!r}); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code])
    listener.wait_for("door/front/status", "online")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    listener.wait_for("door/front/status", "offline")
    listener.close()


def test_no_broker_and_no_topic_are_one_line() -> None:
    with pytest.raises(SinkError, match="cannot reach the broker") as error:
        cw.open_sink("mqtt://me:secret@127.0.0.1:1/door")
    assert "secret" not in str(error.value)
    with pytest.raises(SinkError, match="host/topic"):
        cw.open_sink("mqtt://127.0.0.1")
