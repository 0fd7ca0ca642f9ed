"""The bundle: a folder with an encoder as ONNX, its weights, and a manifest with their hashes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from crwedge.core.checked import convert, field_types
from crwedge.core.described import described
from crwedge.core.errors import BundleError, SettingError
from crwedge.core.files import atomic_write, replace_folder, sha256, sync_folder
from crwedge.core.json_text import parse_json
from crwedge.core.onnx_check import has_external_data

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
ONNX = "encoder.onnx"
WEIGHTS = "encoder.safetensors"
ENGINES = "engines"

_HASH = re.compile(r"[0-9a-f]{64}")


@described
@dataclass(frozen=True)
class Manifest:
    """Contents of `manifest.json`."""

    name: str
    architecture: str
    padding: str
    mean: tuple[float, float, float]
    """RGB in 0..1; applied inside the graph."""
    std: tuple[float, float, float]
    stride: int
    channels: int
    precision: str
    """Precision of the graph: float32, float16 or int8."""
    weights_from: str
    """Origin of the weights, in one sentence."""
    trained: bool
    """False for random weights."""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of every file except the manifest and the engines."""
    preset: str = "crw"
    """Default propagation preset for these features."""
    size: tuple[int, int] | None = None
    """Fixed input (H, W), or None when the graph takes any size."""
    parity: dict[str, Any] = field(default_factory=dict)
    """Result of the comparison with PyTorch at the end of the export."""
    calibration: str = ""
    """Frames that an int8 graph was calibrated on."""
    cycle: dict[str, Any] = field(default_factory=dict)
    """Label-free score of the encoder on rendered films, with its protocol; empty where it was not measured."""
    crwedge_version: str = ""
    format_version: int = FORMAT_VERSION


@described
@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Open a bundle and verify the hash of every file.

        Raises:
            BundleError: a file is missing, changed or not listed, or the format version is not supported.
        """
        path = Path(path)
        if not path.is_dir():
            raise BundleError(f"there is no bundle {path}; `crwedge export` makes one")
        manifest = _read_manifest(path / MANIFEST)
        present = {p.relative_to(path).as_posix() for p in path.rglob("*") if not p.is_dir()} - {MANIFEST}
        engines = {name for name in present if name.startswith(f"{ENGINES}/")}
        for name in sorted(present - engines - set(manifest.files)):
            raise BundleError(f"{path / name} is not listed in the bundle's manifest; remove it or export again")
        for name in sorted(manifest.files):
            read_verified(path, manifest, name)
        if ONNX not in manifest.files:
            raise BundleError(f"the bundle {path} lists no {ONNX}; export it again")
        return cls(path, manifest)

    def read(self, name: str) -> bytes:
        """The contents of a listed file. The hash is computed again, from the bytes that are returned."""
        return read_verified(self.path, self.manifest, name)

    @property
    def sha256(self) -> str:
        """Hash of the encoder's ONNX file."""
        return self.manifest.files[ONNX]


def read_verified(path: Path, manifest: Manifest, name: str) -> bytes:
    """Contents of the file `name` of the bundle at `path`; BundleError when its hash is not that of the manifest."""
    try:
        data = (path / name).read_bytes()
    except OSError as error:
        raise BundleError(f"the bundle {path} lacks {name} ({error.strerror}); copy it again or export it") from error
    if sha256(data) != manifest.files.get(name):
        raise BundleError(f"{path / name} was changed or damaged (its SHA-256 differs); copy it again or export it")
    if name.endswith(".onnx") and has_external_data(data):
        raise BundleError(f"{path / name} keeps weights outside the file, which is refused; export it again")
    return data


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle atomically; a bundle that exists at `path` is replaced.

    The folder is written beside `path` and renamed. Its engines are kept if the graph is the same.

    Raises:
        BundleError: `path` exists and is not a bundle, or cannot be written.
    """
    path = Path(path)
    if path.exists() and not (path / MANIFEST).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise BundleError(f"{path} exists and is not a bundle; choose another --out")
    hashes = {name: sha256(data) for name, data in sorted(files.items())}
    manifest = replace(manifest, files=hashes)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One level deeper than bundles are, so that the remains of a killed export are never taken for a bundle.
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:
        raise BundleError(f"cannot write a bundle at {path} ({error.strerror}); choose another --out") from error
    try:
        staging = temporary / "bundle"
        staging.mkdir()
        _keep_engines(path, staging, manifest)
        # The manifest is written last: a folder without one is no bundle.
        for name, data in (*files.items(), (MANIFEST, render_manifest(manifest))):
            with open(staging / name, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(staging)
        replace_folder(staging, path)
        sync_folder(path.parent)
    except OSError as error:
        raise BundleError(f"cannot write a bundle at {path} ({error.strerror}); choose another --out") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Bundle.open(path)


def record_cycle(bundle: Bundle, cycle: Mapping[str, Any]) -> Bundle:
    """Write the label-free score into the manifest of a bundle; atomic.

    Raises:
        BundleError: the manifest cannot be written.
    """
    manifest = replace(bundle.manifest, cycle=dict(cycle))
    try:
        with atomic_write(bundle.path / MANIFEST) as file:
            file.write(render_manifest(manifest))
    except OSError as error:
        raise BundleError(f"cannot write a bundle at {bundle.path} ({error.strerror}); choose another --out") from error
    return replace(bundle, manifest=manifest)


def _keep_engines(old: Path, new: Path, manifest: Manifest) -> None:
    """Copy the engines if the graph is the same."""
    if not (old / ENGINES).is_dir():
        return
    with contextlib.suppress(BundleError):
        if _read_manifest(old / MANIFEST).files.get(ONNX) == manifest.files[ONNX]:
            shutil.copytree(old / ENGINES, new / ENGINES)


def render_manifest(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`; `seal` is the SHA-256 of all other values."""
    values = asdict(manifest)
    if not manifest.cycle:
        del values["cycle"]  # bundles of before have no such field
    values["seal"] = sha256(json.dumps(values, sort_keys=True).encode())
    return (json.dumps(values, indent=1, sort_keys=True) + "\n").encode()


def _read_manifest(path: Path) -> Manifest:
    try:
        data = path.read_bytes()
        values = parse_json(data)
    except OSError as error:
        raise BundleError(f"{path.parent} is not a bundle: it has no {MANIFEST}; `crwedge export` makes one") from error
    except ValueError as error:
        raise BundleError(f"{path} is not readable JSON ({error}); export the bundle again") from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{path} has format version {version!r}, this crwedge reads {FORMAT_VERSION}; "
            "export the bundle again or install the crwedge that wrote it"
        )
    known = {item.name for item in fields(Manifest)}
    try:
        values.pop("seal", None)
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}")
        kinds = field_types(Manifest)
        manifest = Manifest(**{name: convert(name, value, kinds[name]) for name, value in values.items()})
        _check_files(manifest)
    except (TypeError, ValueError, SettingError) as error:
        raise BundleError(f"{path} is damaged ({error}); export the bundle again") from error
    if render_manifest(manifest) != data:
        raise BundleError(f"{path} was changed or damaged (its seal does not hold); copy it again or export the bundle")
    return manifest


def _check_files(manifest: Manifest) -> None:
    for name, value in manifest.files.items():
        # Only plain names: no path may leave the folder.
        if "/" in name or "\\" in name or name.startswith(".") or not _HASH.fullmatch(str(value)):
            raise ValueError(f"bad entry {name!r}")
