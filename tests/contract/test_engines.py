"""What every engine must do, run against those this machine has; the others are skipped with their own reason."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from crwedge.core.bundle import ONNX, Bundle
from crwedge.core.errors import BundleError
from crwedge.core.scene import render_scene
from crwedge.runtime.backends.engine import Engine, Refittable
from crwedge.runtime.backends.open import open_engine, probe_engines
from crwedge.runtime.bundle_lookup import shipped_bundle

FRAME = render_scene(1, 123, 217).frames[0]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(shipped_bundle())


@pytest.fixture(scope="module")
def works(bundle: Bundle) -> dict[str, tuple[bool, str]]:
    return {name: (ok, detail) for name, ok, detail in probe_engines(bundle)}


@pytest.fixture(params=["cpu", "cuda", "tensorrt", "auto"])
def engine(request: pytest.FixtureRequest, bundle: Bundle, works: dict[str, tuple[bool, str]]) -> Iterator[Engine]:
    ok, detail = works.get(request.param, (True, ""))
    if not ok:
        pytest.skip(f"the engine {request.param} does not work here: {detail}")
    opened = open_engine(bundle, request.param)
    yield opened
    opened.close()


def test_features_have_the_promised_form(engine: Engine) -> None:
    features = engine.run(FRAME)
    assert features.shape == (256, 16, 28)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=0), 1, atol=2e-3)


def test_equal_to_the_cpu(engine: Engine, bundle: Bundle) -> None:
    cpu = open_engine(bundle, "cpu")
    np.testing.assert_allclose(engine.run(FRAME), cpu.run(FRAME), atol=5e-3)
    cpu.close()


def test_sizes_may_change_and_results_are_the_callers(engine: Engine) -> None:
    first = engine.run(FRAME)
    kept = first.copy()
    assert engine.run(np.ascontiguousarray(FRAME[:64, :72])).shape == (256, 8, 9)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_allclose(engine.run(FRAME), kept, atol=1e-5)


def test_says_which_back_end_it_is(engine: Engine) -> None:
    assert any(word in engine.name for word in ("onnxruntime", "tensorrt"))


def test_two_engines_in_one_process(engine: Engine, bundle: Bundle) -> None:
    other = open_engine(bundle, "auto")
    np.testing.assert_allclose(other.run(FRAME), engine.run(FRAME), atol=5e-3)
    other.close()
    assert np.isfinite(engine.run(FRAME)).all()


def test_new_weights_between_two_frames(engine: Engine, bundle: Bundle) -> None:
    assert isinstance(engine, Refittable)
    before = engine.run(FRAME)
    thread = threading.Thread(target=engine.refit, args=(bundle.read(ONNX),))
    thread.start()
    while thread.is_alive():
        np.testing.assert_allclose(engine.run(FRAME), before, atol=1e-5)
    thread.join()
    np.testing.assert_allclose(engine.run(FRAME), before, atol=1e-5)


def test_weights_of_nothing_are_refused_and_the_engine_goes_on(engine: Engine) -> None:
    assert isinstance(engine, Refittable)
    before = engine.run(FRAME)
    with pytest.raises(BundleError):
        engine.refit(b"no graph")
    np.testing.assert_array_equal(engine.run(FRAME), before)
