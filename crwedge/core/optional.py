"""Import an optional dependency where it is used, or say what to install."""

from importlib import import_module
from typing import Any

from crwedge.core.errors import MissingExtraError


def import_optional(module: str, extra: str) -> Any:
    """Import `module`, which belongs to the extra `extra`.

    Args:
        module: name of the module, dots allowed.
        extra: the extra of this package that brings it.

    Returns:
        The module.

    Raises:
        MissingExtraError: one line with the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            reason = f"{module} needs {error.name}, which is"
        else:
            reason = f"{module.split('.')[0]} is"
        raise MissingExtraError(f"{reason} not installed: pip install 'crwedge[{extra}]'") from error
