"""Where results go when nobody said where."""

from __future__ import annotations

import pytest

from crwedge.runtime import default_outputs as module
from crwedge.runtime.default_outputs import default_outputs


@pytest.mark.parametrize(
    ("screen", "opencv", "expected", "note"),
    [
        ("DISPLAY", True, ["window"], ""),
        ("WAYLAND_DISPLAY", True, ["window"], ""),
        ("DISPLAY", False, ["-"], "OpenCV is not installed ("),
        ("", True, ["-"], "there is no screen, so JSON Lines go to standard output"),
    ],
)
def test_of_a_camera(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    screen: str,
    opencv: bool,
    expected: list[str],
    note: str,
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if screen:
        monkeypatch.setenv(screen, ":0")
    monkeypatch.setattr(module, "find_spec", lambda name: object() if opencv else None)
    with caplog.at_level("INFO", "crwedge"):
        assert default_outputs(live=True) == expected
    assert note in "".join(caplog.messages)
    assert bool(caplog.messages) == bool(note)


def test_of_a_file() -> None:
    assert default_outputs(live=False) == ["masks"]
