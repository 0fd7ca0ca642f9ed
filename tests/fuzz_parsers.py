"""Every parser of what comes from outside, with good inputs to break."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crwedge.core.errors import CrwedgeError

IDS = np.zeros((12, 16), np.uint8)
IDS[2:7, 3:9], IDS[8:11, 1:14] = 1, 2


@dataclass(frozen=True)
class Parser:
    """What is fed, and what feeds it."""

    seeds: tuple[bytes, ...]
    """Good inputs, which are broken in many ways."""
    feed: Callable[[Path, bytes], object]
    """Parse bytes; a folder is at hand for files."""
    text: bool = True
    """Whether numbers and words are exchanged too."""


def parsers() -> dict[str, Parser]:
    """All of them by name. Building them runs the encoder once, for the seed of a snapshot."""
    from crwedge.adapt.settings import parse_budget, parse_changes
    from crwedge.batch.results import parse_manifest
    from crwedge.batch.table import read_table
    from crwedge.cli.track import setting_table
    from crwedge.core.images import parse_size
    from crwedge.core.joints import read_joints
    from crwedge.core.masks import read_mask
    from crwedge.core.pictures import read_picture
    from crwedge.core.tensors import read_tensors
    from crwedge.formats.prompt import parse_names
    from crwedge.runtime.ops.command import parse_command
    from crwedge.runtime.ops.snapshot import read_snapshot
    from crwedge.runtime.sources.uri import file_path, parse_source_options, scheme_of
    from crwedge.runtime.target import read_target
    from crwedge.train.config_file import read_config

    settings = setting_table()
    words = {"size": parse_size, "budget": parse_budget, "names": parse_names}
    return {
        "mask": Parser(tuple(_masks()), _file("mask.png", read_mask), text=False),
        "picture": Parser(tuple(_pictures()), _file("picture", read_picture), text=False),
        "tensors": Parser((_saved("tensors"),), _file("t.safetensors", read_tensors)),
        "snapshot": Parser((_saved("snapshot"),), _rehashed("s.safetensors", read_snapshot)),
        "target": Parser((_saved("target"),), _rehashed("t.target", read_target)),
        "joints": Parser(
            (
                b'{"hand": [412, 96], "elbow": [371.5, 140], "knee": null}',
                b'[{"frame": 0, "xy": [[1, 2], [3, 4]], "visible": [true, false]}, {"frame": 1, "xy": [[1, 2], [3, 4]]}]',
            ),
            _file("joints.json", read_joints),
        ),
        "command": Parser(
            (b'{"mask": "fix.png", "index": 812}', b'{"remove": [2, 3]}', b'{"forget": true}'),
            _text(lambda line: parse_command(line, Path())),
        ),
        "source": Parser(
            (
                b"rtsp://user:secret@10.0.0.7:8554/live?x=1#stream=1&size=480x640&fps=25",
                b"file:///tmp/a%20b.mp4#stream=1",
                b"v4l2:///dev/video0#size=480x640&fps=30",
            ),
            _text(lambda line: (parse_source_options(line), scheme_of(line), file_path(line))),
        ),
        **{
            name: Parser((seed,), _text(words[name]))
            for name, seed in (("names", b"1=dog,2=rider"), ("size", b"480x854"), ("budget", b"25%"))
        },
        "settings": Parser(
            (b"context-length=5", b"radius=12.5", b"first-frame=global", b"ttt-updates=50"),
            _text(lambda line: (parse_changes([line]), settings.parse([line]))),
        ),
        "recipe": Parser(
            (b'clip_length = 1\nbatch = 4\nnodes = "map"\nviews = "own"\nscale = [0.1, 1.0]\n[weights]\n"a*" = 0.5\n',),
            _file("recipe.toml", read_config),
        ),
        "table": Parser(
            (
                b'{"video": "a.mp4", "mask": "a.png", "settings": {"radius": 12}, "size": "480x854", "save": ["b.mp4"]}\n',
            ),
            _file("t.jsonl", lambda path: read_table(str(path))),
        ),
        "CSV": Parser(
            (b"video,mask,name,context_length\na.mp4,a.png,a,5\nb.mp4,b.png,,\n",),
            _file("t.csv", lambda path: read_table(str(path))),
        ),
        "batch": Parser((b'{"name": "a", "state": "done", "frames": 3}\n',), lambda folder, data: parse_manifest(data)),
        **_bundles(),
        **_annotations(),
    }


def _file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    def feed(folder: Path, data: bytes) -> object:
        path = folder / name
        path.write_bytes(data)
        return read(path)

    return feed


def _rehashed(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    """As `_file`; a file that is whole but for its hash is then read with one that holds, as who knows how could write it."""

    def feed(folder: Path, data: bytes) -> object:
        from safetensors import SafetensorError, safe_open

        from crwedge.core.tensors import write_tensors

        path = folder / name
        path.write_bytes(data)
        try:
            return read(path)
        except CrwedgeError as error:
            if "its hash" not in str(error):
                raise
        with contextlib.suppress(SafetensorError, TypeError), safe_open(path, framework="np") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            write_tensors(path, tensors, file.metadata())
        return read(path)

    return feed


def _text(read: Callable[[str], object]) -> Callable[[Path, bytes], object]:
    return lambda folder, data: read(data.decode("utf-8", "surrogateescape"))


def _masks() -> Iterable[bytes]:
    palette = Image.fromarray(IDS, mode="P")
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    colours = np.stack([IDS * 100, IDS * 0, IDS * 50], axis=-1).astype(np.uint8)
    for image in (palette, Image.fromarray(IDS), Image.fromarray(colours), Image.fromarray(IDS.astype(np.uint16))):
        yield _encoded(image, "PNG")


def _pictures() -> Iterable[bytes]:
    picture = Image.fromarray(np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3))
    for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        yield _encoded(picture, form)


def _encoded(image: Image.Image, form: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


def _saved(kind: str) -> bytes:
    """A file of our own writers."""
    from crwedge.core.scene import render_scene
    from crwedge.core.tensors import write_tensors
    from crwedge.runtime.ops.snapshot import write_snapshot
    from crwedge.runtime.target import Target, small_frame, write_target
    from crwedge.runtime.tracker import Tracker

    scene = render_scene(frames=2, height=48, width=64, objects=1)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "file")
        if kind == "tensors":
            write_tensors(path, {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"version": "1", "facts": "{}"})
        elif kind == "target":
            write_target(path, Target((small_frame(scene.frames[0], scene.masks[0]),), {1: "a"}))
        else:
            with Tracker.open(None, "cpu", "crw", workers=1) as tracker:
                for number, frame in enumerate(scene.frames):
                    tracker.step(frame, scene.masks[0] if number == 0 else None)
                write_snapshot(path, tracker.state())
        return path.read_bytes()


def _bundles() -> dict[str, Parser]:
    """The graph, and the manifest beside it, with its seal broken and with one that holds again."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from crwedge.core.bundle import Bundle, Manifest, write_bundle
    from crwedge.core.onnx_check import has_external_data

    weight = numpy_helper.from_array(np.ones(2, np.float32), "w")
    inner = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "inner", [], [], [weight])
    nodes = [
        helper.make_node("Constant", [], ["c"], value=weight),
        helper.make_node("If", ["c"], ["y"], then_branch=inner),
    ]
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    model = helper.make_model(helper.make_graph(nodes, "g", [], [value], [weight]))
    outside = onnx.ModelProto()
    outside.CopyFrom(model)
    tensor = outside.graph.node[1].attribute[0].g.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    graph = model.SerializeToString()
    with tempfile.TemporaryDirectory() as name:
        facts = Manifest("x", "resnet18", "zeros", (0.5,) * 3, (0.5,) * 3, 8, 256, "float32", "a test", True)
        manifest = (write_bundle(Path(name, "b"), facts, {"encoder.onnx": graph}).path / "manifest.json").read_bytes()

    def check_graph(folder: Path, data: bytes) -> None:
        # What the onnx package would load from another file must be seen.
        found = has_external_data(data)
        try:
            loaded = onnx.load_model_from_string(data)
        except Exception:  # damaged for protobuf; ours may have been content
            return
        assert found or not any(onnx.external_data_helper.uses_external_data(t) for t in _tensors(loaded))

    def open_bundle(folder: Path, data: bytes) -> None:
        (folder / "encoder.onnx").write_bytes(graph)
        (folder / "manifest.json").write_bytes(data)
        opened = Bundle.open(folder).manifest
        numbers = (*opened.mean, *opened.std, opened.stride, opened.channels, *(opened.size or ()))
        assert all(isinstance(number, int | float) for number in numbers)
        assert all(isinstance(word, str) for word in (opened.name, opened.architecture, opened.preset))

    return {
        "ONNX": Parser((graph, outside.SerializeToString()), check_graph, text=False),
        "manifest": Parser((manifest,), open_bundle),
        "sealed": Parser((manifest,), lambda folder, data: open_bundle(folder, sealed(data))),
    }


def _tensors(message: Any) -> Iterable[Any]:
    """Every tensor in a protobuf message."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
    for entry, value in message.ListFields():
        if entry.message_type is not None:
            for one in value if isinstance(value, list) or hasattr(value, "add") else [value]:
                yield from _tensors(one)


def sealed(data: bytes) -> bytes:
    """A manifest with its seal computed again, as somebody who knows how could."""
    try:
        values = json.loads(data)
        values.pop("seal", None)
        values["seal"] = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        return (json.dumps(values, indent=1, sort_keys=True) + "\n").encode()
    except (ValueError, AttributeError, TypeError):
        return data


def _annotations() -> dict[str, Parser]:
    from crwedge.core.rle import encode_rle
    from crwedge.formats.open import open_annotation

    def read(path: Path) -> None:
        with open_annotation(path) as annotation:
            for frame in annotation.frames():
                np.asarray(frame.ids)

    def beside(name: str, others: dict[str, bytes]) -> Callable[[Path, bytes], object]:
        def feed(folder: Path, data: bytes) -> None:
            for inner, content in ({} if (folder / name).exists() else others).items():
                (folder / inner).parent.mkdir(parents=True, exist_ok=True)
                (folder / inner).write_bytes(content)
            (folder / name).write_bytes(data)
            read(folder)

        return feed

    rle = encode_rle(IDS == 1)
    box = {"bbox": [3, 2, 6, 5], "area": 30}
    one = {"id": 1, "image_id": 1, "category_id": 1}
    coco = {
        "images": [{"id": 1, "file_name": "00000.png", "height": 12, "width": 16}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {**one, "track_id": 1, "segmentation": rle, **box},
            {**one, "id": 2, "segmentation": [[1, 8, 14, 8, 14, 11, 1, 11]]},
        ],
    }
    cvat = (
        b"<annotations><meta><task><size>2</size><original_size><width>16</width><height>12</height></original_size></task></meta>"
        b'<track id="0" label="dog"><mask frame="0" outside="0" rle="2, 3, 1" left="3" top="2" width="3" height="2"/>'
        b'<polygon frame="1" outside="0" points="1.0,8.0;14.0,8.0;14.0,11.0"/></track></annotations>'
    )
    pictures = (
        b'<annotations><image id="0" name="a.png" width="16" height="12">'
        b'<mask label="dog" rle="2, 3, 1" left="3" top="2" width="3" height="2"><attribute name="track_id">1</attribute></mask>'
        b'</image><image id="1" name="b.png" width="16" height="12">'
        b'<polygon label="dog" points="1.0,8.0;14.0,8.0;14.0,11.0"><attribute name="track_id">2.0</attribute></polygon></image>'
        b"</annotations>"
    )
    line = json.dumps({"index": 0, "pts": 0.0, "names": {"1": "dog"}, "objects": {"1": rle}}).encode() + b"\n"
    yaml = b'names:\n  0: "dog"\n  1: rider\ncrwedge: {"objects": [1, 2], "size": [12, 16], "video": "clip"}\n'
    labels = b"0 0.1 0.2 0.5 0.2 0.5 0.6\n1 0.1 0.7 0.9 0.7 0.9 0.9\n"
    mask = next(iter(_masks()))
    meta = b'{"videos": {"clip": {"objects": {"1": {"category": "dog", "frames": ["00000"]}}}}}'
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", cvat)
        archive.writestr("notes.txt", b"hello")
    return {
        "COCO": Parser((json.dumps(coco).encode(),), _file("instances.json", read)),
        "CVAT": Parser((cvat, pictures), _file("task.xml", read)),
        "JSON Lines": Parser((line * 2,), _file("masks.jsonl", read)),
        "YOLO names": Parser((yaml,), beside("data.yaml", {"labels/00000.txt": labels})),
        "YOLO labels": Parser((labels,), beside("labels/00000.txt", {"data.yaml": yaml, "labels/00001.txt": labels})),
        "YouTube-VOS": Parser((meta,), beside("meta.json", {"Annotations/clip/00000.png": mask})),
        "zip": Parser((packed.getvalue(),), _file("task.zip", read), text=False),
    }
