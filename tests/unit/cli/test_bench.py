"""`crwedge bench` prints the keys that programs read, and its dense affinity is the one it claims to be."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crwedge.cli import run
from crwedge.cli.dense import DenseProblem, dense_forms
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.ops import power
from crwedge.runtime.propagation.context import ContextBuffer
from crwedge.runtime.propagation.propagator import LabelPropagator


def test_rows_and_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CRWEDGE_HOME", str(tmp_path))
    assert (
        run(["bench", "--size", "64x96", "--size", "48x64", "--set", "context-length=2", "--frames", "3", "--json"])
        == 0
    )
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"device", "matmul_gflops", "rows", "against_dense", "propagation_share_of_floor"} <= set(result)
    assert [row["size"] for row in result["rows"]] == ["64x96", "48x64"]
    for row in result["rows"]:
        assert set(row["stages_ms"]) == {"encode", "propagate", "output"}
        assert {"engine", "precision", "cells", "whole_ms", "fps", "peak_rss_mb", "JF"} <= set(row)
    assert set(result["against_dense"]) == {"dense", "dense_ms", "ours_ms", "ratio", "all_dense_ms"}
    assert result["against_dense"]["dense"] in result["against_dense"]["all_dense_ms"]


@pytest.fixture
def fake_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up tree of the files that a Jetson's power monitor keeps; no real board was at hand."""
    for name, text in {"in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "1500"}.items():
        path = tmp_path / "board/sys/class/hwmon/hwmon1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(power, "ROOT", tmp_path / "board")
    return tmp_path / "board"


def test_watts_where_the_board_tells(fake_board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(["bench", "--size", "64x96", "--set", "context-length=1", "--frames", "3", "--no-dense", "--engine", "cpu"])
        == 0
    )
    assert ", 7.5 W of the board, " in capsys.readouterr().out
    shutil.rmtree(fake_board)
    assert (
        run(["bench", "--size", "64x96", "--set", "context-length=1", "--frames", "3", "--no-dense", "--engine", "cpu"])
        == 0
    )
    assert " W of " not in capsys.readouterr().out


@pytest.mark.parametrize("changes", [{}, {"window": "square"}, {"first_frame": "restricted"}, {"radius": np.inf}])
def test_every_dense_form_gives_what_ours_gives(changes: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    settings = PropagationSettings(**{"context_length": 2, "topk": 4, "radius": 4, **changes})
    features = rng.normal(size=(4, 16, 9, 11)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    soft = np.ascontiguousarray(rng.dirichlet(np.ones(3), size=(9, 11)).astype(np.float32).transpose(2, 0, 1))
    context = ContextBuffer(settings)
    context.pin(features[0], soft)
    for frame in features[1:3]:
        context.append(frame, soft)
    ours = LabelPropagator(settings)(features[3], context)
    forms = dense_forms(DenseProblem.of(features[3], context, settings), 2)
    assert len(forms) == 3
    for form in forms.values():
        np.testing.assert_allclose(form().T.reshape(3, 9, 11), ours, atol=1e-5)


def test_without_torch_there_is_a_dense_form_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    settings = PropagationSettings(context_length=1, topk=2)
    features = np.full((4, 2, 2), 0.5, np.float32)
    context = ContextBuffer(settings)
    context.pin(features, np.ones((1, 2, 2), np.float32))
    assert list(dense_forms(DenseProblem.of(features, context, settings), 1)) == ["BLAS with a compiled running top-k"]
