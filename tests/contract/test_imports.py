"""What must stay light stays light, seen in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

import crwedge

HEAVY = "torch kornia onnx onnxruntime tensorrt pycuda matplotlib scipy cv2 tensorboard"


def loaded_after(code: str) -> set[str]:
    """Top-level modules of HEAVY that `code` loads."""
    script = f"{code}\nimport sys; print(' '.join(m for m in {HEAVY.split()} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import crwedge",
        "import crwedge.runtime",
        "import crwedge.runtime.tracker, crwedge.runtime.stream, crwedge.runtime.sinks, crwedge.runtime.offline",
        "import crwedge.core.bundle, crwedge.core.scene",
        "from crwedge.cli import build_app; build_app()",
    ],
)
def test_loads_nothing_heavy(code: str) -> None:
    # Numba looks whether SciPy is there and then knows its version; that is not ours.
    assert loaded_after(code) - {"scipy"} == set()


def test_tracking_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['onnx'] = None\n"
        "import crwedge as cw; s = cw.render_scene(2, 64, 96)\n"
        "t = cw.Tracker.open(); t.step(s.frames[0], s.masks[0]); t.step(s.frames[1])"
    )
    assert "onnxruntime" in loaded_after(code)


def test_public_names() -> None:
    assert sorted(crwedge.__all__) == sorted(crwedge.__dir__())
    for name in crwedge.__all__:
        assert getattr(crwedge, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = crwedge.nothing


def test_type_checkers_see_every_public_name() -> None:
    from pathlib import Path

    assert crwedge.__file__ is not None
    text = Path(crwedge.__file__).read_text()
    for name in crwedge.__all__:
        if name != "__version__":
            assert f"import {name} as {name}" in text
