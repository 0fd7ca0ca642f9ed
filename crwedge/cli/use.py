"""`crwedge use`: choose the default encoder."""

from __future__ import annotations

from typing import Annotated

import typer


def use(
    model: Annotated[str, typer.Argument(help="Name or folder of a bundle, or: shipped.")],
) -> None:
    """Choose the encoder that track, eval, bench and demo use without --model.

    Example: crwedge use walk-cats
    """
    from crwedge.runtime.bundle_lookup import use_bundle
    from crwedge.runtime.bundle_scores import describe_bundle

    print(f"used from now on: {describe_bundle(use_bundle(model))}")
