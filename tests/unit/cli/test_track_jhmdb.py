"""`crwedge track` on the JHMDB clip scores what `crwedge eval` scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crwedge.cli import run


@pytest.mark.data
def test_the_jhmdb_clip_has_the_score_of_eval(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("scipy.io")
    from crwedge.core.joints import read_joints
    from crwedge.eval.pck import PoseScorer

    clip = next((data / "pose").glob("jhmdb-*"))
    truth = read_joints(clip / "joint_positions.mat")
    how = ["--preset", "crw", "--set", "size=320x320", "--set", "context-length=7", "--set", "max-frames=6", "--json"]
    init = ["--init", str(clip / "joint_positions.mat"), "--out", str(tmp_path / "o.jsonl")]
    assert run(["track", str(clip / "JPEGImages"), *init, *how]) == 0
    scorer = PoseScorer(truth.names)
    for line in map(json.loads, (tmp_path / "o.jsonl").read_text().splitlines()[1:]):
        places = [[joint["x"], joint["y"]] for joint in line["joints"].values()]
        scorer.feed_frame(np.array(places), truth.xy[line["index"]], line["index"])
    assert run(["eval", "jhmdb", str(clip), "--max-frames", "6", "--out", str(tmp_path / "eval")]) == 0
    scores = json.loads((tmp_path / "eval" / "summary.json").read_text())["sequences"][clip.name]
    # Places are written to a hundredth of a pixel.
    np.testing.assert_allclose(scorer.conclude().errors, scores["errors"], atol=0.001)
    assert scores["PCK"]["0.5"] > 0.6
