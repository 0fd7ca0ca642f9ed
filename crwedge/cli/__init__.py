"""The command line: one file a command, imported when it is chosen."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from importlib import import_module
from typing import Any

COMMANDS = {
    "demo": "crwedge.cli.demo:demo",
    "track": "crwedge.cli.track:track",
    "serve": "crwedge.cli.serve:serve",
    "paint": "crwedge.cli.paint:paint",
    "grab": "crwedge.cli.grab:grab",
    "batch": "crwedge.cli.batch:batch",
    "train": "crwedge.cli.train:train",
    "export": "crwedge.cli.export:export",
    "models": "crwedge.cli.models:models",
    "use": "crwedge.cli.use:use",
    "eval": "crwedge.cli.eval:app",
    "study": "crwedge.cli.study:study",
    "import": "crwedge.cli.import_:import_",
    "check": "crwedge.cli.check:check",
    "convert": "crwedge.cli.convert:convert",
    "bench": "crwedge.cli.bench:bench",
    "doctor": "crwedge.cli.doctor:doctor",
}


def build_app(chosen: str | None = None) -> Any:
    """The Typer application; with `chosen` only that command is imported."""
    import typer

    import crwedge
    from crwedge.cli.groups import PanelCommand

    app = typer.Typer(
        name="crwedge",
        help="Paint a mask once, follow it on any camera.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )

    def version(show: bool) -> None:
        if show:
            typer.echo(f"crwedge {crwedge.__version__}")
            raise typer.Exit

    @app.callback()
    def root(
        version: bool = typer.Option(False, "--version", callback=version, is_eager=True, help="Print the version."),
    ) -> None:
        """Paint a mask once, follow it on any camera."""

    for name, home in COMMANDS.items():
        if chosen is not None and name != chosen:
            continue
        module, attribute = home.split(":")
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, cls=PanelCommand)(command)
    return app


def main() -> None:
    """Run the command line; errors are one line on stderr, exit code 2 for what the user can fix, 1 for the rest."""
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding cannot show is written with escapes; it ends no run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    import typer

    from crwedge.cli.messages import shown_messages
    from crwedge.core.errors import CrwedgeError

    # Typer brings its own copy of Click, or imports the package, by version; its errors tell where they come from.
    usage_error: Any = typer.BadParameter.__mro__[1]
    click_error: Any = usage_error.__mro__[1]
    if (
        empty := next((n for n, a in enumerate(arguments) if not a or re.fullmatch(r"--[\w-]+=", a)), None)
    ) is not None:
        # As a path it would be this folder. It is most likely a variable of the shell that is not set.
        where = arguments[empty] or f"argument {empty + 1}"
        return _fail(f"{where} is empty; is a variable of the shell not set?", 2)
    first = next((a for a in arguments if not a.startswith("-")), None)
    try:
        app = build_app(first if first in COMMANDS else None)
        with shown_messages():
            result = app(args=arguments, prog_name="crwedge", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except CrwedgeError as error:
        return _fail(str(error), error.exit_code)
    except click_error as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(f"{error.format_message()}\n")
            return 2
        if type(error).__name__ == "NoSuchOption":
            from crwedge.cli.settings_option import as_settings

            # A setting may be written as an option of its own name: `--fps 15` is `--set fps=15`.
            try:
                rewritten = as_settings(arguments)
            except CrwedgeError as wrong:
                return _fail(str(wrong), wrong.exit_code)
            if rewritten != arguments:
                return run(rewritten)
        context = getattr(error, "ctx", None)
        hint = f" (try {context.command_path} --help)" if context is not None else ""
        return _fail(" ".join(error.format_message().split()) + hint, 2)
    except typer.Abort:
        return _fail("stopped", 130)
    except KeyboardInterrupt:
        return _fail("stopped by the keyboard", 130)
    except BrokenPipeError:
        # The reader of our output is closed: this is no error, and nothing more can be printed.
        _forget_output()
        return 141
    except OSError as error:
        # A name that is too long, a disk that is full or gone: the file and the system's reason say what to do.
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if error.filename is None and not full:
            raise
        code = _fail(f"{error.filename or 'an output cannot be written'}: {error.strerror or error}", 2)
        try:
            sys.stdout.flush()
        except OSError:
            _forget_output()
        return code


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"crwedge: {' '.join(message.splitlines())}\n")
    return code


def _forget_output() -> None:
    """Let what standard output still holds go nowhere: Python flushes it at its end, and would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_standard_streams() -> None:
    """Open standard streams that the caller closed on nothing: the next file would take their place and get our messages."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - lives as long as the process
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
