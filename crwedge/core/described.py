"""Dataclasses with documented fields and a short `repr`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

C = TypeVar("C", bound=type)
_LONGEST = 60
"""Characters of a value in `repr`."""


def described(cls: C) -> C:
    """Class decorator, above `@dataclass`: `help()` lists the fields with their docstrings, and `repr` is short.

    The strings below the fields are read from the source; where there is none (`python -OO`, a zip) the docstring stays.
    """
    docs = field_docs(cls)
    if dataclasses.is_dataclass(cls):
        lines = [f"{field.name}: {' '.join(docs.get(field.name, str(field.type)).split())}" for field in _fields(cls)]
        wrapped = [textwrap.fill(line, 110, initial_indent="    ", subsequent_indent="        ") for line in lines]
        cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\nFields:\n" + "\n".join(wrapped)
    cls.__repr__ = _short_repr  # type: ignore[assignment,method-assign]
    return cls


def field_docs(cls: type) -> dict[str, str]:
    """Field -> the string below it in the source; empty where there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for item, text in pairwise(body):
        if (
            isinstance(item, ast.AnnAssign)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            found[ast.unparse(item.target)] = text.value.value
    return found


def _fields(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)


def _short_repr(self: Any) -> str:
    """The fields that differ from their defaults; arrays by kind and shape."""
    shown = []
    for field in dataclasses.fields(self):
        value = getattr(self, field.name)
        if not isinstance(value, np.ndarray) and not _is_default(field, value):
            shown.append(f"{field.name}={_shortened(repr(value))}")
        elif isinstance(value, np.ndarray):
            shown.append(f"{field.name}={value.dtype} {value.shape}")
    return f"{type(self).__name__}({', '.join(shown)})"


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return default is value or (type(default) is type(value) and bool(default == value))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
