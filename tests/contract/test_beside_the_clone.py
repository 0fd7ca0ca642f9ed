"""A script in the folder that holds a clone named crwedge imports the package, not the clone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = (
    "import crwedge, crwedge.runtime.bundle_lookup, crwedge.export\n"
    "assert crwedge.__version__ and crwedge.PropagationSettings().topk == 10\n"
    "print(crwedge.runtime.bundle_lookup.find_bundle('shipped').manifest.name)\n"
)


@pytest.mark.parametrize("options", [[], ["-S"]], ids=["installed", "without installed packages"])
def test_the_package_is_found_beside_a_clone(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "crwedge").symlink_to(ROOT)
    (tmp_path / "script.py").write_text(SCRIPT if not options else SCRIPT.splitlines()[0].split(",")[0])
    done = subprocess.run(
        [sys.executable, *options, str(tmp_path / "script.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert options or done.stdout.strip()
