"""Settings whose types and bounds are declared once, on the field, and are checked on construction."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from crwedge.core.errors import SettingError


@dataclass(frozen=True)
class Bound:
    """Which values a number, or each number of a tuple, may have."""

    min: float = -math.inf
    above: float = -math.inf
    max: float = math.inf
    infinite: bool = False
    """Whether infinity is allowed."""
    rising: bool = False
    """Whether the numbers of a tuple must not fall."""

    def check(self, name: str, value: Any) -> None:
        """SettingError when a number is outside the bound."""
        numbers = value if isinstance(value, tuple) else (value,)
        inside = all(
            self.min <= n <= self.max and n > self.above and (self.infinite or math.isfinite(n)) for n in numbers
        )
        if not inside or (self.rising and list(numbers) != sorted(numbers)):
            shown = list(value) if isinstance(value, tuple) else value
            raise SettingError(f"{name} is {shown}; it must be {self}")

    def __str__(self) -> str:
        """The bound in words, to follow "it must be"."""
        if self.rising:
            return f"rising numbers above {self.above:g}, up to {self.max:g}"
        if math.isfinite(self.min) and math.isfinite(self.max):
            return f"from {self.min:g} to {self.max:g}"
        if math.isfinite(self.above):
            upper = f" and at most {self.max:g}" if math.isfinite(self.max) else ""
            return f"{'' if upper or self.infinite else 'finite and '}above {self.above:g}{upper}"
        return f"at least {self.min:g}" if math.isfinite(self.min) else "finite"


_FINITE = Bound()


def bounded(default: Any, **bound: Any) -> Any:
    """A dataclass field with a default and the bound of its value; see `Bound` for the names."""
    return field(default=default, metadata={"bound": Bound(**bound)})


class Checked:
    """Base of frozen dataclasses of settings: converts and checks every field on construction.

    Lists become tuples, a single value becomes a tuple of one, whole numbers become floats where the type says so.

    Raises:
        SettingError: a value has another type, is not an allowed word, or is out of bounds; the message names the setting.
    """

    table: ClassVar[str] = ""
    """Prefix of the names in messages, such as `walk`."""

    def __post_init__(self) -> None:
        """Convert and check."""
        hints = field_types(type(self))  # type: ignore[arg-type]
        for item in fields(self):  # type: ignore[arg-type]
            name = f"{self.table}.{item.name}" if self.table else item.name
            value = convert(name, getattr(self, item.name), hints[item.name])
            object.__setattr__(self, item.name, value)
            bound = item.metadata.get("bound", _FINITE)
            numbers = value if isinstance(value, tuple) else (value,)
            if all(isinstance(number, int | float) for number in numbers):
                bound.check(name, value)


def convert(name: str, value: Any, kind: Any) -> Any:
    """`value` as the type `kind`; SettingError when it is of another one."""
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise SettingError(f"{name} is a number of more than 308 digits; give a smaller one")
    if origin is Literal:
        if value not in arguments:
            raise SettingError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        return _tuple(name, value, arguments)
    if origin in (Union, UnionType):
        return _one_of(name, value, arguments)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise SettingError(f"{name} is {value!r}; it must be a table")
        return {str(key): convert(f"{name}.{key}", item, arguments[1]) for key, item in value.items()}
    if kind is Any:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise SettingError(f"{name} is {value!r}; it must be {_WORDS.get(kind, f'a {kind.__name__}')}")
    return value


_WORDS = MappingProxyType({int: "a whole number", float: "a number", bool: "true or false", str: "text"})


def _tuple(name: str, value: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(value, str | int | float):
        value = (value,) if value != "" else ()
    if not isinstance(value, list | tuple):
        raise SettingError(f"{name} is {value!r}; it must be a list")
    kind = arguments[0]
    if arguments[-1] is not Ellipsis and len(value) != len(arguments):
        raise SettingError(f"{name} is {list(value)}; it needs {len(arguments)} numbers")
    if kind is float and not all(isinstance(item, int | float) and not isinstance(item, bool) for item in value):
        raise SettingError(f"{name} is {list(value)}; it must hold numbers")
    return tuple(str(item) if kind is str else convert(name, item, kind) for item in value)


def _one_of(name: str, value: Any, kinds: tuple[Any, ...]) -> Any:
    """`int | None` and the like: None, or a value of the other type; a value of several possible types is not converted."""
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    if len(others) == 1:
        return convert(name, value, others[0])
    if not isinstance(value, tuple(others)):
        raise SettingError(f"{name} is {value!r}; it must be {' or '.join(kind.__name__ for kind in others)}")
    return value


@functools.cache
def field_types(cls: type) -> dict[str, Any]:
    """Field -> its type."""
    return get_type_hints(cls)
