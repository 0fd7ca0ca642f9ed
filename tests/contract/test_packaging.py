"""The explicit package list in pyproject.toml matches the folders on disk, and the links are links."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import tomli

ROOT = Path(__file__).parents[2]


def test_every_package_is_listed() -> None:
    config = tomli.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = set()
    for package, folder in config["package-dir"].items():
        base = ROOT / folder
        for init in base.rglob("__init__.py"):
            parts = init.parent.relative_to(base).parts
            if package == "crwedge" and parts[:1] in {("export",), ("runtime",)}:
                continue  # the links; their own rows cover them
            found.add(".".join((package, *parts)))
    assert found == set(config["packages"])


def test_the_links_are_links() -> None:
    for name in ("export", "runtime"):
        link = ROOT / "crwedge" / name
        assert link.is_symlink()
        assert link.readlink() == Path("..") / name


def test_the_folders_refuse_any_other_name() -> None:
    for name in ("export", "runtime"):
        done = subprocess.run(
            [sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert f"import this package as crwedge.{name}" in done.stderr


def test_no_registry_host_and_no_path_of_this_machine_is_written_down() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, listed):
        path = ROOT / name.decode()
        if path.suffix in {".toml", ".txt", ".cfg", ".md", ".yml"} or path.name in {"Makefile", "run"}:
            text = path.read_text()
            assert "--index-url" not in text, path
            assert "--find-links" not in text, path


def test_the_documents_install_extras_that_exist_and_no_stranger() -> None:
    """crwedge is on no registry: a document installs the checkout, never a package of that name."""
    extras = set(tomli.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    found = 0
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for line in path.read_text().splitlines():
            if "pip install" in line:
                assert "install 'crwedge" not in line, f"{path.name}: {line}"
            for names in re.findall(r"pip install '\.\[([\w,]+)\]'", line):
                found += 1
                assert set(names.split(",")) <= extras, f"{path.name}: {line}"
    assert found > 5
