"""The hints that install what is missing, and the clash of two packages."""

from __future__ import annotations

import json
import shlex
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from crwedge.core import packages
from crwedge.core.errors import MissingExtraError
from crwedge.core.optional import import_optional
from crwedge.core.packages import extras, install_command, onnxruntime_clash, requirement_name
from tests.conftest import ROOT


def fake_installation(monkeypatch: pytest.MonkeyPatch, folder: Path, url: str | None) -> None:
    """A crwedge outside a checkout, whose installer recorded `url`."""
    monkeypatch.setattr(packages, "__file__", str(folder / "site-packages" / "crwedge" / "core" / "packages.py"))
    text = json.dumps({"url": url}) if url else None
    requires = metadata.requires("crwedge")
    installed = SimpleNamespace(read_text=lambda file: text, requires=requires)
    monkeypatch.setattr(metadata, "distribution", lambda name: installed)


def test_from_a_checkout_the_checkout_is_installed() -> None:
    assert shlex.split(install_command("train", "export"))[-3:] == ["install", "-e", f"{ROOT}[train,export]"]


def test_from_a_wheel_that_is_still_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "with space" / "crwedge-1-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    fake_installation(monkeypatch, tmp_path, wheel.as_uri())
    assert shlex.split(install_command("window"))[-2:] == ["install", f"{wheel}[window]"]


@pytest.mark.parametrize("url", [None, "file:///gone/crwedge.whl", "https://example.org/crwedge.whl"])
def test_otherwise_the_requirements_are_named(url: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_installation(monkeypatch, tmp_path, url)
    words = shlex.split(install_command("export"))
    assert words[words.index("install") + 1 :] == sorted(extras()["export"])
    assert "crwedge" not in " ".join(words[words.index("install") :])


def test_the_pip_is_that_of_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert install_command("cpu").startswith(f"{sys.executable} -m pip install")
    monkeypatch.setenv("PATH", f"{sys.prefix}/bin")
    assert install_command("cpu").startswith("pip install")


def test_a_missing_package_is_one_line_with_that_command() -> None:
    with pytest.raises(MissingExtraError) as caught:
        import_optional("no_such_package", extra="window")
    assert str(caught.value) == f"no_such_package is not installed: {install_command('window')}"


def test_export_and_training_do_not_bring_an_onnxruntime() -> None:
    """It would overwrite the files of onnxruntime-gpu."""
    for extra in ("", "train", "export", "eval", "mqtt", "window", "tensorrt"):
        assert not [name for name in map(requirement_name, extras()[extra]) if name.startswith("onnxruntime")], extra


def test_both_packages_of_onnxruntime_are_a_clash(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.0"}
    monkeypatch.setattr(packages, "version_of", versions.get)
    clash = onnxruntime_clash() or ""
    assert "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.0" in clash
    assert "uninstall -y onnxruntime onnxruntime-gpu" in clash
    monkeypatch.setattr(packages, "version_of", {"onnxruntime": "1.32.0"}.get)
    assert onnxruntime_clash() is None
    assert "uninstall -y onnxruntime && " in install_command("gpu")
    assert "uninstall" not in install_command("cpu")
