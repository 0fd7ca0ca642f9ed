"""The kernels compile for every device they are meant for, with no GPU at hand; sizes in Python and in C++ agree."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from crwedge.core.errors import SettingError
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.cuda import compiler
from crwedge.runtime.backends.cuda.errors import DeviceError
from crwedge.runtime.backends.cuda.plan import attention_bytes, make_plan
from crwedge.runtime.backends.cuda.source import FOLDER, Variant, choose_variant
from crwedge.runtime.propagation.view import View
from tests.emulated_cuda import build

SHARED_OPT_IN = {"sm_87": 163, "sm_89": 99, "sm_90": 227, "sm_110": 227, "sm_120": 99}
"""KiB of shared memory that a block may ask for, from the CUDA programming guide's table of compute capabilities."""


def nvcc() -> Path:
    found = compiler.find_nvcc()
    if found is None:
        pytest.skip("there is no nvcc on this machine")
    return found


@pytest.mark.parametrize("architecture", compiler.ARCHITECTURES)
def test_the_tensor_variant_compiles_without_spilling(architecture: str) -> None:
    variant = choose_variant((int(architecture[3:-1]), int(architecture[-1])), 256)
    assert variant.tensor
    cubin, log = compiler.with_nvcc(nvcc(), FOLDER / "attention.cu", architecture, variant)
    assert cubin[:4] == b"\x7fELF"
    assert set(re.findall(r"(\d+) bytes spill stores", log)) == {"0"}, log
    assert max(int(count) for count in re.findall(r"Used (\d+) registers", log)) <= 65536 // variant.threads, log
    shared = attention_bytes(variant, 10, 38)
    assert shared <= SHARED_OPT_IN[architecture] << 10, shared


@pytest.mark.parametrize(("name", "architecture"), [("attention.cu", "sm_75"), ("frames.cu", "sm_87")])
def test_the_plain_kernels_compile(name: str, architecture: str) -> None:
    cubin, log = compiler.with_nvcc(nvcc(), FOLDER / name, architecture, Variant(False))
    assert cubin[:4] == b"\x7fELF"
    assert "warning" not in log


def test_a_cubin_is_kept_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvcc()
    monkeypatch.setenv("CRWEDGE_KERNELS", str(tmp_path))
    first = compiler.compile_cubin("frames.cu", "sm_89", Variant(False))
    assert [path.suffix for path in tmp_path.iterdir()] == [".cubin"]
    monkeypatch.setattr(compiler, "compile_now", None)
    assert compiler.compile_cubin("frames.cu", "sm_89", Variant(False)) == first


def test_nvrtc_does_where_there_is_no_toolkit(monkeypatch: pytest.MonkeyPatch) -> None:
    library = compiler.find_nvrtc()
    if library is None:
        pytest.skip("there is no NVRTC on this machine (nvidia-cuda-nvrtc)")
    cubin = compiler.with_nvrtc(library, FOLDER / "attention.cu", "sm_90", choose_variant((9, 0), 256))
    assert cubin[:4] == b"\x7fELF"


def test_a_refused_source_is_one_line() -> None:
    with pytest.raises(DeviceError, match=r"nvcc cannot compile attention\.cu for sm_10: ") as refused:
        compiler.with_nvcc(nvcc(), FOLDER / "attention.cu", "sm_10", Variant(True))
    assert "\n" not in refused.value.args[0]


def test_no_compiler_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRWEDGE_KERNELS", str(tmp_path))
    monkeypatch.setattr(compiler, "find_nvcc", lambda: None)
    monkeypatch.setattr(compiler, "find_nvrtc", lambda: None)
    with pytest.raises(DeviceError, match="there is no CUDA compiler: install"):
        compiler.compile_cubin("attention.cu", "sm_90", Variant(True))


def test_a_compiler_that_is_named_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").write_text("#!/bin/sh\n")
    os.chmod(tmp_path / "bin" / "nvcc", 0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert compiler.find_nvcc() == tmp_path / "bin" / "nvcc"


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile the plain kernels with")
@pytest.mark.parametrize("row_warps", [2, 4])
def test_shared_memory_is_counted_as_the_kernel_counts(row_warps: int) -> None:
    library = build("attention.cu", Variant(False, 256, row_warps))
    for k, rows, channels in ((1, 0, 64), (10, 38, 256), (32, 55, 128), (7, 31, 32)):
        for tensor in (False, True):
            want = library.attention_shared_bytes(k, rows, channels, int(tensor))
            assert attention_bytes(Variant(tensor, channels, row_warps), k, rows) == want


def test_plans() -> None:
    settings = PropagationSettings()
    whole = View.whole((480, 854))
    frames = [whole] * 22
    plan = make_plan(settings, Variant(True, 256, 4), whole, frames, 132)
    assert (plan.tiles, plan.key_splits, plan.window_rows, plan.frame_cells) == (56, 9, 38, 6420)
    assert plan.box == (0, 60, 0, 107)
    assert make_plan(settings, Variant(True, 256, 4), whole, frames, 8).key_splits == 1
    each = make_plan(PropagationSettings(topk_over="frame"), Variant(False), whole, frames, 132)
    assert each.key_splits == 22
    part = View((480, 854), (10, 20), (9, 8))
    seen = [View((480, 854), (8, 30), (20, 5)), View((480, 854), (40, 0), (1, 50))]
    plan = make_plan(settings, Variant(False), part, seen, 132)
    assert (plan.tiles, plan.box, plan.frame_cells) == (2, (-2, 31, -20, 30), 100)
    with pytest.raises(SettingError, match="at most 32"):
        make_plan(PropagationSettings(topk=33), Variant(False), whole, frames, 132)
    with pytest.raises(SettingError, match="too large for a GPU"):
        make_plan(settings, Variant(False), whole, [View.whole((32000, 32000))] * 1000, 132)


def test_devices_without_tensor_cores_and_odd_widths_get_the_plain_kernels() -> None:
    assert not choose_variant((7, 5), 256).tensor
    assert not choose_variant((9, 0), 1024).tensor
    assert not choose_variant((9, 0), 250).tensor
