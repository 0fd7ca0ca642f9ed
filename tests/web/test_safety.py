"""Who is let in: hosts, origins, tokens, cookies, headers, sizes."""

from __future__ import annotations

import logging
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crwedge.core.errors import MaskError, SettingError
from crwedge.core.id_pictures import read_ids
from crwedge.runtime.web.access import Access, TooManyGuessesError
from crwedge.runtime.web.limits import MOST_JSON
from crwedge.runtime.web.server import parse_address, serve_desk
from tests.web.conftest import Page, film_page, png

connect = pytest.importorskip("websockets.sync.client", reason="websockets is not installed").connect
TOKEN = "a-token-of-sufficient-length"


@pytest.fixture
def locked(folder: Path, tmp_path: Path) -> Iterator[Page]:
    """A page for which a token is needed."""
    with film_page(folder, tmp_path / "out", token=TOKEN) as served:
        yield served


def test_every_answer_has_the_security_headers(film: Page) -> None:
    with film.client() as client:
        for path in ("/", "/api/state", "/api/nothing", "/assets/nothing"):
            headers = client.get(path).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
            assert headers["referrer-policy"] == "no-referrer"
            assert "access-control-allow-origin" not in headers
            assert "server" not in headers
        assert client.get("/api/state").headers["cache-control"] == "no-store"
        assert client.get("/docs").status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "192.0.2.7", "localhost@evil", "a b"])
def test_another_name_for_this_machine_is_refused(film: Page, host: str) -> None:
    with film.client(Host=host) as client:
        assert client.get("/api/state").status_code in (400, 421)
        assert client.get("/").status_code in (400, 421)


def test_names_of_this_machine_are_taken(film: Page) -> None:
    port = film.url.rstrip("/").rpartition(":")[2]
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", "localhost", f"[::1]:{port}"):
        with film.client(Host=host) as client:
            assert client.get("/api/state").status_code == 200


def test_another_page_is_refused(film: Page) -> None:
    with film.client() as client:
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "file://", "http://[", film.url[:-2]):
            assert client.post("/api/freeze", json={}, headers={"Origin": origin}).status_code == 403
            assert client.get("/api/state", headers={"Origin": origin}).status_code == 403
        assert client.post("/api/freeze", json={}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        own = film.url.rstrip("/")
        assert client.post("/api/freeze", json={}, headers={"Origin": own}).status_code == 200
        del client.headers["X-Requested-With"]
        assert client.post("/api/freeze", json={}).status_code == 403
        assert client.post("/api/freeze", data={"a": "b"}, headers={"Origin": own}).status_code == 403
    address = film.url.replace("http", "ws") + "api/live"
    with pytest.raises(Exception, match="403"):
        connect(address, origin="http://evil.example")
    with connect(address, origin=film.url.rstrip("/")) as live:
        live.recv(30) if film.desk.viewers else None


def test_a_token_is_needed_and_a_cookie_remembers_it(locked: Page, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with locked.client() as client:
        assert client.get("/").status_code == 200
        assert client.get("/api/state").status_code == 401
        assert client.get("/api/openapi.json").status_code == 401
        with pytest.raises(Exception, match="403"):
            connect(locked.url.replace("http", "ws") + "api/live")
        assert client.post("/api/login", json={"token": "wrong"}).status_code == 401
        answer = client.post("/api/login", json={"token": TOKEN})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in answer.headers["set-cookie"]
        assert client.get("/api/state").status_code == 200
    with locked.client(Authorization=f"Bearer {TOKEN}") as program:
        assert program.get("/api/state").status_code == 200
    with locked.client(Cookie="crwedge-session=invented") as other:
        assert other.get("/api/state").status_code == 401
    # The clients of this test log what they send.
    clients = ("httpx", "httpcore", "websockets.client")
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(clients)]
    assert not [text for text in ours if TOKEN in text or "crwedge-session=" in text]


def test_guessing_is_slowed_down(locked: Page) -> None:
    with locked.client() as client:
        answers = [client.post("/api/login", json={"token": f"guess {n}"}).status_code for n in range(8)]
        assert answers == [401] * 5 + [429] * 3
        last = client.post("/api/login", json={"token": TOKEN})
        assert last.status_code == 429
        assert int(last.headers["retry-after"]) > 0
    with locked.client(Authorization=f"Bearer {TOKEN}") as program:
        assert program.get("/api/state").status_code == 429


def test_access_is_bounded() -> None:
    access = Access(TOKEN)
    first = access.log_in()
    for _ in range(64):
        newest = access.log_in()
    assert not access.knows(first)
    assert access.knows(newest)
    for number in range(60):
        assert not access.check_token("x", f"10.0.0.{number}")
    with pytest.raises(TooManyGuessesError):
        access.check_token(TOKEN, "10.0.1.1")
    assert Access(None).knows("")
    assert not Access(TOKEN).check_token("ä\ud800", "a")


def test_other_addresses_get_a_token(folder: Path, tmp_path: Path) -> None:
    with film_page(folder, tmp_path / "out") as film:
        assert film.token is None
        with serve_desk(film.desk, "0.0.0.0:0") as served:
            assert served.token is not None
            assert len(served.token) >= 20
            assert served.url.endswith(f"/#token={served.token}")
        with pytest.raises(SettingError, match="12 characters"), serve_desk(film.desk, "0", token="short"):
            pass
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(SettingError, match="another port"), serve_desk(film.desk, str(taken.getsockname()[1])):
                pass
    assert parse_address("8000") == ("127.0.0.1", 8000)
    assert parse_address("[::1]:80") == ("::1", 80)
    for text in ("", "x", "1.2.3.4", "127.0.0.1:99999"):
        with pytest.raises(SettingError, match="PORT"):
            parse_address(text)


def test_large_bodies_are_refused_before_they_are_read(film: Page) -> None:
    with film.client() as client:
        assert client.post("/api/freeze", content=b" " * (MOST_JSON + 1)).status_code == 413
        answer = client.post("/api/freeze", content=iter([b" " * 65536] * 40))
        assert answer.status_code == 413
        frame_id = client.post("/api/freeze", json={"frame": 0}).json()["frame_id"]
        huge = client.put(
            f"/api/frames/{frame_id}/draft", content=b"\0" * (33 << 20), headers={"Content-Type": "image/png"}
        )
        assert huge.status_code == 413


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def bomb(width: int, height: int) -> bytes:
    """A small PNG that claims, and unpacks to, a large picture."""
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    rows = zlib.compress(b"\0" * min((width + 1) * height, 1 << 24), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_pictures_of_ids_are_checked_before_they_are_decoded() -> None:
    ids = np.arange(20, dtype=np.uint8).reshape(4, 5)
    np.testing.assert_array_equal(read_ids(png(ids), (4, 5)), ids)
    np.testing.assert_array_equal(read_ids(png(np.repeat(ids[..., None], 3, axis=2)), (4, 5)), ids)
    colours = np.zeros((4, 5, 4), np.uint8)
    colours[..., 0] = ids
    for data, words in (
        (bomb(50_000, 50_000), "50000x50000"),
        (png(ids)[:45], "damaged"),
        (bomb(5, 4)[:44], "damaged"),
        (png(colours), "colours"),
        (b"GIF89a" + bytes(99), "not a PNG"),
        (b"", "not a PNG"),
        (png(ids[:2]), "2x5"),
    ):
        with pytest.raises(MaskError, match=words):
            read_ids(data, (4, 5))
    sixteen = png(ids)[:24] + bytes([16]) + png(ids)[25:]
    with pytest.raises(MaskError, match="8 bits"):
        read_ids(sixteen, (4, 5))
