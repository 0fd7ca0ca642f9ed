"""From rows and the options of a batch to jobs: every setting decided, every model found and hashed, before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from crwedge.batch.job import VIDEO_OPTIONS, Job
from crwedge.batch.option_values import SETTINGS
from crwedge.batch.row import Row
from crwedge.core.bundle import Bundle
from crwedge.core.described import described
from crwedge.core.errors import SettingError, UserError
from crwedge.core.settings import PropagationSettings, check_choice, preset
from crwedge.runtime.backends.open import ENGINES
from crwedge.runtime.bundle_lookup import SHIPPED, default_preset, find_bundle, shipped_bundle


@described
@dataclass(frozen=True)
class BatchOptions:
    """What holds for every video of a batch, unless its row says otherwise."""

    model: str | None = None
    """Bundle; by default that of `crwedge use`, else the shipped one."""
    engine: str = "auto"
    """`auto`, `cpu`, `cuda` or `tensorrt`."""
    preset: str | None = None
    """Propagation protocol; by default the bundle's."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Options of a video and settings of propagation, by name; see `option_values.KNOWN`."""
    save: tuple[str, ...] = ("masks",)
    """Outputs of each video, relative to the folder of its results: a folder of masks, `*.mp4`, `*.jsonl`."""


def make_jobs(rows: Sequence[Row], options: BatchOptions) -> list[Job]:
    """One job a row.

    A row whose settings or model cannot be used gives a job with a `problem`; what is wrong for all is raised.

    Raises:
        UserError: the options of the batch cannot be used.
    """
    check_choice("engine", options.engine, ENGINES)
    check_outputs(options.save)
    bundles: dict[str | None, Bundle | UserError] = {}
    base = _open(options.model)
    bundles[options.model] = base
    # Checks them even where every row has its own.
    _settings(base, options.preset, options.changes)
    return [_job(row, options, bundles) for row in rows]


def _job(row: Row, options: BatchOptions, bundles: dict[str | None, Bundle | UserError]) -> Job:
    model = row.model if row.model is not None else options.model
    if model not in bundles:
        try:
            bundles[model] = _open(model)
        except UserError as error:
            bundles[model] = error
    bundle, problem = bundles[model], row.problem
    settings: dict[str, Any] = {}
    if isinstance(bundle, UserError):
        return Job(row.name, row.video, row.mask, str(model), row.model_sha256, problem=problem or str(bundle))
    if row.model_sha256 and row.model_sha256 != bundle.sha256:
        problem = problem or (
            f"its row needs the model with SHA-256 {row.model_sha256[:12]}..., and {bundle.manifest.name} has "
            f"{bundle.sha256[:12]}...: give the right one in the column model"
        )
    given = {**options.changes, **row.options}
    engine, save = row.engine or options.engine, row.save or options.save
    try:
        settings = _settings(bundle, options.preset, given)
        check_choice("engine", engine, ENGINES)
        check_outputs(save)
    except SettingError as error:
        problem = problem or str(error)
    shipped = bundle.path == shipped_bundle()
    return Job(
        name=row.name,
        video=row.video,
        mask=row.mask,
        model=SHIPPED if shipped else str(bundle.path.resolve()),
        model_sha256=bundle.sha256,
        engine=engine,
        settings=settings,
        options={name: given[name] for name in VIDEO_OPTIONS if given.get(name) not in (None, False)},
        save=save,
        source_sha256=row.source_sha256,
        mask_sha256=row.mask_sha256,
        problem=problem,
        own=tuple(row.options),
    )


def check_outputs(save: Sequence[str]) -> None:
    """Refuse outputs that would lie outside the folder of a video's results.

    Raises:
        SettingError: with the cure.
    """
    for target in save:
        parts = target.split("/")
        if target in ("-", "window", "result.json") or ":" in target or any(p in ("", ".", "..") for p in parts):
            raise SettingError(f"--save {target!r} must be a name below each video's results: masks, *.mp4 or *.jsonl")
    if len(set(save)) != len(save) or not save:
        raise SettingError("--save needs one or more names, each once")


def _open(model: str | None) -> Bundle:
    return find_bundle(model)


def _settings(bundle: Bundle, name: str | None, given: dict[str, Any]) -> dict[str, Any]:
    base = preset(name or default_preset(bundle)).to_dict()
    return PropagationSettings.from_dict({**base, **{k: v for k, v in given.items() if k in SETTINGS}}).to_dict()
