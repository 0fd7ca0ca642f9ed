"""Watts of a measurement, from sensors made up here: a board's files, and a fake of NVIDIA's management library."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crwedge.runtime.ops import power
from crwedge.runtime.ops.power import Meter, Sensor, find_sensor

COMPILER = shutil.which("gcc") or shutil.which("cc")
ROOT = Path(__file__).parents[3]
FAKE_NVML = """
#include <string.h>
typedef void* nvmlDevice_t;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char* place, nvmlDevice_t* device) {
    *device = (void*)5;
    return strcmp(place, "0000:07:00.0") ? 6 : 0;
}
int nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned* milliwatts) {
    *milliwatts = 312500;
    return device == (void*)5 ? 0 : 2;
}
"""
FAKE_CUDA = """
#include <string.h>
int cuInit(unsigned flags) { return (int)flags; }
int cuDeviceGet(int* device, int number) { *device = number + 3; return 0; }
int cuDeviceGetPCIBusId(char* place, int length, int device) {
    strncpy(place, "0000:07:00.0", length);
    return device == 3 ? 0 : 101;
}
"""


def test_the_mean_and_joules_a_frame() -> None:
    readings = itertools.cycle([2.0, None, 4.0])
    with Meter(Sensor("board", lambda: next(readings)), every=0.01) as meter:
        time.sleep(0.3)
    report = meter.report(10)
    assert 2 < float(report["watts"]) < 4
    assert int(report["power_readings"]) >= 2
    assert report["joules_a_frame"] == pytest.approx(float(report["watts"]) * meter._seconds / 10, abs=1e-3)
    assert report["power_of"] == "board"


def test_a_measurement_shorter_than_the_pause_has_a_reading() -> None:
    with Meter(Sensor("GPU", lambda: 9.0), every=60) as meter:
        pass
    assert meter.report(1)["power_readings"] == 1


def test_without_a_sensor_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "ROOT", tmp_path)
    monkeypatch.setenv("CRWEDGE_NVML", "libnothere.so.1")
    assert find_sensor(on_gpu=True) is None
    with Meter(None) as meter:
        pass
    assert meter.report(3) == {}


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler to build the fake libraries with")
def test_the_gpu_that_cuda_names_is_asked(tmp_path: Path) -> None:
    for name, text in (("nvml", FAKE_NVML), ("cuda", FAKE_CUDA)):
        source, library = tmp_path / f"{name}.c", tmp_path / f"lib{name}.so"
        source.write_text(text)
        subprocess.run([str(COMPILER), "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    script = """
from pathlib import Path
from crwedge.runtime.ops import power
power.ROOT = Path("/nothing")
sensor = power.find_sensor(on_gpu=True)
print(sensor.of, sensor.read(), power.find_sensor(on_gpu=False))
"""
    libraries = {"CRWEDGE_NVML": str(tmp_path / "libnvml.so"), "CRWEDGE_LIBCUDA": str(tmp_path / "libcuda.so")}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **libraries}, cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == "GPU 312.5 None\n"
