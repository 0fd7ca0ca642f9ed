"""Numbers of frames from the names of their files."""

from __future__ import annotations

from collections.abc import Iterable

from crwedge.core.location import natural_key


def frame_numbers(stems: Iterable[str]) -> list[int]:
    """The number of each frame: its name, where all names are different numbers; else its place in natural order.

    Args:
        stems: names without suffixes.
    """
    names = list(stems)
    if all(name.isdecimal() and len(name) < 16 for name in names):
        numbers = [int(name) for name in names]
        if len(set(numbers)) == len(numbers):
            return numbers
    place = {index: n for n, index in enumerate(sorted(range(len(names)), key=lambda i: natural_key(names[i])))}
    return [place[index] for index in range(len(names))]
