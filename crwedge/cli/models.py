"""`crwedge models`: the encoders there are, how good they are known to be, and which one is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crwedge.cli.options import AsJson

if TYPE_CHECKING:
    from crwedge.runtime.bundle_lookup import Choice


def models(as_json: AsJson = False) -> None:
    """List the shipped encoder and the exported ones with their scores; a star marks the one in use.

    A score is the last one of `crwedge eval davis`, with its protocol. `crwedge use NAME` chooses another encoder.

    Example: crwedge models
    """
    from crwedge.runtime.bundle_lookup import SHIPPED, bundles_home, exported_bundles, read_choice, shipped_bundle

    choice = read_choice()
    folders = {SHIPPED: shipped_bundle(), **{path.name: path for path in exported_bundles()}}
    if choice.bundle != SHIPPED and Path(choice.bundle) not in [path.resolve() for path in folders.values()]:
        folders[choice.bundle] = Path(choice.bundle)
    rows = [_row(name, path, choice) for name, path in folders.items()]
    if as_json:
        print(json.dumps({"models": rows, "folder": str(bundles_home())}))
        return
    for row in rows:
        print(f"{'*' if row['in_use'] else ' '} {row['model']}")
        print(f"      {row['error'] or row['is']}")
        if not row["error"]:
            print(
                f"      score: {row['score'] or 'not measured yet (crwedge eval davis ROOT --model ' + row['model'] + ')'}"
            )
            if row["cycle"]:
                print(f"      {row['cycle']}")
        if row["in_use"] and choice.reason:
            print(f"      in use: {choice.reason}")
    print(f"* is used when no --model is given; own bundles are in {bundles_home()}")


def _row(name: str, path: Path, choice: Choice) -> dict[str, Any]:
    from crwedge.core.bundle import Bundle
    from crwedge.core.errors import BundleError
    from crwedge.runtime.bundle_lookup import SHIPPED
    from crwedge.runtime.bundle_scores import cycle_sentence, known_score

    used = name == SHIPPED if choice.bundle == SHIPPED else name != SHIPPED and str(path.resolve()) == choice.bundle
    row: dict[str, Any] = {
        "model": name,
        "path": str(path),
        "in_use": used,
        "is": "",
        "score": "",
        "cycle": "",
        "error": "",
    }
    try:
        bundle = Bundle.open(path)
    except BundleError as error:
        return {**row, "error": f"cannot be used: {error}"}
    manifest = bundle.manifest
    size = "any size" if manifest.size is None else f"{manifest.size[0]}x{manifest.size[1]} (HxW) only"
    trained = "" if manifest.trained else ", random weights"
    what = f"{manifest.name}: {manifest.architecture}, {manifest.precision}, {size}{trained}; {manifest.weights_from}"
    return {**row, "is": what, "score": known_score(bundle), "cycle": cycle_sentence(bundle), "sha256": bundle.sha256}
