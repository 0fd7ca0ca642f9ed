"""Print the lowest version of each dependency that pyproject.toml allows, as constraints for pip: `make lowest`.

python tests/lowest.py EXTRA ...
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def lowest(extras: list[str]) -> list[str]:
    """`name==version` of the dependencies of every installation and of `extras`."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [line for name in extras for line in project["optional-dependencies"][name]]
    found = []
    for line in lines:
        requirement, _, marker = line.partition(";")
        if match := re.fullmatch(r"([\w-]+)>=([\d.]+)\s*", requirement):
            found.append(f"{match[1]}=={match[2]}{';' + marker if marker else ''}")
    return found


if __name__ == "__main__":
    print("\n".join(lowest(sys.argv[1:])))
