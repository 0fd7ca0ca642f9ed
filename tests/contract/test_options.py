"""Options are declared once, help fits a screen, and messages go through logging."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import crwedge
from crwedge.cli import COMMANDS, build_app, run
from crwedge.cli.groups import panel_of
from crwedge.cli.settings_option import TABLES, as_settings, table_of

ROOT = Path(__file__).parents[2]
PACKAGE = [path for folder in ("crwedge", "export", "runtime") for path in sorted((ROOT / folder).rglob("*.py"))]
DIFFERENT = {
    "--overwrite": "batch replaces results of other settings, convert one that stands at OUT",
    "--out": "what is written differs: label maps, a bundle, a run, scores, pictures",
    "--engine": "export builds engines, others choose one",
    "--config": "of train it names a recipe",
    "--size": "export fixes a graph's size, bench takes several, eval has the protocol's own",
    "--seed": "train and studies number their runs",
    "--frames": "bench and demo render so many",
    "--mask": "export compares on a clip with its mask",
    "--resume": "of train it goes on with a run",
    "--set": "train and studies have keys of their own",
    "--steps": "of a run, and of each point of a study",
    "--settings": "train has keys of its own",
    "--threads": "batch divides the processors among its workers",
    "--workers": "processes that decode for train, that track for batch",
    "--frame": "grab takes its number, paint writes it",
    "--target": "track takes several and follows them beside masks; batch takes one for videos without a mask",
}
"""Options of one name that mean different things, and why."""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its words."""
    app: Any = typer.main.get_command(build_app())
    for name, command in app.commands.items():
        for inner, one in getattr(command, "commands", {"": command}).items():
            yield f"{name} {inner}".strip(), one


def test_help_of_track_fits_a_screen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run(["track", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 100
    options = [line for line in lines if re.match(r"  --", line)]
    assert 10 <= len(options) <= 16
    titles = [line for line in lines if re.fullmatch(r"[A-Z][\w ]+:", line) and line != "Arguments:"]
    assert titles == ["Input:", "Output:", "Model:", "Long runs:", "General:"]


def test_every_option_is_in_a_panel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for words, command in commands():
        assert run([*words.split(), "--help"]) == 0
        shown = capsys.readouterr().out
        assert "\nOptions:" not in shown, words
        for parameter in command.params:
            if not getattr(parameter, "hidden", False):
                assert f"\n{panel_of(parameter)}:" in shown, (words, parameter.name)


def declarations() -> dict[str, set[tuple[str, str]]]:
    """Long name of an option -> where it is declared and with which help."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for path in (path for path in PACKAGE if path.parent == ROOT / "crwedge" / "cli"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
                name = node.target if isinstance(node, ast.AnnAssign) else None
                own = ast.unparse(name) if name is not None else getattr(node, "arg", "")
                calls = [node.annotation]
            elif isinstance(node, ast.Assign):
                own, calls = ast.unparse(node.targets[0]).lower(), [node.value]
            else:
                continue
            for call in (inner for top in calls for inner in ast.walk(top)):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "typer.Option":
                    words = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
                    names = [str(word).split("/")[0] for word in words] or [f"--{own.replace('_', '-')}"]
                    text = next((ast.unparse(key.value) for key in call.keywords if key.arg == "help"), "")
                    for option in names:
                        found[option].add((f"{path.name}:{call.lineno}", text))
    return found


def test_no_option_is_declared_twice() -> None:
    found = declarations()
    assert len(found) > 30
    for name, places in found.items():
        assert len(places) == 1 or name in DIFFERENT, f"{name} is declared in {sorted(places)}"
        texts = [text for _, text in places]
        assert len(set(texts)) == len(texts), f"{name} has one help in several places: {sorted(places)}"


@pytest.mark.parametrize("command", TABLES)
def test_no_setting_is_an_option_too(command: str) -> None:
    table = table_of(command)
    assert table is not None
    for words, found in commands():
        if words.split()[0] == command and command != "eval":
            options = {word.removeprefix("--") for parameter in found.params for word in parameter.opts}
            clash = options & set(table.settings)
            assert clash <= ({"threads", "size"} if command == "bench" else set()), words
    assert all(setting.doc for key, setting in table.settings.items() if not key.startswith("ttt-"))


def test_a_setting_may_be_written_as_an_option() -> None:
    for words, same in (
        ("track x --watchdog 3 --mask a", "track x --set watchdog=3 --mask a"),
        ("track x --watchdog=3", "track x --set watchdog=3"),
        ("track --reverse x", "track --set reverse=true x"),
        ("track x --no-confidence --confidence", "track x --set confidence=false --set confidence=true"),
        ("track x --context-length 5 --context 4", "track x --set context-length=5 --set context-length=4"),
        ("track x --ttt-set updates=3", "track x --set ttt-updates=3"),
        ("track x --no-watchdog 3", "track x --no-watchdog 3"),
        ("track --fps 5 -- --reverse", "track --set fps=5 -- --reverse"),
        ("eval davis x --first-frame global", "eval davis x --set first-frame=global"),
        ("bench --context 3", "bench --set context-length=3"),
        ("doctor --context 3", "doctor --context 3"),
    ):
        assert as_settings(words.split()) == same.split()


def test_an_option_that_is_no_setting_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words, cure in (
        ("track x --fps 5 --foo 3", "--foo"),
        ("track x --fps soon", "fps is a number"),
        ("track x --fps", "fps"),
    ):
        assert run(words.split()) == 2
        error = capsys.readouterr().err
        assert cure in error
        assert len(error.splitlines()) == 1


def test_track_has_no_any() -> None:
    source = (ROOT / "crwedge" / "cli" / "track.py").read_text(encoding="utf-8")
    assert not re.search(r"\bAny\b", source)


def test_no_function_takes_a_callable_for_words() -> None:
    """Words go to the logger `crwedge`; programs get `on_event` and `on_progress`."""
    for path in PACKAGE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.arg) or (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
                name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
                kind = ast.unparse(node.annotation) if node.annotation is not None else ""
                where = f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
                assert name not in ("say", "tell", "warn", "watch", "beat", "shown_by"), where
                assert "Callable[[str], None]" not in kind, where


def test_the_reading_list_leads_downwards() -> None:
    import grimp

    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    found = re.search(r"read ([^.]*?(?:\.py[^.]*?)+), in this order", text)
    assert found is not None
    files = re.findall(r"`([\w/]+\.py)`", found[1])
    assert len(files) == 5
    assert all((ROOT / file).is_file() for file in files)
    modules = [re.sub(r"^(?!crwedge)", "crwedge.", file.removesuffix(".py").replace("/", ".")) for file in files]
    graph = grimp.build_graph("crwedge", exclude_type_checking_imports=True)
    for number, later in enumerate(modules):
        for earlier in modules[:number]:
            assert graph.find_shortest_chain(importer=later, imported=earlier) is None, (later, earlier)


def test_every_command_is_known() -> None:
    assert set(TABLES) <= set(COMMANDS)
    assert crwedge.__version__
