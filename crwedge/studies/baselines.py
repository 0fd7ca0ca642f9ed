"""Encoders by name, with the floors that a score is set beside."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from crwedge.core.errors import SettingError
from crwedge.core.settings import check_choice
from crwedge.eval.encoders import KINDS, EncoderSpec


def encoder_spec(encoder: str, model: str | None, engine: str, seed: int) -> EncoderSpec:
    """The encoder that a command names.

    Args:
        encoder: `bundle`, or a floor: `random`, `colour`.
        model: bundle or its name; None: that of `crwedge use`, else the shipped one.
        engine: `auto` or `cpu`.
        seed: of a random encoder.

    Raises:
        SettingError: the words do not go together.
    """
    check_choice("encoder", encoder, KINDS)
    if encoder != "bundle" and model is not None:
        raise SettingError(f"--model goes with --encoder bundle, not {encoder}")
    if encoder == "random":
        model = str(random_bundle(seed))
    return EncoderSpec(encoder, model, engine).resolved()


def random_bundle(seed: int = 0) -> Path:
    """The bundle of a ResNet-18 with random weights from `seed`, BatchNorm calibrated; made once, then kept.

    Raises:
        MissingExtraError: it has to be made and torch is not installed.
    """
    from crwedge.core.bundle import Bundle
    from crwedge.core.errors import BundleError
    from crwedge.core.optional import import_optional
    from crwedge.runtime.bundle_lookup import data_home

    path = data_home() / "floors" / f"random-r18-{seed}"
    # One of an older version, or a damaged one, is made anew: nothing in it is the user's.
    with contextlib.suppress(BundleError):
        return Bundle.open(path).path
    shutil.rmtree(path, ignore_errors=True)
    import_optional("torch", extra="export")
    import_optional("safetensors", extra="export")
    from crwedge.export.build import export_bundle
    from crwedge.model.checkpoint import save_encoder
    from crwedge.model.random import RANDOM_FROM, random_encoder

    path.parent.mkdir(parents=True, exist_ok=True)
    weights = path.with_suffix(".safetensors")
    save_encoder(
        weights, random_encoder(seed), name=path.name, weights_from=RANDOM_FROM.format(seed=seed), trained=False
    )
    try:
        return export_bundle(weights, path).path
    finally:
        weights.unlink(missing_ok=True)
