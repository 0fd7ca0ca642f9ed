"""A thousand bad requests: no crash, no answer 500, no growth of memory, and the page still works."""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import struct
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.web.conftest import Page, png, stream_page, wait_for
from tests.web.test_safety import bomb

connect = pytest.importorskip("websockets.sync.client", reason="websockets is not installed").connect
ROUTES = (
    ("GET", "/api/state"),
    ("GET", "/api/timeline?since={junk}"),
    ("POST", "/api/login"),
    ("POST", "/api/freeze"),
    ("GET", "/api/frames/{junk}.png"),
    ("GET", "/api/frames/{frame}/labels.png"),
    ("POST", "/api/frames/{frame}/select"),
    ("PUT", "/api/frames/{frame}/draft"),
    ("POST", "/api/frames/{frame}/apply"),
    ("PUT", "/api/objects"),
    ("DELETE", "/api/objects/{junk}"),
    ("POST", "/api/recording"),
    ("GET", "/api/download/{junk}"),
    ("GET", "/api/video/frames/{junk}.jpg"),
    ("POST", "/api/video/propagate"),
    ("PATCH", "/api/state"),
    ("GET", "/assets/{junk}"),
)
JUNK = ("..%2f..%2fetc%2fpasswd", "%00", "-1", "1e9", "9" * 300, "%ff%fe", "x" * 2000, "☃", "0", "NaN", "%2e%2e/a")


def junk(random_: random.Random, depth: int = 0) -> Any:
    """A value that JSON can hold, of any shape."""
    kind = random_.randrange(11 if depth < 3 else 8)
    if kind == 0:
        return random_.choice([float("inf"), float("-inf"), float("nan"), 1e308, -0.0])
    if kind == 1:
        return random_.choice([10**400, -(2**63), 2**31, -1, 0])
    if kind == 2:
        return random_.choice(["\ud800", "\x00", "x" * 500, "☃", "", "<script>"])
    if kind < 8:
        return random_.choice([None, True, False, [], {}, "a", 3, 0.5])
    if kind == 8:
        return [junk(random_, depth + 1) for _ in range(random_.randrange(4))]
    names = ("frame", "points", "x", "y", "positive", "tolerance", "id", "name", "color", "on", "replace", "token", "?")
    return {random_.choice(names): junk(random_, depth + 1) for _ in range(random_.randrange(4))}


def body(random_: random.Random) -> tuple[bytes, str]:
    """A body and its type, at times contradicting each other."""
    kind = random_.randrange(9)
    if kind == 0:
        return random_.randbytes(random_.randrange(2000)), "application/json"
    if kind == 1:
        return b"[" * 100_000, "application/json"
    if kind == 2:
        return bomb(random_.choice([128, 60_000]), random_.choice([96, 60_000])), "image/png"
    if kind == 3:
        data = bytearray(png(np.zeros((96, 128))))
        for _ in range(3):
            data[random_.randrange(len(data))] = random_.randrange(256)
        return bytes(data[: random_.randrange(1, len(data) + 1)]), "image/png"
    if kind == 4:
        return b" " * (1 << 21), random_.choice(["application/json", "image/png", "text/plain"])
    text = json.dumps(junk(random_))
    return text.encode("utf-8", "surrogatepass"), random_.choice(["application/json"] * 5 + ["image/png", "x/y", ""])


def cut_off(random_: random.Random, port: int, frame: str) -> None:
    """A connection that ends in the middle of what it says."""
    lines = (
        f"PUT /api/frames/{frame}/draft HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Requested-With: crwedge\r\n"
        "Content-Type: image/png\r\nContent-Length: 5000\r\n\r\n"
    )
    upgrade = (
        "GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    data = random_.choice(
        [
            lines.encode() + random_.randbytes(300),
            lines.encode()[: random_.randrange(60)],
            upgrade.encode(),
            upgrade.encode() + random_.randbytes(50),
            upgrade.encode() + b"\x82\xff" + random_.randbytes(30),
            random_.randbytes(200),
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 50_000 + b"\r\n\r\n",
        ]
    )
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(data)
        if random_.random() < 0.5:
            time.sleep(0.01)
        # A reset, in place of a good end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def resident_mb() -> float:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(float(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS:"))


def storm(page: Page, client: Any, random_: random.Random, count: int) -> Counter[int]:
    """So many bad requests; the answers by their status."""
    frame = client.post("/api/freeze", json={}).json()["frame_id"]
    port = int(page.url.rstrip("/").rpartition(":")[2])
    answers: Counter[int] = Counter()
    for _ in range(count):
        if random_.random() < 0.15:
            cut_off(random_, port, frame)
            answers[0] += 1
            continue
        method, path = random_.choice(ROUTES)
        data, kind = body(random_)
        headers = {"Content-Type": kind}
        if random_.random() < 0.1:
            headers["Origin"] = random_.choice(["http://evil.example", "null", page.url.rstrip("/")])
        if random_.random() < 0.1:
            headers["Authorization"] = random_.choice(["Bearer x", "Bearer", "Basic eDp5"])
        if random_.random() < 0.1:
            headers["Cookie"] = random_.choice(["crwedge-session=x", ";;;", "=", "crwedge-session"])
        place = path.replace("{frame}", frame).replace("{junk}", random_.choice(JUNK))
        answer = client.request(method, place, content=None if method == "GET" else data, headers=headers)
        assert answer.status_code < 500, (method, place, data[:300], answer.text)
        answers[answer.status_code] += 1
    return answers


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the memory is read from /proc")
def test_a_thousand_bad_requests(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    random_ = random.Random(20)
    with stream_page(folder, tmp_path / "out", fps=4.0) as page, page.client() as client:
        # What is imported, cached and pooled at the first bad requests is there once.
        storm(page, client, random_, 150)
        before = resident_mb()
        answers = storm(page, client, random_, 1000)
        assert sum(answers.values()) == 1000
        assert {400, 404, 405, 413, 415, 422} <= answers.keys(), answers
        wait_for(lambda: len(page.desk.viewers) == 0)
        assert resident_mb() - before < 40, answers
        state = client.get("/api/state").json()
        number = state["frame"]["index"]
        wait_for(lambda: client.get("/api/state").json()["frame"]["index"] > number)
        assert client.post("/api/freeze", json={}).status_code == 200
    assert "failed" not in caplog.text, caplog.text


def test_viewers_that_stall_or_talk_are_no_harm(page: Page) -> None:
    address = page.url.replace("http", "ws") + "api/live"
    with connect(address) as talker, connect(address, max_size=1 << 24) as reader:
        # A viewer that never reads: its socket fills up, and it gets no more.
        port = int(page.url.rstrip("/").rpartition(":")[2])
        stalled = socket.create_connection(("127.0.0.1", port))
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.sendall(
            b"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        talker.send("hello")
        talker.send(b"\0" * 1000)
        seen = [
            json.loads(m[4 : 4 + int.from_bytes(m[:4], "little")])["index"] for m in (reader.recv(30) for _ in "abc")
        ]
        assert seen == sorted(set(seen))
        with page.client() as client:
            assert client.get("/api/state").json()["viewers"] == 3
        stalled.close()
    wait_for(lambda: len(page.desk.viewers) == 0)
