"""Writes label_maps.json: hashes of the label maps of three presets on the first frames of four real sequences.

    python tests/golden/record.py [label_maps.json]

They are those of the encoder that ships, on the processor, ONNX Runtime and NumPy named in the file. `test_label_maps.py`
demands the same bits from the same processor and versions, and the same areas, nearly, from others.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import crwedge as cw
from crwedge.core.settings import preset

FILE = Path(__file__).with_name("label_maps.json")
PRESETS = ("crw", "dino", "dinov3")
SEQUENCES = ("car-shadow", "dance-twirl", "libby", "parkour")
FRAMES = 12


def platform() -> dict[str, str]:
    """What the bits of a float32 result depend on."""
    import onnxruntime

    words = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    sets = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile") if name in words]
    vendor = next((name for name in ("GenuineIntel", "AuthenticAMD") if name in words), "other")
    return {
        "processor": " ".join([vendor, *sets]),
        "blas": os.environ.get("OPENBLAS_CORETYPE", "its own choice"),
        "onnxruntime": str(onnxruntime.__version__),
        "numpy": np.__version__,
    }


def label_maps(folder: Path, name: str) -> list[dict[str, Any]]:
    """Hash and pixels of each object, frame by frame."""
    frames = sorted((folder / "JPEGImages").glob("*.jpg"))[:FRAMES]
    mask = (np.asarray(Image.open(folder / "Annotations" / f"{frames[0].stem}.png")) > 0).astype(np.uint8)
    found = []
    with cw.Tracker.open(settings=preset(name), workers=2) as tracker:
        for number, path in enumerate(frames):
            ids = tracker.step(np.asarray(Image.open(path).convert("RGB")), mask if number == 0 else None).ids
            found.append({"sha256": hashlib.sha256(ids.tobytes()).hexdigest(), "pixels": int((ids == 1).sum())})
    return found


def main() -> None:
    """Record."""
    root = Path(os.environ.get("CRWEDGE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "vos"
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    maps = {name: {sequence: label_maps(root / sequence, name) for sequence in SEQUENCES} for name in PRESETS}
    target.write_text(json.dumps({"platform": platform(), "label_maps": maps}, indent=1) + "\n")


if __name__ == "__main__":
    main()
