"""A Jetson's facts, from a tree of files made up here after the names such a board uses; no real board was at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from crwedge.runtime.ops.jetson import JetsonFacts, board_watts, read_jetson

FILES = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "var/lib/nvpmodel/status": "pmode:0002\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\nx\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1728000\n",
    "usr/local/cuda/version.json": '{"cuda" : {"name" : "CUDA SDK", "version" : "12.6.11"}}',
    "usr/lib/aarch64-linux-gnu/libnvinfer.so.10.3.0": "",
    "sys/class/thermal/thermal_zone0/temp": "48500\n",
    "sys/class/thermal/thermal_zone1/temp": "51250\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5040\n",
    "sys/class/hwmon/hwmon1/curr1_input": "1500\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/class/hwmon/hwmon1/in2_input": "5040\n",
    "sys/class/hwmon/hwmon1/curr2_input": "500\n",
}


@pytest.fixture
def board(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_all_facts(board: Path) -> None:
    assert read_jetson(board) == JetsonFacts(
        board="NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        linux="36.4.3", jetpack="6.2", power_mode="MAXN_SUPER", gpu_mhz=306, gpu_max_mhz=1020, cpu_mhz=1728,
        cuda="12.6.11", tensorrt="10.3.0", temperature_c=51.25, watts=7.56,
    )  # fmt: skip


def test_lines_for_doctor(board: Path) -> None:
    facts = read_jetson(board)
    assert facts is not None
    assert "jetson power mode: MAXN_SUPER" in facts.lines()
    assert "jetson gpu: 306 MHz" in facts.lines()
    assert "jetson watts: 7.56 W" in facts.lines()


def test_a_board_that_keeps_silent_is_a_jetson_still(board: Path) -> None:
    for name in FILES:
        if name != "proc/device-tree/model":
            (board / name).unlink()
    facts = read_jetson(board)
    assert facts is not None
    assert len(facts.lines()) == 1


def test_other_machines_are_none(tmp_path: Path) -> None:
    assert read_jetson(tmp_path) is None
    assert board_watts(tmp_path) is None
