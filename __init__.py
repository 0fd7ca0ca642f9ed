"""The repository, found by `import crwedge` from beside a clone: the package inside takes its place.

A script in the folder that holds the clone has that folder first on its path. Without this file Python would take the
clone itself, a folder named crwedge, for an empty namespace package.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

if __name__ == "crwedge":
    _inside = Path(__file__).parent / "crwedge"
    _spec = spec_from_file_location(__name__, _inside / "__init__.py", submodule_search_locations=[str(_inside)])
    assert _spec is not None
    assert _spec.loader is not None
    _module = sys.modules[__name__] = module_from_spec(_spec)
    _spec.loader.exec_module(_module)
