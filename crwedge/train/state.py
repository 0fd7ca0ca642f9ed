"""A run on disk: weights, optimiser, progress. One that was stopped at any moment goes on as if it had not been.

    RUN/config.toml                         every setting
    RUN/step-00000500.safetensors           weights of encoder and head, and their running mean
    RUN/step-00000500.optimiser.safetensors Adam's moments
    RUN/step-00000500.json                  step, seconds; written last, so that its presence says the rest is whole
    RUN/encoder.safetensors                 the encoder alone: what export reads
    RUN/metrics.jsonl                       one line for each report

What is drawn at random follows from seed and step, so no state of a generator has to be kept.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crwedge.core.errors import CheckpointError
from crwedge.core.json_text import parse_json
from crwedge.model.checkpoint import load_tensors, save_tensors, write_bytes

FORMAT = "crwedge-run-1"
KEEP = 3
"""Checkpoints kept."""


@dataclass
class Progress:
    """How far a run is."""

    step: int = 0
    """Updates done."""
    seconds: float = 0.0
    """Spent training, over all sittings."""


def save_run(
    folder: Path, at: Progress, model: nn.Module, ema: nn.Module | None, optimiser: torch.optim.Optimizer
) -> None:
    """Write a checkpoint, then remove the oldest beyond `KEEP`. CheckpointError when the disk refuses."""
    stem = f"step-{at.step:08d}"
    weights = {f"model.{key}": value for key, value in model.state_dict().items()}
    if ema is not None:
        weights.update({f"ema.{key}": value for key, value in ema.state_dict().items()})
    moments: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        for kind, value in optimiser.state.get(parameter, {}).items():
            moments[f"{name}/{kind}"] = torch.as_tensor(value)
    facts = {"format": FORMAT, "step": str(at.step)}
    save_tensors(folder / f"{stem}.safetensors", weights, facts)
    save_tensors(folder / f"{stem}.optimiser.safetensors", moments, facts)
    write_bytes(folder / f"{stem}.json", json.dumps({"format": FORMAT, **asdict(at)}).encode())
    for step in saved_steps(folder)[:-KEEP]:
        for suffix in (".json", ".safetensors", ".optimiser.safetensors"):
            with contextlib.suppress(OSError):
                (folder / f"step-{step:08d}{suffix}").unlink()


def saved_steps(folder: Path) -> list[int]:
    """Steps of the whole checkpoints in a run, rising."""
    found = (re.fullmatch(r"step-(\d{8,})\.json", path.name) for path in folder.glob("step-*.json"))
    return sorted(int(match[1]) for match in found if match)


def load_run(folder: Path, model: nn.Module, ema: nn.Module | None, optimiser: torch.optim.Optimizer) -> Progress:
    """Restore the newest checkpoint of a run that is whole.

    Raises:
        CheckpointError: there is none, or it is of another architecture.
    """
    steps = saved_steps(folder)
    if not steps:
        raise CheckpointError(f"{folder} holds no checkpoint to resume; leave --resume out to start again")
    reasons = []
    for step in reversed(steps):
        stem = folder / f"step-{step:08d}"
        try:
            facts = parse_json(stem.with_suffix(".json").read_bytes())
            weights, _ = load_tensors(stem.with_suffix(".safetensors"))
            moments, _ = load_tensors(stem.with_suffix(".optimiser.safetensors"))
        except (OSError, ValueError, CheckpointError) as error:
            reasons.append(str(error))
            continue
        if facts.get("format") != FORMAT:
            raise CheckpointError(f"{stem}.json is of another version ({facts.get('format')}); start a new run")
        _restore(model, weights, "model.", folder)
        if ema is not None:
            _restore(ema, weights, "ema.", folder)
        _restore_optimiser(model, optimiser, moments)
        return Progress(int(facts["step"]), float(facts["seconds"]))
    raise CheckpointError(f"no checkpoint of {folder} can be read: {reasons[0]}")


def _restore(module: nn.Module, weights: dict[str, Tensor], prefix: str, folder: Path) -> None:
    own = module.state_dict()
    given = {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}
    odd = sorted(set(own) ^ set(given)) or sorted(key for key in own if own[key].shape != given[key].shape)
    if odd:
        raise CheckpointError(
            f"the checkpoint in {folder} is of another architecture ({odd[0]} differs); resume with the run's own "
            "config.toml, or choose another --out"
        )
    module.load_state_dict(given)


def _restore_optimiser(model: nn.Module, optimiser: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    names = {name: parameter for name, parameter in model.named_parameters()}
    for key, value in moments.items():
        name, kind = key.rsplit("/", 1)
        parameter = names[name]
        state: dict[str, Any] = optimiser.state[parameter]
        if kind == "step":
            state[kind] = value
        else:
            state[kind] = value.to(parameter.device).contiguous(memory_format=_layout(parameter))


def _layout(parameter: Tensor) -> torch.memory_format:
    # Adam walks weights and moments together: they must lie alike in memory, for speed and for equal rounding.
    if parameter.dim() == 4 and parameter.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format
