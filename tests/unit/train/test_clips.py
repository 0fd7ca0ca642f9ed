from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from crwedge.core.errors import SourceError
from crwedge.train.batches import batches
from crwedge.train.clips import FileClips, clip_times, noise_clips, scene_clips
from crwedge.train.config import TrainConfig
from crwedge.train.dataset_index import Item, index_dataset
from crwedge.train.open_clips import open_clips
from tests.unit.train.conftest import small, write_counting_video, write_sound


def number(frame: np.ndarray) -> int:
    return round((float(frame.mean()) - 8) / 16)


def file_clips(config: TrainConfig) -> FileClips:
    source, _ = open_clips(config.data)
    assert isinstance(source, FileClips)
    return source


def test_frame_rates_space_the_frames(tmp_path: Path) -> None:
    write_counting_video(tmp_path / "a.mp4", frames=14, rate=8)
    rng = np.random.default_rng(0)
    for rate, gap in ((8.0, 1), (4.0, 2), (2.0, 4), (float("inf"), 0)):
        source = file_clips(small(videos=str(tmp_path), clip_length=3, frame_rates=rate))
        for _ in range(5):
            numbers = [number(f) for f in source.clip(rng)]
            assert numbers[1] - numbers[0] in (gap, gap + 1, gap - 1) if gap else numbers[0] == numbers[2]
            assert abs(numbers[2] - numbers[0] - 2 * gap) <= 1


def test_a_short_video_is_stretched_and_a_single_frame_stands_still(tmp_path: Path) -> None:
    item = Item("x", (), 1.0, 10.0, True)
    assert clip_times(item, 4, 1.0, 0.5) == pytest.approx([0.0, 0.3, 0.6, 0.9])
    write_counting_video(tmp_path / "one.mp4", frames=1)
    source = file_clips(small(videos=str(tmp_path), clip_length=4))
    frames = source.clip(np.random.default_rng(0))
    assert [number(frame) for frame in frames] == [0] * 4


def test_a_file_that_breaks_later_is_skipped(clips: Path) -> None:
    config = small(videos=str(clips)).data
    source = FileClips(index_dataset(config.videos, 24.0), index_dataset([], 24.0), config)
    (clips / "a.mp4").write_bytes(b"gone")
    for seed in range(12):
        assert len(source.clip(np.random.default_rng(seed))) == 2
    assert [Path(name).name for name in source.broken] == ["a.mp4"]
    for name in ("b.mp4", "c.mkv"):
        (clips / name).write_bytes(b"gone")
    with pytest.raises(SourceError, match="check the data"):
        source.clip(np.random.default_rng(0))


def test_weights_choose_files(clips: Path) -> None:
    source = file_clips(small(videos=str(clips), weights={"a*": 1.0, "*": 0.0}))
    shapes = {source.clip(np.random.default_rng(seed))[0].shape for seed in range(8)}
    assert shapes == {(48, 64, 3)}


def test_cached_frames_are_decoded_once(clips: Path, tmp_path: Path) -> None:
    config = small(
        videos=str(clips),
        clip_length=3,
        frame_rates=4,
        in_memory=True,
        cache=str(tmp_path / "held"),
        short_side=24,
        workers=1,
    )
    source, broken = open_clips(config.data)
    assert not broken
    (folder,) = (tmp_path / "held").iterdir()
    stamp = (folder / "frames.bin").stat().st_mtime_ns
    for path in clips.glob("*.m*"):  # the second time nothing is read from the videos
        content = path.stat()
        path.write_bytes(b"\0" * content.st_size)
        os.utime(path, ns=(content.st_atime_ns, content.st_mtime_ns))
    again, _ = open_clips(config.data)
    assert (folder / "frames.bin").stat().st_mtime_ns == stamp
    for seed in range(4):
        a, b = (s.clip(np.random.default_rng(seed)) for s in (source, again))
        assert min(a[0].shape[:2]) == 24
        assert all((x == y).all() for x, y in zip(a, b, strict=True))


def test_what_cannot_be_learnt_from_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="crwedge train --demo"):
        open_clips(small().data)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no videos and no pictures"):
        open_clips(small(videos=str(tmp_path / "empty")).data)
    write_sound(tmp_path / "empty" / "s.mkv")
    with pytest.raises(SourceError, match="only sound"):
        open_clips(small(videos=str(tmp_path / "empty")).data)


def test_batches_follow_from_seed_and_step(clips: Path) -> None:
    config = small(videos=str(clips), colour=0.3, batch=4, warp=0.5, objects=2, motion_blur=0.5)
    source, _ = open_clips(config.data)
    first = batches(source, config, start=0)
    third = [next(first) for _ in range(3)][2]
    again = next(batches(source, config, start=2))
    halves = [next(batches(source, config, start=2, rank=rank, world=2)) for rank in (0, 1)]
    assert torch.equal(third.views, again.views)
    assert torch.equal(third.views, torch.cat([half.views for half in halves]))
    assert torch.equal(third.seeds, torch.cat([half.seeds for half in halves]))
    for name in ("maps", "warps", "owner"):
        parts = torch.cat([getattr(half, name) for half in halves])
        assert torch.equal(getattr(third, name), getattr(again, name))
        assert torch.equal(getattr(third, name), parts)
    assert third.views.shape == (4, 3, 3, 32, 32)


def test_workers_change_nothing(clips: Path) -> None:
    config = small(videos=str(clips))
    source, _ = open_clips(config.data)
    alone = next(batches(source, config, start=1))
    helped = next(batches(source, small(videos=str(clips), workers=2), start=1))
    assert torch.equal(alone.views, helped.views)


def test_synthetic_clips() -> None:
    rng = np.random.default_rng(0)
    noise = noise_clips(small(clip_length=3).data, 0, videos=2, frames=4).clip(rng)
    assert abs(float(noise[0].mean()) - 127) < 10
    scenes = scene_clips(small(frame_rates=24).data, 0, videos=1, frames=3).clip(rng)
    assert scenes[0].shape == (48, 64, 3)
    assert (scenes[0] != scenes[1]).any()
