"""Training from WebDataset shards on storage behind fsspec."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crwedge.cli import run
from crwedge.core.scene import render_scene
from crwedge.train.data_config import DataConfig
from crwedge.train.open_clips import index_data, open_clips
from tests.unit.conftest import write_video

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed (extra cluster)")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    """Five shards of one film each in `memory://shards`."""
    memory = fsspec.filesystem("memory")
    for number in range(5):
        film = write_video(tmp_path / f"film{number}.mp4", render_scene(12, 64, 96, seed=number).frames)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.add(film, film.name)
        memory.pipe_file(f"/shards/clips-{number:03d}.tar", out.getvalue())
    yield memory
    memory.rm("/", recursive=True)


def test_every_process_fetches_its_own_shards(store: Any, tmp_path: Path) -> None:
    found = []
    for rank in range(2):
        config = DataConfig(videos=("memory://shards",), cache=str(tmp_path / str(rank)))
        source, broken = open_clips(config, rank=rank, world=2)
        assert broken == []
        found.append([item.name for item in index_data(config, rank, 2).videos.items])
        assert len(list((tmp_path / str(rank)).rglob("*.tar"))) == len(found[-1])
        assert source is not None
    assert found == [["film0.mp4", "film2.mp4", "film4.mp4"], ["film1.mp4", "film3.mp4"]]


@pytest.mark.slow
def test_a_run_from_remote_shards(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = ["--config", "demo", "--set", "data.synthetic=", "--set", "run.calibrate=0", "--device", "cpu"]
    arguments = ["memory://shards/*.tar", "--out", str(tmp_path / "run"), "--steps", "2", "--workers", "0"]
    assert run(["train", *arguments, *options]) == 0
    assert (tmp_path / "run" / "encoder.safetensors").exists()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines
    assert len(list((tmp_path / "cache").rglob("shards/*/clips-*.tar"))) == 5
