from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from crwedge.runtime.propagation import blas
from crwedge.runtime.propagation.blas import one_blas_thread


def now() -> set[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return {library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers}


def test_whoever_comes_first_or_goes_last_the_limit_holds_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another test may have loaded a second BLAS since the libraries were looked for.
    monkeypatch.setattr(blas, "_LIMIT", blas._Limit())
    # Threads come and go crosswise: the one that set the limit is not the one that lifts it.
    with threadpool_limits(3, user_api="blas"):
        found = now()
    if found != {3}:
        pytest.skip(f"this BLAS takes no limit of 3 threads: {found}")
    with threadpool_limits(2, user_api="blas"), ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for first, second in ((one, other), (other, one), (one, other)):
            outer, inner = one_blas_thread(), one_blas_thread()
            first.submit(outer.__enter__).result()
            assert first.submit(now).result() == {1}
            second.submit(inner.__enter__).result()
            first.submit(outer.__exit__, None, None, None).result()
            assert second.submit(now).result() == {1}
            second.submit(inner.__exit__, None, None, None).result()
            assert second.submit(now).result() == {2}


def test_libraries_are_looked_for_before_threads_start() -> None:
    """While a step looked for them, a thread that imported an extension (PyAV, in a sink) could lock up with it for ever."""
    code = (
        "import threadpoolctl\n"
        "import crwedge as cw\n"
        "import numpy as np\n"
        "tracker = cw.Tracker.open('shipped', engine='cpu')\n"
        "def refused(*_): raise AssertionError('looked for libraries in a step')\n"
        "threadpoolctl.ThreadpoolController._load_libraries = refused\n"
        "scene = cw.render_scene(2, 64, 96)\n"
        "tracker.step(scene.frames[0], scene.masks[0])\n"
        "tracker.step(scene.frames[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
