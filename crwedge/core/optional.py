"""Imports of optional dependencies."""

from importlib import import_module
from typing import Any

from crwedge.core.errors import MissingExtraError
from crwedge.core.packages import install_command


def import_optional(module: str, extra: str) -> Any:
    """Import a module that an extra of this package installs.

    Args:
        module: name of the module, dots allowed.
        extra: name of the extra.

    Returns:
        The module.

    Raises:
        MissingExtraError: the module is not installed; the message has the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            reason = f"{module} needs {error.name}, which is"
        else:
            reason = f"{module.split('.')[0]} is"
        raise MissingExtraError(f"{reason} not installed: {install_command(extra)}") from error
