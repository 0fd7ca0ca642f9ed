"""Results of a run: a JSON file for each sequence, so that a run can be resumed, and tables."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

from crwedge.core.errors import UserError
from crwedge.core.files import atomic_write
from crwedge.core.json_text import parse_json


def plain(value: Any) -> Any:
    """The same value for JSON: NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fingerprint(protocol: dict[str, Any]) -> str:
    """The first eight characters of the protocol's SHA-256."""
    return hashlib.sha256(json.dumps(plain(protocol), sort_keys=True).encode()).hexdigest()[:8]


class ResultFolder:
    """Stores scores by sequence.

    Args:
        path: the folder; it is created if necessary.
        protocol: everything that the scores depend on. UserError if the folder has results of another protocol.
    """

    def __init__(self, path: Path, protocol: dict[str, Any]) -> None:
        self.path = path
        stored = path / "protocol.json"
        (path / "sequences").mkdir(parents=True, exist_ok=True)
        if not stored.is_file():
            write_json(stored, protocol)
        elif _read(stored) != plain(protocol):
            raise UserError(f"{path} holds results of another protocol ({stored}); choose another --out")

    def load(self, name: str) -> dict[str, Any] | None:
        """The stored score of a sequence, or None."""
        path = self._file(name)
        if not path.is_file():
            return None
        values = _read(path)
        return values if isinstance(values, dict) else None

    def save(self, name: str, score: dict[str, Any]) -> None:
        """Store the score of a sequence."""
        write_json(self._file(name), score)

    def _file(self, name: str) -> Path:
        return self.path / "sequences" / f"{name}.json"


def _read(path: Path) -> Any:
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); remove it and run again") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    with atomic_write(path) as file:
        file.write((json.dumps(plain(value), indent=1) + "\n").encode())


def write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    """Write a CSV table atomically; None and NaN become empty fields."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if plain(cell) is None else cell for cell in row] for row in rows])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def write_tables(folder: Path, summary: dict[str, Any]) -> None:
    """Write summary.json, sequences.csv and frames.csv."""
    write_json(folder / "summary.json", summary)
    scores = summary["sequences"]
    if "JF" in summary:
        sequences = [
            [name, s["JF"], *(s[m][k] for m in ("J", "F") for k in ("mean", "recall", "decay"))]
            for name, s in scores.items()
        ]
        header = ["sequence", "JF", *(f"{m}_{k}" for m in ("J", "F") for k in ("mean", "recall", "decay"))]
        frames = [
            [name, object_id, number, j, f]
            for name, s in scores.items()
            for object_id, o in s["objects"].items()
            for number, (j, f) in enumerate(zip(o["J"]["raw"], o["F"]["raw"], strict=True))
        ]
        write_csv(folder / "sequences.csv", header, sequences)
        write_csv(folder / "frames.csv", ["sequence", "object", "frame", "J", "F"], frames)
    elif "PCK" in summary:
        thresholds = list(summary["PCK"])
        rows = [[name, *s["PCK"].values()] for name, s in scores.items()]
        write_csv(folder / "sequences.csv", ["sequence", *(f"PCK@{t}" for t in thresholds)], rows)
        errors = [
            [name, frame, joint, e]
            for name, s in scores.items()
            for frame, row in zip(s["frames"], s["errors"], strict=True)
            for joint, e in zip(s["joints"], row, strict=True)
        ]
        write_csv(folder / "frames.csv", ["sequence", "frame", "joint", "error"], errors)
    else:
        rows = [[name, s["mIoU"], *s["classes"].values()] for name, s in scores.items()]
        classes = [f"class_{i}" for i in range(summary["protocol"]["classes"])]
        write_csv(folder / "sequences.csv", ["sequence", "mIoU", *classes], rows)
        raw = [[n, frame, v] for n, s in scores.items() for frame, v in zip(s["frames"], s["raw"], strict=True)]
        write_csv(folder / "frames.csv", ["sequence", "frame", "mIoU"], raw)
