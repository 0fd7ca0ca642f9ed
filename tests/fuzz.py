"""Broken inputs for every parser: whatever comes, the answer is a value or a CrwedgeError, soon and in bounded memory.

python -m tests.fuzz --inputs 1000000          # about a quarter of an hour; a failing input is written to fuzz-failures/
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import logging
import random
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from crwedge.core.errors import CrwedgeError

NUMBERS = ("-1", "0", "1e999", "-1e999", "NaN", "9" * 30, "0.5", "2147483648", "18446744073709551616", "1e-320")
WORDS = ("null", "true", "[]", "{}", '""', '"x"', "[[]]", "[1, 2]", '{"size": [1, 2]}')
FEW = b"\x00\x01\x7f\x80\xff\"'{}[]<>/=,:;#%\n\r\t -"


@dataclass(frozen=True)
class Parser:
    """What is fed, and what feeds it."""

    seeds: tuple[bytes, ...]
    """Good inputs, which are broken in many ways."""
    feed: Callable[[Path, bytes], object]
    """Parse bytes; a folder is at hand for files."""
    text: bool = True
    """Whether numbers and words are exchanged too."""


@dataclass
class Outcome:
    """What one parser did."""

    inputs: int = 0
    refused: int = 0
    slowest: float = 0.0
    failures: list[tuple[bytes, str]] = field(default_factory=list)


def parsers() -> dict[str, Parser]:
    """Every parser of something that comes from outside, with seeds."""
    from crwedge.core.bundle import Bundle
    from crwedge.core.joints import read_joints
    from crwedge.core.masks import read_mask
    from crwedge.core.onnx_check import has_external_data
    from crwedge.core.rle import encode_rle
    from crwedge.core.scene import render_scene
    from crwedge.core.tensors import read_tensors, write_tensors
    from crwedge.formats.open import open_annotation
    from crwedge.formats.prompt import parse_names
    from crwedge.runtime.bundle_lookup import shipped_bundle
    from crwedge.runtime.ops.command import parse_command
    from crwedge.runtime.ops.snapshot import read_snapshot, write_snapshot
    from crwedge.runtime.sources.uri import file_path, parse_source_options, scheme_of
    from crwedge.runtime.target import Target, read_target, small_frame, write_target
    from crwedge.runtime.tracker import Tracker
    from crwedge.train.config_file import read_config

    def file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
        def feed(folder: Path, data: bytes) -> object:
            path = folder / name
            path.write_bytes(data)
            return read(path)

        return feed

    def text(read: Callable[[str], object]) -> Callable[[Path, bytes], object]:
        return lambda folder, data: read(data.decode("utf-8", "surrogateescape"))

    def annotation(path: Path) -> None:
        with open_annotation(path) as one:
            for frame in one.frames():
                np.asarray(frame.ids)

    ids = np.zeros((12, 16), np.uint8)
    ids[2:7, 3:9], ids[8:11, 1:14] = 1, 2
    rle = encode_rle(ids == 1)
    shipped = Bundle.open(shipped_bundle())
    with tempfile.TemporaryDirectory() as name:
        tensors = Path(name, "t.safetensors")
        write_tensors(tensors, {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"version": "1", "facts": "{}"})
        tensor_bytes = tensors.read_bytes()
        snapshot = Path(name, "s.safetensors")
        scene = render_scene(frames=2, height=48, width=64, objects=1)
        with Tracker.open(shipped, "cpu", "crw", workers=1) as tracker:
            for number, frame in enumerate(scene.frames):
                tracker.step(frame, scene.masks[0] if number == 0 else None)
            write_snapshot(snapshot, tracker.state())
        snapshot_bytes = snapshot.read_bytes()
        write_target(Path(name, "t.target"), Target((small_frame(scene.frames[0], scene.masks[0]),), {1: "a"}))
        target_bytes = Path(name, "t.target").read_bytes()
    coco = {
        "images": [{"id": 1, "file_name": "00000.png", "height": 12, "width": 16}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "track_id": 1,
                "segmentation": rle,
                "bbox": [3, 2, 6, 5],
                "area": 30,
            },
            {"id": 2, "image_id": 1, "category_id": 1, "segmentation": [[1, 8, 14, 8, 14, 11, 1, 11]]},
        ],
    }
    cvat = (
        "<annotations><meta><task><size>2</size><original_size><width>16</width><height>12</height></original_size></task></meta>"
        '<track id="0" label="dog"><mask frame="0" outside="0" rle="2, 3, 1" left="3" top="2" width="3" height="2"/>'
        '<polygon frame="1" outside="0" points="1.0,8.0;14.0,8.0;14.0,11.0"/></track></annotations>'
    )
    address = b"rtsp://user:secret@10.0.0.7:8554/live?x=1#stream=1&size=480x640&fps=25"
    return {
        "mask": Parser(tuple(_pictures(ids)), file("mask.png", read_mask), text=False),
        "manifest": Parser(
            ((shipped.path / "manifest.json").read_bytes(),), file("manifest.json", lambda p: Bundle.open(p.parent))
        ),
        "ONNX header": Parser(
            (shipped.read("encoder.onnx")[:4096],), lambda folder, data: has_external_data(data), text=False
        ),
        "tensors": Parser((tensor_bytes,), file("t.safetensors", read_tensors)),
        "snapshot": Parser((snapshot_bytes,), file("s.safetensors", read_snapshot)),
        "target": Parser((target_bytes,), file("t.target", read_target)),
        "joints": Parser(
            (
                b'{"hand": [412, 96], "elbow": [371.5, 140], "knee": null}',
                b'[{"frame": 0, "xy": [[1, 2], [3, 4]], "visible": [true, false]}, {"frame": 1, "xy": [[1, 2], [3, 4]]}]',
            ),
            file("joints.json", read_joints),
        ),
        "command": Parser(
            (b'{"mask": "fix.png", "index": 812}', b'{"remove": [2, 3]}'),
            text(lambda line: parse_command(line, Path())),
        ),
        "source": Parser(
            (address, b"file:///tmp/a%20b.mp4#stream=1", b"v4l2:///dev/video0#size=480x640&fps=30"),
            text(lambda line: (parse_source_options(line), scheme_of(line), file_path(line))),
        ),
        "names": Parser((b"1=dog,2=rider",), text(parse_names)),
        "COCO": Parser((json.dumps(coco).encode(),), file("instances.json", annotation)),
        "CVAT": Parser((cvat.encode(),), file("task.xml", annotation)),
        "recipe": Parser(
            (b'clip_length = 1\nbatch = 4\nnodes = "map"\nviews = "own"\nscale = [0.1, 1.0]\n[weights]\n"a*" = 0.5\n',),
            file("recipe.toml", read_config),
        ),
    }


def run(parser: Parser, inputs: int, seed: int, folder: Path) -> Outcome:
    """Feed `inputs` broken inputs; stops after ten failures."""
    rng, out = random.Random(seed), Outcome()
    for _ in range(inputs):
        data = broken(rng, parser)
        begun = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parser.feed(folder, data)
        except CrwedgeError as error:
            out.refused += 1
            if "\n" in str(error):
                out.failures.append((data, f"a message of several lines: {error!r}"))
        except Exception as error:  # that is what is looked for
            out.failures.append((data, f"{type(error).__name__}: {error}"[:300]))
        out.inputs += 1
        out.slowest = max(out.slowest, time.perf_counter() - begun)
        if len(out.failures) >= 10:
            break
    return out


def broken(rng: random.Random, parser: Parser) -> bytes:
    """A seed with one to eight things changed."""
    data = bytearray(rng.choice(parser.seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            return b""
        at, length = rng.randrange(len(data)), rng.choice((1, 1, 2, 4, 16, 64))
        match rng.randrange(8 if parser.text else 6):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + length] = bytes(rng.choice(FEW) for _ in range(length))
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length] * rng.choice((1, 2, 100))
            case 4:
                del data[at:]
            case 5:
                data[at:at] = bytes(rng.randrange(256) for _ in range(length))
            case 6:
                data = bytearray(_exchanged(rng, bytes(data), rb"-?\d+(?:\.\d+)?", NUMBERS))
            case _:
                data = bytearray(_exchanged(rng, bytes(data), rb'"[^"]*"|\[[^\[\]]*\]|\d+', WORDS))
    return bytes(data)


def _exchanged(rng: random.Random, data: bytes, pattern: bytes, choices: tuple[str, ...]) -> bytes:
    found = list(re.finditer(pattern, data))
    if not found:
        return data
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(choices).encode() + data[one.end() :]


def _pictures(ids: np.ndarray) -> Iterable[bytes]:
    palette = Image.fromarray(ids, mode="P")
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    colours = np.stack([ids * 100, ids * 0, ids * 50], axis=-1).astype(np.uint8)
    images = (palette, Image.fromarray(ids), Image.fromarray(colours), Image.fromarray(ids.astype(np.uint16)))
    for image in images:
        stream = io.BytesIO()
        image.save(stream, "PNG")
        yield stream.getvalue()


def main() -> int:
    """Run all parsers and say what they did."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--inputs", type=int, default=1_000_000, help="broken inputs in all")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", help="one parser")
    given = options.parse_args()
    logging.disable()
    chosen = {name: one for name, one in parsers().items() if given.only in (None, name)}
    failed = 0
    for name, parser in chosen.items():
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            out = run(parser, given.inputs // len(chosen), given.seed, Path(folder))
        took = time.perf_counter() - begun
        print(
            f"{name:12} {out.inputs:>8,} inputs {out.refused:>8,} refused, slowest {out.slowest:.3f} s, {took:.0f} s in all",
            flush=True,
        )
        for data, reason in out.failures:
            failed += 1
            path = Path("fuzz-failures", f"{name.replace(' ', '-')}-{hashlib.sha256(data).hexdigest()[:12]}")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            print(f"  {path}: {reason}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
