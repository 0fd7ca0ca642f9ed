"""Following and scoring whole clips of a rendered scene, with colours as features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crwedge.core.colour import rgb_to_lab
from crwedge.core.errors import MaskError, SourceError, UserError
from crwedge.core.masks import read_mask, write_mask
from crwedge.core.settings import PropagationSettings
from crwedge.eval import davis, jhmdb, vip
from crwedge.eval.datasets import davis_clips
from crwedge.eval.encoders import ColourEngine, EncoderSpec
from crwedge.eval.feature_cache import FeatureCache
from crwedge.eval.follow import Follower
from crwedge.eval.report import write_report
from crwedge.eval.results import ResultFolder, plain, write_tables
from crwedge.eval.runner import run_clips
from crwedge.runtime.backends.cpu import CpuBackend
from crwedge.runtime.tracker import Tracker

SETTINGS = PropagationSettings(context_length=3, topk=5, radius=5)


def follower(cache: FeatureCache | None = None) -> Follower:
    return Follower(EncoderSpec("colour"), SETTINGS, None, 1, cache)


def test_masks_are_those_of_the_tracker(davis_tree: Path) -> None:
    clip = davis_clips(davis_tree)[0]
    first = read_mask(clip.masks[0])
    got = list(follower().masks(clip.frames, first))
    with Tracker(CpuBackend(ColourEngine(), SETTINGS, workers=1)) as tracker:
        frames = [np.asarray(Image.open(path)) for path in clip.frames]
        expected = [tracker.step(frame, first if n == 0 else None).ids for n, frame in enumerate(frames)]
    assert len(got) == len(expected) - 1
    for ours, theirs in zip(got, expected[1:], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_davis_clip_is_scored_and_drawn(davis_tree: Path, tmp_path: Path) -> None:
    clip = davis_clips(davis_tree)[0]
    score = davis.score_clip(clip, follower(), "2017", tmp_path, save=True)
    assert (score.frames, score.scored, len(score.objects)) == (5, 3, 2)
    assert score.mean("J").mean > 0.5
    assert len(list((tmp_path / "masks" / "one").glob("*.png"))) == 5
    assert (tmp_path / "sheets" / "one.jpg").is_file()
    assert len(davis.score_clip(clip, follower(), "2016").objects) == 1


def test_davis_masks_that_do_not_fit_are_named(davis_tree: Path, tmp_path: Path) -> None:
    clip = davis_clips(davis_tree)[0]
    mask = read_mask(clip.masks[0])
    for name, wrong, words in (("small", mask[:-1], "95x128"), ("empty", np.zeros_like(mask), "no object")):
        write_mask(tmp_path / f"{name}.png", wrong)
        other = replace(clip, masks=(tmp_path / f"{name}.png", *clip.masks[1:]))
        with pytest.raises(MaskError, match=words) as caught:
            davis.score_clip(other, follower(), "2017")
        assert f"{name}.png" in str(caught.value)
    write_mask(tmp_path / "later.png", mask[:-1])
    other = replace(clip, masks=(*clip.masks[:2], tmp_path / "later.png", *clip.masks[3:]))
    with pytest.raises(MaskError, match=r"later\.png"):
        davis.score_clip(other, follower(), "2017")


def test_pose_clip_is_scored(davis_tree: Path, tmp_path: Path) -> None:
    (clip,) = jhmdb.pose_clips(davis_tree)
    score = jhmdb.score_clip(clip, follower(), tmp_path)
    assert score.errors.shape == (4, 2)
    assert score.pck()["0.5"] > 0.7
    with pytest.raises(SourceError, match="no clip with joints"):
        jhmdb.pose_clips(davis_tree / "two")
    with pytest.raises(SourceError, match="no joint file"):
        jhmdb.pose_clips(davis_tree / "two", joints=davis_tree / "none.json")
    borrowed = jhmdb.pose_clips(davis_tree / "two", joints=davis_tree / "one" / "joints.json")
    assert [clip.name for clip in borrowed] == ["two"]


def test_jhmdb_own_tree(davis_tree: Path, tmp_path: Path) -> None:
    io = pytest.importorskip("scipy.io")
    for name in ("run1", "run2"):
        (tmp_path / "joint_positions" / "run" / name).mkdir(parents=True)
        io.savemat(
            tmp_path / "joint_positions" / "run" / name / "joint_positions.mat", {"pos_img": np.ones((2, 15, 2))}
        )
        (tmp_path / "Rename_Images" / "run" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "Rename_Images" / "run" / name / "00001.png")
    assert [clip.name for clip in jhmdb.pose_clips(tmp_path)] == ["run1", "run2"]
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "run_test_split1.txt").write_text("run1.avi 1\nrun2.avi 2\n")
    assert [clip.name for clip in jhmdb.pose_clips(tmp_path)] == ["run2"]
    (tmp_path / "Rename_Images" / "run" / "run2" / "00001.png").unlink()
    with pytest.raises(SourceError, match="run2 is missing or empty"):
        jhmdb.pose_clips(tmp_path)


def test_parts_clip_is_scored(davis_tree: Path) -> None:
    clip = vip.vip_clips(davis_tree)[1]
    score = vip.score_clip(clip, follower(), classes=3)
    assert len(score.raw) == 4
    assert score.miou > 0.5
    ignoring = vip.score_clip(clip, follower(), classes=3, ignored=(2,))
    assert np.isnan(ignoring.to_dict()["classes"]["2"] or np.nan)
    assert ignoring.confusion[2].sum() == ignoring.confusion[:, 2].sum() == 0
    with pytest.raises(MaskError, match="shows no class"):
        vip.score_clip(clip, follower(), classes=1)


def test_vip_own_tree(davis_tree: Path, tmp_path: Path) -> None:
    (tmp_path / "Annotations" / "Category_ids").mkdir(parents=True)
    (tmp_path / "Images").mkdir()
    with pytest.raises(SourceError, match=r"val_videos\.txt is missing"):
        vip.vip_clips(tmp_path)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "val_videos.txt").write_text("one\n")
    with pytest.raises(SourceError, match="one is missing"):
        vip.vip_clips(tmp_path)
    (tmp_path / "Images" / "one").symlink_to(davis_tree / "one" / "JPEGImages")
    (tmp_path / "Annotations" / "Category_ids" / "one").symlink_to(davis_tree / "one" / "Annotations")
    assert [len(clip.masks) for clip in vip.vip_clips(tmp_path)] == [5]


def test_frames_of_other_sizes_are_named(davis_tree: Path, tmp_path: Path) -> None:
    clip = davis_clips(davis_tree)[0]
    small, broken = tmp_path / "small.png", tmp_path / "broken.jpg"
    Image.new("RGB", (64, 64)).save(small)
    broken.write_bytes(b"no picture")
    mask = read_mask(clip.masks[0])
    with pytest.raises(SourceError, match=r"small\.png is 64x64"):
        list(follower().masks([clip.frames[0], small], mask))
    with pytest.raises(SourceError, match=r"broken\.jpg"):
        list(follower().masks([clip.frames[0], broken], mask))


def test_cache_returns_the_same_and_is_bounded(davis_tree: Path, tmp_path: Path) -> None:
    clips = davis_clips(davis_tree)
    cache = FeatureCache(tmp_path / "features", limit=10**8)
    first = list(follower(cache).features(clips[0].frames))
    again = list(follower(cache).features(clips[0].frames))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(list(cache.folder.glob("*.npy"))) == 1
    held = next(iter(cache.folder.glob("*.npy"))).stat().st_size
    tight = FeatureCache(cache.folder, limit=held + 200)
    list(follower(tight).features(clips[1].frames))
    assert len(list(cache.folder.glob("*"))) == 1, "the older clip made way"
    none = FeatureCache(tmp_path / "none", limit=10)
    assert len(list(follower(none).features(clips[0].frames))) == 5
    assert not list(none.folder.glob("*"))


def test_a_cache_that_was_left_halfway_starts_again(davis_tree: Path, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    features = follower(cache).features(davis_clips(davis_tree)[0].frames)
    next(features)
    features.close()  # type: ignore[attr-defined]
    assert not list(tmp_path.glob("*"))


def test_runs_resume_and_refuse_another_protocol(davis_tree: Path, tmp_path: Path) -> None:
    clips = davis_clips(davis_tree)
    calls: list[str] = []

    def task(name: str) -> object:
        calls.append(name)
        return davis.score_clip(next(clip for clip in clips if clip.name == name), follower(), "2017", tmp_path)

    protocol = follower().protocol("crw")
    tasks = {clip.name: (lambda name=clip.name: task(name)) for clip in clips}
    first = run_clips({"one": tasks["one"]}, ResultFolder(tmp_path, protocol))
    seen: list[tuple[str, bool]] = []
    scores = run_clips(
        tasks, ResultFolder(tmp_path, protocol), on_progress=lambda name, _, known: seen.append((name, known))
    )
    assert calls == ["one", "two"]
    assert seen == [("one", True), ("two", False)]
    assert plain(first["one"]) == scores["one"]
    summary = davis.summary(scores, protocol, "2017")
    write_tables(tmp_path, summary)
    page = write_report(tmp_path, summary).read_text()
    assert "67.6" in page
    assert "published" in page
    assert page.count("data:image/jpeg;base64") == 2
    assert len((tmp_path / "frames.csv").read_text().splitlines()) == 1 + 2 * 2 * 5
    with pytest.raises(UserError, match="another protocol"):
        ResultFolder(tmp_path, {**protocol, "size": "240x427"})
    (tmp_path / "sequences" / "one.json").write_text("{")
    with pytest.raises(UserError, match=r"one\.json is damaged"):
        ResultFolder(tmp_path, protocol).load("one")


def test_lab_of_known_colours() -> None:
    colours = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]]], np.uint8)
    expected: list[list[float]] = [[100.0, 0.0, 0.0], [0.0, 0.0, 0.0], [53.24, 80.09, 67.2], [32.3, 79.19, -107.86]]
    np.testing.assert_allclose(rgb_to_lab(colours)[0], expected, atol=0.1)


def test_colour_features_are_unit_and_local() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (50, 70, 3), np.uint8)
    features = ColourEngine().run(frame)
    assert features.shape == (49, 7, 9)
    np.testing.assert_allclose(np.linalg.norm(features, axis=0), 1, rtol=1e-5)
    frame[:16, :16] = 0
    changed = np.abs(ColourEngine().run(frame) - features).max(axis=0) > 0
    assert changed[:2, :2].all()
    assert not changed[4:].any()


@pytest.mark.data
def test_real_pose_and_parts_are_sensible_and_repeat(data: Path) -> None:
    (clip,) = jhmdb.pose_clips(data / "pose")
    pose = Follower(EncoderSpec("colour"), PropagationSettings(context_length=7), jhmdb.SIZE)
    first, again = (jhmdb.score_clip(clip.first(8), pose) for _ in range(2))
    assert first.pck() == again.pck()
    assert 0.3 < first.pck()["0.1"] < first.pck()["0.5"] <= 1
    (street,) = vip.vip_clips(data / "parts")
    parts = Follower(EncoderSpec("colour"), PropagationSettings(context_length=4), (280, 280))
    one, two = (vip.score_clip(street.first(4), parts, 11, (11,)) for _ in range(2))
    assert one.to_dict() == two.to_dict()
    assert 0.3 < one.miou < 1
