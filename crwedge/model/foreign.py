"""Weights of other projects, as an encoder of this one. Only tensors are read: a file that holds code is refused.

| kind | container | keys |
|---|---|---|
| torchvision | the state dict itself | `conv1.weight`, `bn1.*`, `layer1.0.conv1.weight`, ..., `fc.*` |
| moco (v2) | `state_dict` | `module.encoder_q.conv1.weight`, ...; `module.encoder_k.*`, `module.queue` are left out |
| vince | the state dict itself | `feature_extractor.module.model.conv1.weight`, ...; `embedding.*` is left out |
| videowalk | `model` | `encoder.model.conv1.weight`, ... (`module.` before is allowed); `selfsim_fc.*` is left out |

The strides of res3 and res4 are no weights: the encoder sets them to 1 whatever the file was trained with.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from crwedge.core.errors import CheckpointError, SettingError
from crwedge.model.encoder import Architecture, Encoder, EncoderConfig, Padding

Kind = Literal["videowalk", "torchvision", "moco", "vince"]


@dataclass(frozen=True)
class _Layout:
    containers: tuple[str, ...]
    prefixes: tuple[str, ...]
    padding: Padding
    origin: str


_LAYOUTS: dict[str, _Layout] = {
    "videowalk": _Layout(
        ("model", "state_dict"),
        ("module.encoder.model.", "encoder.model.", "module.encoder.", "encoder."),
        "reflect",
        "the published contrastive random walk",
    ),
    "torchvision": _Layout(("state_dict", "model"), ("module.", ""), "zeros", "torchvision"),
    "moco": _Layout(("state_dict",), ("module.encoder_q.", "encoder_q."), "zeros", "MoCo v2"),
    "vince": _Layout(
        ("state_dict",),
        ("feature_extractor.module.model.", "feature_extractor.model.", "module.feature_extractor.module.model."),
        "zeros",
        "VINCE",
    ),
}
KINDS: tuple[str, ...] = get_args(Kind)


def import_weights(path: str | Path, kind: str, padding: str | None = None) -> tuple[Encoder, str]:
    """An encoder, to res4 where the file has it, with the weights of another project's file.

    Args:
        path: a `.pth` / `.pt` / `.tar` that `torch.save` wrote, or a `.safetensors`.
        kind: whose file it is, one of `KINDS`.
        padding: zeros or reflect; by default what the project trained with.

    Returns:
        The encoder in evaluation mode, and one sentence on where its weights come from.

    Raises:
        CheckpointError: unreadable, holding more than tensors, or of another architecture or kind.
    """
    if kind not in _LAYOUTS:
        raise SettingError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
    layout, path = _LAYOUTS[kind], Path(path)
    state = _own_names(_read(path), layout, kind, path)
    chosen: Any = padding or layout.padding
    stage: Any = "res4" if "layer4.0.conv1.weight" in state else "res3"
    encoder = Encoder(EncoderConfig(_architecture(state, path), chosen, stage))
    encoder.load_weights(state)
    return encoder.eval(), f"{path.name}, weights of {layout.origin}, converted by crwedge import"


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(str(path)))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, which is refused because such a file can run code; save only the state "
            "dict in the project that made it, torch.save(model.state_dict(), ...), and import that"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} cannot be read as weights: {reason}") from error
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, not a table of weights")
    return found


def _own_names(table: Mapping[str, Any], layout: _Layout, kind: str, path: Path) -> dict[str, Tensor]:
    """The encoder's weights under torchvision's names."""
    for name in layout.containers:
        if isinstance(table.get(name), Mapping):
            table = table[name]
            break
    for prefix in layout.prefixes:
        if f"{prefix}conv1.weight" in table:
            return {
                key[len(prefix) :]: value
                for key, value in table.items()
                if key.startswith(prefix) and isinstance(value, Tensor)
            }
    raise CheckpointError(
        f"{path} has no {layout.prefixes[-1] or layout.prefixes[0]}conv1.weight: it is not a {kind} file; choose another "
        f"--kind ({', '.join(KINDS)})"
    )


def _architecture(state: Mapping[str, Tensor], path: Path) -> Architecture:
    deep = "layer1.0.conv3.weight" in state
    third = max((int(key.split(".")[1]) for key in state if key.startswith("layer3.")), default=-1) + 1
    if (deep, third) == (False, 2):
        return "resnet18"
    if (deep, third) == (True, 6):
        return "resnet50"
    raise CheckpointError(f"{path} is not a ResNet-18 or ResNet-50 (its third stage has {third} blocks)")
