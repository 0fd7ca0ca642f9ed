"""Start, watch and stop a running `crwedge serve` over HTTP.

crwedge serve camera0 &
python http_control.py http://127.0.0.1:8008 init.png
"""

import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any


def main(url: str, mask: str) -> None:
    """Freeze a frame, paint a mask on it, follow for two seconds, and stop."""

    def call(method: str, path: str, body: bytes | dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        kind = "image/png" if isinstance(body, bytes) else "application/json"
        headers = {"Content-Type": kind, "X-Requested-With": "crwedge"}
        with urllib.request.urlopen(urllib.request.Request(url + path, data, headers, method=method)) as answer:
            return json.loads(answer.read() or b"null")

    frame = call("POST", "/api/freeze", {})["frame_id"]
    call("PUT", f"/api/frames/{frame}/draft", Path(mask).read_bytes())
    print("applied:", call("POST", f"/api/frames/{frame}/apply", {}))
    time.sleep(2)
    print("state:", call("GET", "/api/state"))
    print("stopped:", call("POST", "/api/stop"))


if __name__ == "__main__":
    main(*sys.argv[1:])
