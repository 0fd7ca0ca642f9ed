"""Groups of options: a dataclass is one panel of a command's help, declared once and used by several commands."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from typer.core import TyperCommand
from typer.models import OptionInfo

GENERAL = "General"
"""Panel of the options that no group holds, and of `--help`."""
_ORDER = {"Arguments": 0, GENERAL: 2}


class Group:
    """Base of a frozen dataclass whose fields are options: `name: Annotated[type, typer.Option(...)] = default`."""

    panel: ClassVar[str] = GENERAL


class PanelCommand(TyperCommand):
    """A command whose help shows the options in panels, as plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for the arguments and for each panel, in the order of the options."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panels.setdefault(panel_of(parameter), []).append(record)
        for title, records in sorted(panels.items(), key=lambda panel: _ORDER.get(panel[0], 1)):
            with formatter.section(title):
                formatter.write_dl(records)


def panel_of(parameter: Any) -> str:
    """The panel of a Click parameter."""
    if parameter.param_type_name == "argument":
        return "Arguments"
    return getattr(parameter, "rich_help_panel", None) or GENERAL


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """Decorator of a command whose parameters may be groups: Typer sees an option for each field of a group."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, type[Any]] = {
        name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Group)
    }
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in groups:
            parameters += _options(groups[parameter.name])
        else:
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(annotation=hints[parameter.name], kind=kind))

    @functools.wraps(function)
    def command(**values: Any) -> None:
        made = {name: group(**{f.name: values.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        function(**values, **made)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _options(group: type[Any]) -> list[inspect.Parameter]:
    """The fields of a group as keyword parameters, with its panel."""
    hints = get_type_hints(group, include_extras=True)
    found = []
    for item in fields(group):
        default = inspect.Parameter.empty if item.default is MISSING else item.default
        annotation = _in_panel(hints[item.name], group.panel)
        found.append(
            inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
    return found


def _in_panel(hint: Any, panel: str) -> Any:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"an option needs Annotated[..., typer.Option(...)], not {hint}")
    kind, info = get_args(hint)
    if isinstance(info, OptionInfo) and info.rich_help_panel is None:
        info = copy.copy(info)
        info.rich_help_panel = panel
    return Annotated[kind, info]
