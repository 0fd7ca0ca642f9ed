"""A bundle is opened whole or refused, whatever happened to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crwedge.core import files as files_module
from crwedge.core.bundle import MANIFEST, ONNX, WEIGHTS, Bundle, Manifest, record_cycle, render_manifest, write_bundle
from crwedge.core.errors import BundleError

MEAN = STD = (0.5, 0.5, 0.5)
FACTS = Manifest("x", "resnet18", "zeros", MEAN, STD, 8, 256, "float32", "a test", True, crwedge_version="0")


def proto(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field (payloads below 128 bytes)."""
    return bytes([number << 3 | 2, len(payload)]) + payload


GRAPH = proto(7, proto(5, proto(8, b"weight")))
"""ModelProto.graph.initializer.name."""
FILES = {ONNX: GRAPH, WEIGHTS: b"weights"}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "b", FACTS, FILES)


def test_what_was_written_is_read(bundle: Bundle) -> None:
    assert Bundle.open(bundle.path) == bundle
    assert bundle.read(WEIGHTS) == b"weights"
    assert sorted(p.name for p in bundle.path.parent.iterdir()) == ["b"]


def test_a_score_is_written_into_the_manifest(bundle: Bundle) -> None:
    assert b"cycle" not in (bundle.path / MANIFEST).read_bytes()  # as in bundles of before
    scored = record_cycle(bundle, {"score": 71.0})
    assert Bundle.open(bundle.path) == scored
    assert scored.manifest.cycle == {"score": 71.0}
    assert scored.sha256 == bundle.sha256


@pytest.mark.parametrize("name", [MANIFEST, ONNX, WEIGHTS])
def test_any_changed_byte_is_refused(bundle: Bundle, name: str) -> None:
    path = bundle.path / name
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.permutation(len(good))[:150]:
        bad = bytearray(good)
        bad[at] ^= int(rng.integers(1, 256))
        path.write_bytes(bad)
        with pytest.raises(BundleError) as caught:
            Bundle.open(bundle.path)
        assert "\n" not in caught.value.args[0]
    path.write_bytes(good)
    Bundle.open(bundle.path)


@pytest.mark.parametrize("name", [MANIFEST, ONNX, WEIGHTS])
def test_a_missing_or_cut_file_is_refused(bundle: Bundle, name: str) -> None:
    path = bundle.path / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError):
        Bundle.open(bundle.path)
    path.unlink()
    with pytest.raises(BundleError):
        Bundle.open(bundle.path)


def test_an_unlisted_file_is_refused_but_engines_are_judged_by_themselves(bundle: Bundle) -> None:
    (bundle.path / "engines").mkdir()
    (bundle.path / "engines" / "a.engine").write_bytes(b"x")
    Bundle.open(bundle.path)
    (bundle.path / "encoder.onnx.data").write_bytes(b"x")
    with pytest.raises(BundleError, match="not listed"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("version", [0, 2, 99, "1", None])
def test_another_format_version_is_refused(bundle: Bundle, version: object) -> None:
    values = json.loads((bundle.path / MANIFEST).read_text())
    values["format_version"] = version
    (bundle.path / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(BundleError, match=r"format version .* export the bundle again"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", ".hidden", "a/b"])
def test_a_manifest_cannot_point_out_of_the_folder(bundle: Bundle, name: str) -> None:
    manifest = replace(bundle.manifest, files={**bundle.manifest.files, name: "0" * 64})
    (bundle.path / MANIFEST).write_bytes(render_manifest(manifest))
    with pytest.raises(BundleError, match="bad entry"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize(
    "tensor",
    [proto(13, proto(1, b"location")), bytes([14 << 3, 1])],
    ids=["external_data", "data_location"],
)
@pytest.mark.parametrize("place", ["initializer", "attribute", "sparse", "subgraph"])
def test_weights_outside_the_onnx_file_are_refused(tmp_path: Path, tensor: bytes, place: str) -> None:
    inside = {
        "initializer": lambda t: proto(5, t),
        "attribute": lambda t: proto(1, proto(5, proto(5, t))),
        "sparse": lambda t: proto(15, proto(1, t)),
        "subgraph": lambda t: proto(1, proto(5, proto(6, proto(5, t)))),
    }[place](tensor)
    with pytest.raises(BundleError, match="outside the file"):
        write_bundle(tmp_path / "b", FACTS, {**FILES, ONNX: proto(7, inside)})


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(BundleError, match="no bundle"):
        write_bundle(tmp_path / "photos", FACTS, FILES)
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"


def test_a_place_that_cannot_be_written_is_one_clear_error() -> None:
    with pytest.raises(BundleError, match="choose another --out"):
        write_bundle(Path("/proc/bundles/b"), FACTS, FILES)


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_a_bundle_replaces_an_older_one(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, exchange: bool) -> None:
    if not exchange:
        monkeypatch.setattr(files_module, "_exchange", lambda a, b: False)
    again = write_bundle(bundle.path, replace(FACTS, name="y"), FILES)
    assert again.manifest.name == "y"
    assert sorted(p.name for p in bundle.path.parent.iterdir()) == ["b"]


def test_engines_stay_when_the_graph_stays(bundle: Bundle) -> None:
    (bundle.path / "engines").mkdir()
    (bundle.path / "engines" / "a.engine").write_bytes(b"x")
    assert (write_bundle(bundle.path, FACTS, FILES).path / "engines" / "a.engine").exists()
    assert not (write_bundle(bundle.path, FACTS, {**FILES, ONNX: b""}).path / "engines").exists()


def test_a_full_disk_leaves_the_old_bundle(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundleError, match="No space left"):
        write_bundle(bundle.path, replace(FACTS, name="y"), FILES)
    assert Bundle.open(bundle.path).manifest.name == "x"
    assert sorted(p.name for p in bundle.path.parent.iterdir()) == ["b"]


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from crwedge.core.bundle import Manifest, write_bundle
facts = Manifest("x", "resnet18", "zeros", (.5,) * 3, (.5,) * 3, 8, 256, "float32", "a test", True)
print("ready", flush=True)
for number in range(10**6):
    files = {"encoder.onnx": bytes([8, number % 128]), "encoder.safetensors": str(number).encode() * 20000}
    write_bundle(Path(sys.argv[1]), replace(facts, name=str(number)), files)
"""


def test_kill_at_any_moment_leaves_a_whole_bundle_or_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    place = tmp_path / "b"
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(place)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(float(rng.uniform(0.0, 0.15)))
            writer.send_signal(signal.SIGKILL)
        if place.exists():
            found = Bundle.open(place)
            assert found.read(WEIGHTS) == found.manifest.name.encode() * 20000
        # What the dead left is hidden, and no folder of bundles takes it for one.
        for left in tmp_path.iterdir():
            assert left == place or (left.name.startswith(".") and not (left / MANIFEST).exists())
