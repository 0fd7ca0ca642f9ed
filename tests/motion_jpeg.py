"""A camera on the loopback address: motion JPEG over HTTP, as cameras on a network send it."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def jpegs(frames: Iterable[NDArray[np.uint8]], quality: int = 95) -> list[bytes]:
    """RGB frames (H, W, 3) as JPEG files."""
    found = []
    for frame in frames:
        data = io.BytesIO()
        Image.fromarray(frame).save(data, "JPEG", quality=quality)
        found.append(data.getvalue())
    return found


@contextlib.contextmanager
def motion_jpeg(pictures: Callable[[], Iterable[bytes | None]], rate: float) -> Iterator[str]:
    """The address of a camera, which is gone after the block.

    Args:
        pictures: gives the pictures that a new viewer sees, one after the other; None: nothing is sent in its place.
        rate: pictures a second, by the clock.
    """
    gone = threading.Event()

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            start = time.monotonic()
            with contextlib.suppress(OSError):
                for number, data in enumerate(pictures()):
                    if gone.wait(max(0.0, start + number / rate - time.monotonic())):
                        return
                    if data is not None:
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                        self.wfile.write(head + data + b"\r\n")

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/live"
    finally:
        gone.set()
        server.shutdown()
        server.server_close()
        thread.join()
