"""`crwedge eval`: score encoders and masks by the field's protocols."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from crwedge.cli.groups import Group, PanelCommand, grouped
from crwedge.cli.messages import messages
from crwedge.cli.options import (
    AsJson,
    EncoderKind,
    EncoderOptions,
    MaxFrames,
    Seed,
    Sequences,
    SettingOptions,
    Size,
    Threads,
    computed_size,
    split_names,
)

if TYPE_CHECKING:
    from crwedge.cli.settings_option import SettingTable
    from crwedge.eval.encoders import EncoderSpec

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Score encoders and masks as the field does.\n\nExample: crwedge eval davis DAVIS --model walk-r18",
)

Root = Annotated[Path, typer.Argument(help="The benchmark's folder.")]
Rule = Annotated[str, typer.Option("--year", help="2017: each object by its id; 2016: all objects as one.")]


@dataclass(frozen=True)
class ScoredEncoder(EncoderOptions):
    """What is scored."""

    encoder: EncoderKind = "bundle"
    seed: Seed = 0


@dataclass(frozen=True)
class RunOptions(Group):
    """Which part of a benchmark, and where the results go."""

    panel: ClassVar[str] = "Run"
    sequences: Sequences = None
    max_frames: MaxFrames = None
    size: Size = None
    jobs: Annotated[int, typer.Option(min=1, help="Sequences at once, each in its own process.")] = 1
    threads: Threads = None
    out: Annotated[Path | None, typer.Option(help="Folder of the results; default: runs/eval-... by protocol.")] = None


def setting_table() -> SettingTable:
    """The keys of `--set`."""
    from crwedge.cli.settings_option import SettingTable
    from crwedge.core.settings import PropagationSettings

    return SettingTable("crwedge eval davis").add(PropagationSettings, default="(of the preset)")


@app.command(cls=PanelCommand)
@grouped
def davis(
    root: Root,
    scored: ScoredEncoder,
    run: RunOptions,
    more: SettingOptions,
    year: Rule = "2017",
    save_masks: Annotated[bool, typer.Option("--save-masks", help="Keep every mask, in OUT/masks.")] = False,
    as_json: AsJson = False,
) -> None:
    """Follow the first mask of each sequence of a DAVIS tree and score J and F.

    Example: crwedge eval davis DAVIS --model walk-r18 --out runs/walk-davis
    """
    _evaluate("davis", root, scored, run, more, as_json, rule=_rule(year), save_masks=save_masks)


@app.command(cls=PanelCommand)
@grouped
def jhmdb(
    root: Root,
    scored: ScoredEncoder,
    run: RunOptions,
    more: SettingOptions,
    joints: Annotated[Path | None, typer.Option(help="Joint file (.json or .mat) of a ROOT that is one clip.")] = None,
    as_json: AsJson = False,
) -> None:
    """Follow the joints of the first frame of each clip and score PCK; the context is 7 frames by default.

    Example: crwedge eval jhmdb JHMDB --model walk-r18
    """
    _evaluate("jhmdb", root, scored, run, more, as_json, joints=joints)


@app.command(cls=PanelCommand)
@grouped
def vip(
    root: Root,
    scored: ScoredEncoder,
    run: RunOptions,
    more: SettingOptions,
    classes: Annotated[int, typer.Option(min=2, max=254, help="Number of classes, 0 included.")] = 20,
    ignore: Annotated[str, typer.Option(help="True ids that are not scored, with commas.")] = "255",
    as_json: AsJson = False,
) -> None:
    """Follow the parts of the first frame of each clip and score the mean IoU; the context is 4 frames by default.

    Example: crwedge eval vip VIP_Fine --model walk-r18
    """
    from crwedge.core.errors import SettingError

    words = [word.strip() for word in ignore.split(",") if word.strip()]
    if not all(word.isdecimal() and len(word) < 16 and int(word) <= 255 for word in words):
        raise SettingError(f"--ignore {ignore!r} is not a list of ids from 0 to 255 with commas, such as 11,255")
    ignored = tuple(sorted({int(word) for word in words}))
    _evaluate("vip", root, scored, run, more, as_json, classes=classes, ignored=ignored)


@app.command(cls=PanelCommand)
def masks(
    predicted: Annotated[Path, typer.Argument(help="SEQUENCE/00000.png ..., or the PNG files of one sequence.")],
    truth: Annotated[Path, typer.Argument(help="True masks: the same form, or a DAVIS tree.")],
    year: Rule = "2017",
    allow_partial: Annotated[
        bool, typer.Option("--partial", help="Leave out sequences and frames without a prediction.")
    ] = False,
    sequences: Sequences = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Score folders of masks that anyone wrote.

    Example: crwedge eval masks results/ DAVIS/Annotations/480p
    """
    from crwedge.eval.report import headline
    from crwedge.eval.results import plain
    from crwedge.eval.score_folders import score_folders
    from crwedge.runtime.propagation.attention import cpu_count

    score = score_folders(predicted, truth, _rule(year), allow_partial, split_names(sequences), threads or cpu_count())
    summary = score.to_dict()
    log = messages(as_json)
    for name, sequence in summary["sequences"].items():
        log.info(f"{name}: {headline(sequence)}")
    log.info(f"protocol: {json.dumps(summary['protocol'])}")
    for note in score.notes():
        log.info(note)
    if score.partial:
        log.info(
            f"PARTIAL: {len(score.missing_sequences)} sequences and {score.missing_frames} frames have no prediction "
            "and were skipped; this is not a benchmark result"
        )
    log.info(f"{len(score.sequences)} sequences: {headline(summary)}")
    if as_json:
        typer.echo(json.dumps(plain(summary)))


def _rule(year: str) -> Any:
    from crwedge.core.errors import SettingError

    if year not in ("2016", "2017"):
        raise SettingError(f"--year {year!r} is not known; choose 2016 or 2017")
    return year


def _spec(encoder: str, model: str | None, engine: str, seed: int) -> EncoderSpec:
    from crwedge.studies.baselines import encoder_spec

    return encoder_spec(encoder, model, engine, seed)


def _evaluate(
    benchmark: str,
    root: Path,
    scored: ScoredEncoder,
    run: RunOptions,
    more: SettingOptions,
    as_json: bool,
    **options: Any,
) -> None:
    from crwedge.cli.progress import Progress
    from crwedge.core.settings import PropagationSettings
    from crwedge.eval.evaluate import evaluate, usual_settings
    from crwedge.eval.report import headline

    changes = setting_table().parse(more.settings)[PropagationSettings]
    spec = _spec(scored.encoder, scored.model, scored.engine, scored.seed)
    preset = scored.preset or spec.preset()
    log = messages(as_json)
    if spec.kind == "bundle" and not spec.describe()["trained"]:
        log.info("note: the encoder is random, not trained; the score is that of a floor")
    done = 0
    with Progress("sequences", None) as progress:

        def report(name: str, score: dict[str, Any], known: bool) -> None:
            nonlocal done
            done += 1
            log.info(f"{name}: {headline(score)}" + (" (done before)" if known else ""))
            progress.update(done)

        summary = evaluate(
            benchmark,
            spec,
            root=root,
            settings=usual_settings(benchmark, preset).with_changes(**changes),
            preset_name=preset,
            size=computed_size(run.size),
            processes=run.jobs,
            threads=run.threads,
            sequences=split_names(run.sequences),
            max_frames=run.max_frames,
            out=run.out,
            on_progress=report,
            **options,
        )
    log.info(f"protocol: {json.dumps(summary['protocol'])}")
    log.info(f"{len(summary['sequences'])} sequences: {headline(summary)}")
    log.info(f"tables and report: {summary['out']}/report.html")
    if spec.kind == "bundle" and not run.sequences and not run.max_frames:
        _remember(benchmark, spec, summary, preset)
    if as_json:
        typer.echo(json.dumps(summary))


def _remember(benchmark: str, spec: EncoderSpec, summary: dict[str, Any], preset: str) -> None:
    """Keep the score of a whole benchmark for `crwedge models` and for the first line of `crwedge track`."""
    from crwedge.eval.report import figure_of
    from crwedge.runtime.bundle_lookup import find_bundle
    from crwedge.runtime.bundle_scores import record_score

    name, value = figure_of(summary)
    protocol = summary["protocol"]
    size = protocol["size"] or "the frame's size"
    record_score(
        find_bundle(spec.model),
        f"{name} {100 * value:.1f} on {len(summary['sequences'])} sequences of {protocol['benchmark']}, preset {preset}, "
        f"context {protocol['settings']['context_length']}, computed at {size}",
        preset,
    )
