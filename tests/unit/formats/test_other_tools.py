"""What is written is read by the tools it is for, without a warning: same masks, ids and frames."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from crwedge.core.labels import LabelMap
from crwedge.core.scene import Scene
from crwedge.formats.annotation import AnnotatedFrame, Annotation
from crwedge.formats.open import write_annotation
from crwedge.formats.polygons import parts
from tests.unit.formats.masks import of_frames

pytestmark = [
    # Of pycocotools itself, with NumPy 2, whatever it reads.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]
WHY = "is not installed: make interop"


@pytest.fixture(scope="module")
def annotation(small_scene: Scene) -> Annotation:
    """Six frames; object 1 has a hole, and object 2 is in two parts, is away in frame 3, and is called 9."""
    frames = []
    for number, mask in enumerate(small_scene.masks):
        ids = np.where(mask == 2, 9, mask).astype(np.uint8)
        ys, xs = np.nonzero(ids == 1)
        y, x = int(np.median(ys)), int(np.median(xs))
        ids[y - 2 : y + 2, x - 3 : x + 2] = 0
        ids[1:4, 90:94] = 9
        frames.append(AnnotatedFrame(number, np.where(ids == 9, 0, ids).astype(np.uint8) if number == 3 else ids))
    return of_frames(frames, {1: "dog", 9: "big cat"})


def near(found: np.ndarray, wanted: np.ndarray) -> None:
    """Equal but for pixels that touch the boundary."""
    inside = np.pad(wanted.astype(bool), 1)
    windows = [inside[y : y + wanted.shape[0], x : x + wanted.shape[1]] for y in range(3) for x in range(3)]
    # Beyond the frame nothing is known.
    edge = np.logical_or.reduce(windows) & ~np.logical_and.reduce(windows)
    assert not (found.astype(bool) != wanted.astype(bool))[~edge].any()


def test_pycocotools_reads_the_same_masks(annotation: Annotation, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason=f"pycocotools {WHY}")
    write_annotation(annotation, tmp_path / "a.json")
    with contextlib.redirect_stdout(io.StringIO()):
        read = coco.COCO(str(tmp_path / "a.json"))
    frames = {frame.number: frame.ids for frame in annotation.frames()}
    assert sorted(image["frame_id"] for image in read.dataset["images"]) == sorted(frames)
    seen = set()
    for entry in read.loadAnns(read.getAnnIds()):
        number = read.imgs[entry["image_id"]]["frame_id"]
        wanted = frames[number] == entry["track_id"]
        np.testing.assert_array_equal(read.annToMask(entry).astype(bool), wanted)
        assert (entry["area"], read.cats[entry["category_id"]]["name"]) == (
            wanted.sum(),
            annotation.names[entry["track_id"]],
        )
        seen.add((number, entry["track_id"]))
    assert seen == {(number, int(i)) for number, ids in frames.items() for i in np.unique(ids) if i}


def test_pycocotools_fills_polygons_within_a_pixel(annotation: Annotation) -> None:
    mask = pytest.importorskip("pycocotools.mask", reason=f"pycocotools {WHY}")
    for frame in annotation.frames():
        for i in (1, 9):
            wanted = frame.ids == i
            found = np.zeros(wanted.shape, bool)
            for part in parts(wanted):
                (rle,) = mask.frPyObjects([part.reshape(-1).tolist()], *wanted.shape)
                found |= mask.decode(rle).astype(bool)
            near(found, wanted)


@pytest.mark.parametrize(
    ("form", "name", "exact"), [("coco", "coco", True), ("cvat-images", "cvat", True), ("cvat-polygons", "cvat", False)]
)
def test_datumaro_reads_masks_ids_and_frames(
    annotation: Annotation, form: str, name: str, exact: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By the name of the format, and by what it finds itself. In tracks of CVAT it knows polygons alone."""
    datumaro = pytest.importorskip("datumaro", reason=f"datumaro {WHY}")
    folder = with_pictures(annotation, form, tmp_path)
    with caplog.at_level("WARNING"):
        for given in (name, None):
            dataset = datumaro.Dataset.import_from(str(folder), given)
            assert frames_of(dataset, form) == [frame.number for frame in annotation.frames()]
            compare(datumaro_masks(dataset, form), annotation, exact)
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize(
    ("form", "name", "said"),
    [
        # Its reader takes the size of a mask's frame from an image element, which tracks do not have.
        ("cvat", "cvat", "'NoneType' object has no attribute 'get'"),
        # Its readers of YOLO take lines of five fields, which are boxes, and know no others.
        ("yolo", "yolo", "Failed to find dataset 'yolo'"),
    ],
)
def test_what_datumaro_does_not_read(annotation: Annotation, tmp_path: Path, form: str, name: str, said: str) -> None:
    """Once this fails, Datumaro has learnt it: compare what it reads, and mend the table in docs/formats.md."""
    datumaro = pytest.importorskip("datumaro", reason=f"datumaro {WHY}")
    folder = with_pictures(annotation, form, tmp_path)
    with pytest.raises(datumaro.components.errors.DatumaroError) as caught:
        datumaro.Dataset.import_from(str(folder), name)
    cause: BaseException = caught.value
    while cause.__cause__ is not None:
        cause = cause.__cause__
    assert said in str(cause)


@pytest.mark.parametrize(
    ("form", "taken_for"),
    # Point clouds of Supervisely have a meta.json as well; that reader finds no frame here.
    [("davis", []), ("youtube-vos", ["sly_pointcloud"])],
)
def test_what_datumaro_has_no_reader_for(
    annotation: Annotation, tmp_path: Path, form: str, taken_for: list[str]
) -> None:
    """See `test_what_datumaro_does_not_read`."""
    datumaro = pytest.importorskip("datumaro", reason=f"datumaro {WHY}")
    folder = with_pictures(annotation, form, tmp_path)
    environment = datumaro.components.environment.Environment()
    assert environment.detect_dataset(str(folder)) == taken_for
    assert not any("davis" in name or "youtube" in name for name in environment.importers)


def test_supervision_reads_yolo(annotation: Annotation, tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision", reason=f"supervision {WHY}")
    write_annotation(annotation, tmp_path / "yolo", "yolo")
    (tmp_path / "yolo" / "images").mkdir()
    frames = {frame.stem: frame.ids for frame in annotation.frames()}
    for stem, ids in frames.items():
        Image.new("RGB", ids.shape[::-1]).save(tmp_path / "yolo" / "images" / f"{stem}.png")
    places = [str(tmp_path / "yolo" / part) for part in ("images", "labels", "data.yaml")]
    read = supervision.DetectionDataset.from_yolo(*places, force_masks=True)
    assert read.classes == ["dog", "big cat"]
    for path, _, detections in read:
        for number, i in enumerate((1, 9)):
            of_class = detections.mask[detections.class_id == number]
            found = of_class.any(axis=0) if len(of_class) else np.zeros(annotation.size, bool)
            near(found, frames[Path(path).stem] == i)


def test_labels_as_detections(small_scene: Scene) -> None:
    pytest.importorskip("supervision", reason=f"supervision {WHY}")
    ids = small_scene.masks[0]
    soft = np.zeros((4, 8, 12), np.float32)
    labels = LabelMap(ids, 0, (1, 2, 3), soft, confidence={1: 0.5, 2: 0.75, 3: 0.1}, names={2: "ball"})
    found = labels.to_supervision()
    # Object 3 is nowhere in the frame.
    assert found.tracker_id.tolist() == [1, 2]
    np.testing.assert_array_equal(found.mask, [ids == 1, ids == 2])
    assert found.confidence.tolist() == [0.5, 0.75]
    assert found.data["class_name"].tolist() == ["1", "ball"]
    ys, xs = np.nonzero(ids == 1)
    assert found.xyxy[0].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    nothing = LabelMap(np.zeros_like(ids), 0, (1,), soft).to_supervision()
    assert len(nothing) == 0
    assert nothing.mask.shape == (0, *ids.shape)


def with_pictures(annotation: Annotation, form: str, folder: Path) -> Path:
    """The annotation as a folder, with the frames in `images`, where Datumaro looks for them."""
    write_annotation(annotation, folder / "a.zip", form)
    with ZipFile(folder / "a.zip") as archive:
        archive.extractall(folder / "a")
    (folder / "a" / "images").mkdir()
    for frame in annotation.frames():
        Image.new("RGB", frame.ids.shape[::-1]).save(folder / "a" / "images" / f"{frame.stem}.jpg")
    return folder / "a"


def frame_of(item: Any, form: str) -> int:
    return int(item.id) if form == "coco" else int(item.attributes["frame"])


def frames_of(dataset: Any, form: str) -> list[int]:
    return sorted(frame_of(item, form) for item in dataset)


def datumaro_masks(dataset: Any, form: str) -> dict[tuple[int, int], tuple[str, Any]]:
    """Label and shape of each object of each frame."""
    labels = [label.name for label in dataset.categories()[next(iter(dataset.categories()))].items]
    found = {}
    for item in dataset:
        for shape in item.annotations:
            if shape.type.name in ("mask", "polygon") and not shape.attributes.get("outside"):
                key = frame_of(item, form), int(shape.attributes["track_id"])
                assert key not in found
                found[key] = labels[shape.label], shape
    return found


def compare(found: dict[tuple[int, int], tuple[str, Any]], annotation: Annotation, exact: bool) -> None:
    mask_tools = pytest.importorskip("pycocotools.mask", reason=f"pycocotools {WHY}")
    wanted = {(f.number, int(i)): f.ids == i for f in annotation.frames() for i in np.unique(f.ids) if i}
    assert set(found) == set(wanted)
    for key, (label, shape) in found.items():
        assert label == annotation.names[key[1]]
        if exact:
            np.testing.assert_array_equal(shape.image.astype(bool), wanted[key])
        else:
            (rle,) = mask_tools.frPyObjects([list(shape.points)], *annotation.size)
            near(mask_tools.decode(rle), wanted[key])
