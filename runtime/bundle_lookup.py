"""Which bundle to use: the one that was named, the one that was chosen, or the shipped one."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from crwedge.core.bundle import MANIFEST, Bundle
from crwedge.core.errors import BundleError, SettingError
from crwedge.core.files import atomic_write
from crwedge.core.json_text import parse_json
from crwedge.core.user_folders import data_home as data_home
from crwedge.core.user_folders import is_file, is_folder

_log = logging.getLogger("crwedge")

SHIPPED = "shipped"
"""Name of the encoder that comes with the package, valid wherever a bundle can be named."""


@dataclass(frozen=True)
class Choice:
    """The bundle that is used when none is named."""

    bundle: str
    """Absolute folder of a bundle, or `shipped`."""
    reason: str = ""
    """Why it was chosen, in a few words."""


def bundles_home() -> Path:
    """The folder of the bundles that `crwedge export` wrote."""
    return data_home() / "bundles"


def shipped_bundle() -> Path:
    """The encoder that comes with the package."""
    import crwedge

    return Path(crwedge.__file__).parent / "assets" / "encoder"


def find_bundle(model: str | Path | None = None) -> Bundle:
    """The bundle that `model` names; without a name the one chosen with `crwedge use`, else the shipped one.

    A name without a slash is looked for in the current folder and then among the exported bundles; `shipped` is the
    encoder that comes with the package.

    Raises:
        BundleError: there is no such bundle, or it is damaged.
    """
    if model is not None:
        return Bundle.open(bundle_folder(model))
    choice = read_choice()
    try:
        return Bundle.open(shipped_bundle() if choice.bundle == SHIPPED else Path(choice.bundle))
    except BundleError as error:
        if choice.bundle == SHIPPED:
            raise
        raise BundleError(
            f"{error}; it was chosen with `crwedge use`; `crwedge use shipped` goes back to the shipped one"
        ) from error


def bundle_folder(model: str | Path) -> Path:
    """The folder that `model` names; it need not exist."""
    path = Path(model)
    if str(model) == SHIPPED:
        return shipped_bundle()
    if not path.exists() and len(path.parts) == 1 and is_folder(bundles_home() / path):
        path = bundles_home() / path
    if path.is_file() and path.suffix == ".onnx":
        raise BundleError(f"{path} is an ONNX file; give the folder of the bundle")
    return path


def exported_bundles() -> list[Path]:
    """Folders of the bundles that `crwedge export` wrote, by name."""
    home = bundles_home()
    return sorted(p for p in home.iterdir() if is_file(p / MANIFEST)) if is_folder(home) else []


def read_choice() -> Choice:
    """What `use_bundle` wrote last; the shipped encoder where nothing was chosen.

    Raises:
        SettingError: the file was damaged.
    """
    path = _choice_file()
    if not is_file(path):
        return Choice(SHIPPED)
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        return Choice(str(found["bundle"]), str(found["reason"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(f"{path} cannot be read ({error}); `crwedge use shipped` writes it again") from error


def use_bundle(model: str | Path, reason: str = "named with `crwedge use`") -> Bundle:
    """Make a bundle the one that is used when none is named; checked first.

    Args:
        model: as in `find_bundle`.
        reason: why, in a few words; `crwedge models` shows it.

    Raises:
        BundleError: there is no such bundle, or it is damaged.
        SettingError: the choice cannot be written.
    """
    bundle = find_bundle(model)
    name = SHIPPED if bundle.path == shipped_bundle() else str(bundle.path.resolve())
    path = _choice_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(json.dumps({"bundle": name, "reason": reason}).encode())
    except OSError as error:
        raise SettingError(
            f"{path} cannot be written ({error.strerror}); set CRWEDGE_HOME to another folder"
        ) from error
    return bundle


def _choice_file() -> Path:
    return data_home() / "model.json"


def default_preset(bundle: Bundle) -> str:
    """The preset that `crwedge track` uses: `edge`, unless the bundle has a protocol of its own or takes one size only."""
    manifest = bundle.manifest
    return "edge" if manifest.preset == "crw" and manifest.size is None else manifest.preset
