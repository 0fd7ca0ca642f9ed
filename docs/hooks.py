"""Hooks of the documentation site: pages made from the code, and links to files that are not part of the site."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    files.append(File.generated(config, "commands.md", content=_commands()))
    files.append(File.generated(config, "python.md", content=_python()))
    files.append(File.generated(config, "messages.md", content=_messages(Path(config.docs_dir).parent / "crwedge")))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links to files of the repository outside `docs/` become plain text: the site does not hold them."""
    return _OUTSIDE.sub(r"\1", markdown)


def _commands() -> str:
    """The help of every command, as it is printed."""
    commands = import_module("crwedge.cli").COMMANDS
    parts = ["# Commands\n\nThis page is made from the program: the output of `crwedge COMMAND --help`.\n"]
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    for name in commands:
        call = [sys.executable, "-m", "crwedge", name, "--help"]
        text = subprocess.run(call, capture_output=True, text=True, check=True, env=environment).stdout
        parts.append(f"## crwedge {name}\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts)


def _messages(package: Path) -> str:
    """Every error message of the package, by kind; what varies is shown as dots."""
    found: dict[str, set[str]] = {}
    for path in sorted(Path(folder, name) for folder, _, names in os.walk(package, followlinks=True) for name in names):
        if path.suffix == ".py":
            for kind, text in _raised(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault(kind, set()).add(" ".join(text.split()))
    errors = import_module("crwedge.core.errors")
    parts = [
        "# Messages\n\nThis page is made from the code: every error message of crwedge, by class. Dots stand for values.\n"
    ]
    for kind in sorted(set(found) & set(vars(errors))):
        doc = (getattr(errors, kind).__doc__ or "").split("\n")[0]
        lines = "\n".join(f"    {text}" for text in sorted(found[kind]))
        parts.append(f"## {kind}\n\n{doc}\n\n{lines}\n")
    return "\n".join(parts)


def _raised(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            text = _shown(node.exc.args[0])
            if text:
                yield ast.unparse(node.exc.func), text


def _shown(value: ast.expr) -> str:
    if isinstance(value, ast.Constant):
        return str(value.value)
    if isinstance(value, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in value.values)
    return ""


def _python() -> str:
    """Every public name with its signature and docstring."""
    homes = import_module("crwedge")._HOME
    parts = ["# Python reference\n\nThis page is made from the code: every public name of `import crwedge as cw`.\n"]
    parts += [f"::: {homes[name]}.{name}\n" for name in sorted(homes, key=str.lower)]
    return "\n".join(parts)
