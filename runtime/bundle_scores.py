"""Stored scores of an encoder, and one line about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crwedge.core.bundle import Bundle
from crwedge.core.files import atomic_write
from crwedge.core.json_text import parse_json
from crwedge.core.user_folders import data_home
from crwedge.runtime.bundle_lookup import shipped_bundle


def known_score(bundle: Bundle, preset: str | None = None) -> str:
    """The stored score of a bundle in a few words, with its protocol; "" where it was never scored.

    Scores belong to the weights: they are found by the hash of the ONNX file.

    Args:
        bundle: of the weights.
        preset: whose score is asked for; None: of any, `crw` first.
    """
    import crwedge

    for path in (Path(crwedge.__file__).parent / "assets" / "scores.json", _scores_file()):
        scores = _read_scores(path).get(bundle.sha256, {})
        # A file of an older version has one text for all presets.
        scores = scores if isinstance(scores, dict) else {"": scores}
        order = ("crw", *scores) if preset is None else (preset,)
        if text := next((scores[name] for name in order if name in scores), None):
            return str(text)
    return ""


def record_score(bundle: Bundle, text: str, preset: str) -> None:
    """Store a score of a bundle's weights with a preset. If the file cannot be written, the score is not stored."""
    path = _scores_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            scores = _read_scores(path)
            before = scores.get(bundle.sha256)
            scores[bundle.sha256] = {**(before if isinstance(before, dict) else {}), preset: text}
            file.write(json.dumps(scores, indent=1).encode())
    except OSError:
        return


def describe_bundle(bundle: Bundle, preset: str | None = None) -> str:
    """One line for the start of a run: name, origin and stored score of the encoder.

    Args:
        bundle: of the encoder.
        preset: in use. If the encoder was never scored with it, the line shows the score of another preset and names it.
    """
    manifest = bundle.manifest
    if bundle.path == shipped_bundle():
        place = "shipped with crwedge"
    else:
        place = str(bundle.path)
    trained = "" if manifest.trained else "; random weights, not trained: masks will drift"
    score = (
        (known_score(bundle, preset) if preset else "")
        or known_score(bundle)
        or "never scored (crwedge eval davis ROOT)"
    )
    known = "; ".join(filter(None, (score, cycle_sentence(bundle))))
    return f"encoder {manifest.name} ({place}; {manifest.weights_from}){trained}: {known}"


def cycle_sentence(bundle: Bundle) -> str:
    """The label-free score of an export in a few words; "" where it was not measured."""
    cycle = bundle.manifest.cycle
    if not isinstance(cycle.get("score"), float):
        return ""
    return f"cycle score without labels {cycle['score']:.1f} on {cycle.get('footage')}"


def _scores_file() -> Path:
    return data_home() / "scores.json"


def _read_scores(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
