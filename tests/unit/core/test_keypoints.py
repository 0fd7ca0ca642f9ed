"""Joints to soft labels and back, and the files they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crwedge.core.errors import MaskError
from crwedge.core.joints import JHMDB_JOINTS, read_joints
from crwedge.core.keypoints import joints_to_soft, soft_to_joints


def test_a_drawn_joint_is_read_back() -> None:
    joints = np.array([[100.0, 60.0], [31.5, 200.2], [np.nan, np.nan]])
    soft = joints_to_soft(joints, (240, 320), (40, 40))
    assert soft.shape == (4, 40, 40)
    assert soft.dtype == np.float32
    assert soft.min() >= 0
    assert soft[3].max() == 0
    back, strength = soft_to_joints(soft, (240, 320))
    # Three cells of a Gaussian hold most of it, not all: the place is good to a fraction of a cell (8 x 6 pixels).
    assert np.abs(back[:2] - joints[:2]).max() < 3
    assert np.isnan(back[2]).all()
    assert strength[2] == 0


def test_a_joint_on_a_cell_centre_peaks_there() -> None:
    # Cell (2, 3) of 8 pixels a cell: its centre lies between pixels 27 and 28, 19 and 20.
    soft = joints_to_soft(np.array([[27.5, 19.5]]), (80, 80), (10, 10))
    assert np.unravel_index(soft[1].argmax(), (10, 10)) == (2, 3)
    assert soft[1, 2, 3] == 1
    assert soft[1, 2, 4] == pytest.approx(np.exp(-1 / (2 * 0.5**2)))
    assert soft[0, 2, 3] == 0
    back, _ = soft_to_joints(soft, (80, 80), strongest=1)
    np.testing.assert_allclose(back, [[27.5, 19.5]])


@pytest.mark.parametrize(
    "value",
    [
        [{"frame": 3, "xy": [[1, 2], [3, 4]], "visible": [True, False]}],
        {"frame": 3, "xy": [[1, 2], None]},
        {"names": ["hand", "foot"], "frames": [{"frame": 3, "xy": [[1, 2], [0, 0]], "visible": [1, 0]}]},
        [{"frame": 3, "xy": [[1, 2], [float("nan"), 4]]}],
    ],
)
def test_json_forms(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "joints.json"
    path.write_text(json.dumps(value))
    joints = read_joints(path)
    assert joints.frames == (3,)
    assert joints.xy.shape == (1, 2, 2)
    np.testing.assert_array_equal(joints.xy[0, 0], [1, 2])
    assert np.isnan(joints.xy[0, 1]).all()
    assert len(joints.names) == 2


def test_plain_list_is_frame_zero(tmp_path: Path) -> None:
    path = tmp_path / "joints.json"
    path.write_text("[null, [1, 2], [3, 4]]")
    joints = read_joints(path)
    assert joints.frames == (0,)
    assert np.isnan(joints.xy[0, 0]).all()


def test_names_with_places_are_frame_zero(tmp_path: Path) -> None:
    path = tmp_path / "joints.json"
    path.write_text('{"hand": [1, 2], "foot": null, "nose": [3.5, 4]}')
    number, given = read_joints(path).first()
    assert number == 0
    assert given.names == ("hand", "foot", "nose")
    np.testing.assert_array_equal(given.xy, [[1, 2], [np.nan, np.nan], [3.5, 4]])
    np.testing.assert_array_equal(given.visible, [True, False, True])


def test_the_first_labelled_frame_is_the_lowest(tmp_path: Path) -> None:
    path = tmp_path / "joints.json"
    path.write_text('[{"frame": 7, "xy": [[1, 2]]}, {"frame": 2, "xy": [[3, 4]]}]')
    number, given = read_joints(path).first()
    assert number == 2
    np.testing.assert_array_equal(given.xy, [[3, 4]])
    path.write_text('[{"frame": 2, "xy": [null]}]')
    with pytest.raises(MaskError, match="no joint is visible in frame 2"):
        read_joints(path).first()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '"word"', '[{"xy": [[1, 2, 3]]}]', '[{"xy": [[1, 2]], "visible": [true, true]}]',
     '[{"xy": [[1, 2]]}, {"xy": [[1, 2], [3, 4]]}]', '{"names": ["a", "b"], "frames": [{"xy": [[1, 2]]}]}',
     '{"hand": 3}', '{"hand": [1, 2, 3]}', '{"hand": {"x": 1, "y": 2}}', '{"hand": []}', '[3]', '[{"frame": 1}]',
     '{"names": ["a", "a"], "xy": [[1, 2], [3, 4]]}', '[{"frame": -1, "xy": [[1, 2]]}]', '[{"xy": 3}]',
     '[{"frame": 1, "xy": [[1, 2]]}, {"frame": 1, "xy": [[1, 2]]}]', '[{"xy": [["a", "b"]]}]', '[null, 3]',
     '[[' + "[1, 2]," * 254 + '[1, 2]]]'],
)  # fmt: skip
def test_bad_json_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "joints.json"
    path.write_text(text)
    with pytest.raises(MaskError, match=r"joints\.json"):
        read_joints(path)


def test_mat_files(tmp_path: Path) -> None:
    io = pytest.importorskip("scipy.io")
    path = tmp_path / "joint_positions.mat"
    io.savemat(path, {"pos_img": np.ones((2, 15, 4))})
    joints = read_joints(path)
    assert joints.names == JHMDB_JOINTS
    assert joints.xy.shape == (4, 15, 2)
    assert (joints.xy == 0).all()
    io.savemat(path, {"other": 1})
    with pytest.raises(MaskError, match="joint_positions"):
        read_joints(path)
    path.write_bytes(b"not MATLAB")
    with pytest.raises(MaskError, match="joint_positions"):
        read_joints(path)
    with pytest.raises(MaskError, match="no joint file"):
        read_joints(tmp_path / "none.mat")


@pytest.mark.data
def test_real_files(data: Path) -> None:
    clip = next((data / "pose").glob("jhmdb-*"))
    assert read_joints(clip / "joint_positions.mat").xy.shape == (40, 15, 2)
    camel = read_joints(data / "pose" / "badja-camel.json")
    assert camel.frames[0] == 2
    assert 0 < np.isfinite(camel.xy).mean() < 1
