"""Which packages are installed, and the commands that install what is missing."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

NAME = "crwedge"
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


def version_of(package: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def extras() -> dict[str, list[str]]:
    """Extra -> its requirements on this machine, such as `torch>=2.3`; "" holds what every installation has."""
    try:
        lines = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {"": []}
    for line in lines:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)['"]""", marker)
        if _applies(marker) and not requirement.startswith(f"{NAME}["):
            found.setdefault(extra[1] if extra else "", []).append(requirement)
    return found


def requirement_name(requirement: str) -> str:
    """`torch>=2.3` -> `torch`."""
    return re.split(r"[\s<>=!~\[(;]", requirement, maxsplit=1)[0]


def install_command(*wanted: str) -> str:
    """A command that installs extras into this installation, which came from a checkout, a wheel or neither."""
    names = ",".join(wanted)
    pip, place = pip_command(), _origin()
    # The two packages of ONNX Runtime overwrite each other: the other one has to go first.
    for extra, other in (("gpu", _RUNTIMES[0]), ("cpu", _RUNTIMES[1])):
        if extra in wanted and version_of(other) is not None:
            pip = f"{pip} uninstall -y {other} && {pip}"
    if place is not None:
        path, editable = place
        return f"{pip} install {'-e ' if editable else ''}{shlex.quote(f'{path}[{names}]')}"
    needed = sorted({requirement for extra in wanted for requirement in extras().get(extra, [])})
    return f"{pip} install {' '.join(shlex.quote(requirement) for requirement in needed)}"


def onnxruntime_clash() -> str | None:
    """The cure where both packages of ONNX Runtime are installed (they overwrite each other's files); else None."""
    if any(version_of(name) is None for name in _RUNTIMES):
        return None
    pip = pip_command()
    return (
        f"{' and '.join(f'{name} {version_of(name)}' for name in _RUNTIMES)} are both installed and overwrite each other: "
        f"keep one of them with {pip} uninstall -y {' '.join(_RUNTIMES)} and then, for a GPU, {pip} install "
        f"{_RUNTIMES[1]}, else {pip} install {_RUNTIMES[0]}"
    )


def _origin() -> tuple[Path, bool] | None:
    """The folder or wheel that this crwedge was installed from, if it still exists, and whether it is editable."""
    root = Path(__file__).parents[2]
    if (root / "pyproject.toml").is_file():
        return root, True  # a checkout, installed to be edited or merely on the path
    try:
        text = metadata.distribution(NAME).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    if not text:
        return None
    facts = json.loads(text)
    url = urlsplit(facts.get("url", ""))
    path = Path(unquote(url.path))
    if url.scheme != "file" or not path.exists():
        return None
    return path, False


def pip_command() -> str:
    """`pip` where that is the one of this Python, else this Python's own by its path."""
    own = Path(sys.prefix) / "bin" / "pip"
    return "pip" if shutil.which("pip") == str(own) else f"{shlex.quote(sys.executable)} -m pip"


def _applies(marker: str) -> bool:
    """Whether the part of a marker that is about Python's version holds; others are taken to hold."""
    match = re.search(r"""python_version\s*(<|>=)\s*['"](\d+)\.(\d+)['"]""", marker)
    if match is None:
        return True
    limit = int(match[2]), int(match[3])
    return sys.version_info[:2] < limit if match[1] == "<" else sys.version_info[:2] >= limit
