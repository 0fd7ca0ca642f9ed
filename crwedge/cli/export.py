"""`crwedge export`: a checkpoint to a bundle."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from crwedge.cli.groups import Group, grouped
from crwedge.cli.messages import messages
from crwedge.cli.options import AsJson

if TYPE_CHECKING:
    from crwedge.core.bundle import Bundle
    from crwedge.core.engine_key import Profile
    from crwedge.export.precision import Precision


@dataclass(frozen=True)
class GraphOptions(Group):
    """The ONNX file."""

    panel: ClassVar[str] = "Graph"
    fp16: Annotated[bool, typer.Option("--fp16", help="Float16 arithmetic; input and features stay wide.")] = False
    int8: Annotated[bool, typer.Option("--int8", help="Int8 arithmetic; ranges are calibrated on frames.")] = False
    calibrate: Annotated[str | None, typer.Option(help="Video for the ranges of --int8; default: rendered.")] = None
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Fix the graph to HEIGHTxWIDTH; default: any size.")
    ] = None

    def precision(self) -> Precision:
        """Of the arithmetic."""
        if self.int8:
            return "int8"
        return "float16" if self.fp16 else "float32"


@dataclass(frozen=True)
class EngineOptions(Group):
    """An engine for this device."""

    panel: ClassVar[str] = "Engine"
    engine: Annotated[
        str, typer.Option(help="onnx, tensorrt, tensorrt-rtx, or auto: TensorRT where it can build here.")
    ] = "auto"
    profile: Annotated[
        str | None, typer.Option(help="Sizes of a TensorRT engine: MIN,OPT,MAX, each HEIGHTxWIDTH; default: --size.")
    ] = None
    workspace: Annotated[int | None, typer.Option(min=1, help="Most scratch memory of a TensorRT layer, MB.")] = None


@dataclass(frozen=True)
class VerdictOptions(Group):
    """The comparison at the end."""

    panel: ClassVar[str] = "Verdict"
    verify: Annotated[str | None, typer.Option(help="Video for the verdict, with --mask; default: rendered.")] = None
    mask: Annotated[Path | None, typer.Option(help="Mask of the first frame of --verify.")] = None
    truth: Annotated[Path | None, typer.Option(help="Folder of true masks for --verify: J&F is compared too.")] = None
    no_report: Annotated[bool, typer.Option("--no-report", help="Do not measure size, speed and score.")] = False


@grouped
def export(
    graph: GraphOptions,
    build: EngineOptions,
    verdict: VerdictOptions,
    checkpoint: Annotated[
        Path | None, typer.Argument(help="Encoder file, training run or bundle; default: the shipped encoder.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The bundle's folder; default: among the user's bundles.")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a checkpoint into a bundle that a device can run, and prove that it does the same.

    The export ends in a verdict: the same frames go through PyTorch and through what was written. Below the bars
    nothing is written and the exit code is 1. A bundle and `--engine tensorrt` alone add an engine for this device.

    Example: crwedge export runs/cats --int8 --calibrate cats.mp4 --out cats-bundle
    """
    from crwedge.core.errors import SettingError
    from crwedge.core.images import parse_size
    from crwedge.core.settings import check_choice
    from crwedge.export.parity import ParityError
    from crwedge.export.test_clips import recorded
    from crwedge.export.verify import ENGINES
    from crwedge.runtime.bundle_lookup import bundles_home

    log = messages(as_json)
    if graph.fp16 and graph.int8:
        raise SettingError("--fp16 and --int8 exclude each other; give one")
    check_choice("engine", build.engine, ENGINES)
    if (verdict.verify is None) != (verdict.mask is None):
        raise SettingError("--verify CLIP and --mask PNG belong together; give both or neither")
    if verdict.truth is not None and verdict.verify is None:
        raise SettingError("--truth needs --verify CLIP and --mask PNG")
    if graph.calibrate is not None and not graph.int8:
        raise SettingError("--calibrate is for --int8; the other precisions need no ranges")
    fixed = parse_size(graph.size) if graph.size else None
    sizes = _profile(build.profile)
    footage = None
    if verdict.verify is not None and verdict.mask is not None:
        footage = recorded(verdict.verify, verdict.mask, verdict.truth, fixed)
    whole = graph.fp16 or graph.int8 or graph.size or out
    on_device = build.engine.startswith("tensorrt") and not whole and _is_bundle(checkpoint)
    try:
        with _BuildProgress() as progress:
            if on_device and checkpoint is not None:
                from crwedge.core.bundle import Bundle
                from crwedge.export.verify import build_and_verify

                bundle = Bundle.open(checkpoint)
                build_and_verify(bundle, build.engine, sizes, build.workspace, footage, on_progress=progress)
            else:
                from crwedge.eval.metrics import frame_scores
                from crwedge.export.build import export_bundle

                bundle = export_bundle(
                    checkpoint,
                    out,
                    precision=graph.precision(),
                    size=fixed,
                    calibrate_on=graph.calibrate,
                    verify=footage,
                    scorer=frame_scores,
                    engine=build.engine,
                    profile=sizes,
                    workspace_mb=build.workspace,
                    on_progress=progress,
                )
    except ParityError as error:
        if as_json:
            typer.echo(json.dumps({"bundle": None, "parity": error.parity.to_dict(), "passed": False}))
        raise
    if not on_device and not verdict.no_report and bundle.manifest.size is None:
        bundle = _scored(bundle)
    log.info(f"bundle: {bundle.path}")
    if bundle.path.parent == bundles_home():
        log.info(
            f"not used until it is named: --model {bundle.path.name}, or `crwedge use {bundle.path.name}` for all commands"
        )
    measured: dict[str, Any] | None = None
    if not verdict.no_report:
        from crwedge.export.report import report

        found = report(bundle)
        for line in found.lines():
            log.info(line)
        measured = found.to_dict()
    if as_json:
        typer.echo(json.dumps(_result(bundle, measured)))


def _scored(bundle: Bundle) -> Bundle:
    """Score the encoder on rendered films, and set the shipped one's score beside it."""
    from crwedge.core.bundle import Bundle
    from crwedge.cycle.check import score_bundle
    from crwedge.runtime.bundle_lookup import shipped_bundle

    log = logging.getLogger("crwedge")
    log.info("scoring the encoder without labels on rendered films: a quarter of a minute")
    scored = score_bundle(bundle)
    shipped = Bundle.open(shipped_bundle()).manifest.cycle
    log.info(
        f"the cycle score of the shipped encoder is {shipped['score']:.1f}; higher is better, and footage of your own says "
        f"more: crwedge check {bundle.path} VIDEOS"
    )
    return scored


def _result(bundle: Bundle, measured: dict[str, Any] | None) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "bundle": str(bundle.path),
        "files": manifest.files,
        "precision": manifest.precision,
        "parity": manifest.parity,
        "passed": bool(manifest.parity.get("passed")),
        "cycle": manifest.cycle or None,
        "report": measured,
        "engines": sorted(path.name for path in (bundle.path / "engines").glob("*.engine")),
    }


def _profile(text: str | None) -> Profile | None:
    """`240x320,480x854,1080x1920` -> min, opt, max."""
    from crwedge.core.engine_key import Profile
    from crwedge.core.errors import SettingError
    from crwedge.core.images import parse_size

    if text is None:
        return None
    sizes = [parse_size(part) for part in text.split(",")]
    if len(sizes) not in (1, 3):
        raise SettingError(f"--profile {text} is not one size or MIN,OPT,MAX, such as 240x320,480x854,1080x1920")
    return Profile(sizes[0], sizes[len(sizes) // 2], sizes[-1])


def _is_bundle(path: Path | None) -> bool:
    from crwedge.core.bundle import MANIFEST

    return path is not None and (path / MANIFEST).is_file()


class _BuildProgress:
    """Progress of the builder's outermost phase, shown while there is one."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._phase = ""

    def __enter__(self) -> _BuildProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(self, phase: str, done: int, total: int) -> None:
        if self._progress is None:
            from crwedge.cli.progress import Progress

            self._phase = phase
            self._progress = Progress("engine", total or None)
            self._progress.__enter__()
        if phase == self._phase:
            self._progress.update(done)
            if done >= total:
                self._end()

    def _end(self) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None
