"""Every name of the TensorRT bindings that is used exists in every version that is meant to work."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

USED: dict[str, tuple[str, ...]] = {
    "Builder": (
        "build_serialized_network",
        "create_builder_config",
        "create_network",
        "create_optimization_profile",
        "logger",
    ),
    "IBuilderConfig": (
        "add_optimization_profile",
        "create_timing_cache",
        "get_timing_cache",
        "progress_monitor",
        "set_flag",
        "set_memory_pool_limit",
        "set_timing_cache",
    ),
    "BuilderFlag": ("REFIT",),
    "MemoryPoolType": ("WORKSPACE",),
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "INetworkDefinition": ("get_input", "num_layers"),
    "IOptimizationProfile": ("set_shape",),
    "ITimingCache": ("serialize",),
    "OnnxParser": ("get_error", "num_errors", "parse"),
}
"""What `export/tensorrt.py` uses, by class."""
OTHERS = ("ILogger", "IProgressMonitor")
"""Classes it derives from, which the lists of names do not hold."""
GONE_IN_11 = ("FP16", "INT8", "EXPLICIT_BATCH", "supports_model", "platform_has_fast_fp16", "device_memory_size")


def lists_of_names() -> list[Any]:
    """What both versions offer, read from their real bindings, where the lists lie beside the shared data."""
    folder = Path(os.environ.get("CRWEDGE_DATA", ROOT.parent / "shared" / "data")).parent / "gpu"
    found = sorted(folder.glob("tensorrt-*-api.json"))
    skipped = pytest.mark.skip(reason=f"no lists of TensorRT's names in {folder}")
    return [pytest.param(path, id=path.stem) for path in found] or [pytest.param(None, marks=skipped, id="absent")]


@pytest.mark.parametrize("path", lists_of_names())
def test_the_bindings_of_each_version_have_them(path: Path) -> None:
    offered = json.loads(path.read_text())
    for owner, names in USED.items():
        missing = set(names) - set(offered[owner])
        assert not missing, f"TensorRT {offered['version']} has no {owner}.{missing}"


def test_tensorrt_for_rtx_has_them() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    for owner, names in {**USED, **dict.fromkeys(OTHERS, ())}.items():
        for name in names:
            assert hasattr(getattr(trt, owner), name), f"{owner}.{name}"
        assert hasattr(trt, owner)


@pytest.mark.parametrize("path", lists_of_names())
def test_the_list_is_complete(path: Path) -> None:
    """Whatever looks like a name of the bindings in the exporter's source is in the list above."""
    offered = json.loads(path.read_text())
    known = {name for members in offered.values() if members and not isinstance(members, str) for name in members}
    tree = ast.parse((ROOT / "export" / "tensorrt.py").read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    listed = {name for names in USED.values() for name in names}
    # Names of our own, and of the logger and the tensors, which the lists do not hold.
    assert used & known <= listed | {"name", "refittable", "Severity", "WARNING"}
    assert listed <= used


def test_nothing_that_version_11_took_away_is_used() -> None:
    for file in ("export/tensorrt.py", "export/engines.py", "runtime/backends/tensorrt.py"):
        words = {
            node.attr for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.Attribute)
        }
        assert not words & set(GONE_IN_11), file
