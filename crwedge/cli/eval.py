"""`crwedge eval`: score encoders and masks by the field's protocols."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from crwedge.core.settings import PropagationSettings
    from crwedge.eval.encoders import EncoderSpec

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Score encoders and masks as the field does.\n\nExample: crwedge eval davis DAVIS --model walk-r18",
)

Root = Annotated[Path, typer.Argument(help="The benchmark's folder.")]
Model = Annotated[str | None, typer.Option(help="Bundle, or shipped; default: that of `crwedge use`, else shipped.")]
EncoderName = Annotated[str, typer.Option("--encoder", help="bundle, or a floor to set it beside: random, colour.")]
Seed = Annotated[int, typer.Option(help="Seed of --encoder random.")]
EngineName = Annotated[str, typer.Option("--engine", help="auto or cpu.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the results; default: runs/eval-... by protocol.")]
Sequences = Annotated[str | None, typer.Option(help="Names of sequences to take, with commas.")]
MaxFrames = Annotated[int | None, typer.Option("--max-frames", "--frames", min=3, help="Frames of each sequence.")]
Size = Annotated[str | None, typer.Option(help="Compute at HEIGHTxWIDTH, or 'frame'; default: the protocol's own.")]
Preset = Annotated[str | None, typer.Option(help="Propagation protocol: crw, dino, dinov3.")]
Context = Annotated[
    int | None, typer.Option("--context", "--context-length", help="Frames of context beside the first (m).")
]
Topk = Annotated[int | None, typer.Option(help="Neighbours kept for each cell (k).")]
Radius = Annotated[float | None, typer.Option(help="Search radius in cells of 8 pixels; inf for everywhere.")]
Temperature = Annotated[float | None, typer.Option(help="Softmax temperature.")]
FirstFrame = Annotated[str | None, typer.Option(help="Search the first frame: global or restricted.")]
TopkOver = Annotated[str | None, typer.Option(help="k neighbours of all frames together (joint), or of each (frame).")]
Storage = Annotated[str | None, typer.Option(help="Stored features: float32 or float16 (half the memory).")]
Jobs = Annotated[int, typer.Option(min=1, help="Sequences at once, each in its own process.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Processors of each process; default: its share of all.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object last.")]
Rule = Annotated[str, typer.Option("--year", help="2017: each object by its id; 2016: all objects as one.")]


@app.command()
def davis(
    root: Root,
    model: Model = None,
    encoder: EncoderName = "bundle",
    seed: Seed = 0,
    engine: EngineName = "auto",
    year: Rule = "2017",
    out: Out = None,
    sequences: Sequences = None,
    max_frames: MaxFrames = None,
    size: Size = None,
    preset: Preset = None,
    context: Context = None,
    topk: Topk = None,
    radius: Radius = None,
    temperature: Temperature = None,
    first_frame: FirstFrame = None,
    topk_over: TopkOver = None,
    storage: Storage = None,
    save_masks: Annotated[bool, typer.Option("--save-masks", help="Keep every mask, in OUT/masks.")] = False,
    jobs: Jobs = 1,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Follow the first mask of each sequence of a DAVIS tree and score J and F.

    Example: crwedge eval davis DAVIS --model walk-r18 --out runs/walk-davis
    """
    spec = _spec(encoder, model, engine, seed)
    settings, name = _settings(
        "davis", spec, preset, context, topk, radius, temperature, first_frame, topk_over, storage
    )
    options = {"sequences": _names(sequences), "max_frames": max_frames, "out": out, "save_masks": save_masks}
    _evaluate("davis", spec, root, settings, name, size, jobs, threads, as_json, rule=_rule(year), **options)


@app.command()
def jhmdb(
    root: Root,
    joints: Annotated[Path | None, typer.Option(help="Joint file (.json or .mat) of a ROOT that is one clip.")] = None,
    model: Model = None,
    encoder: EncoderName = "bundle",
    seed: Seed = 0,
    engine: EngineName = "auto",
    out: Out = None,
    sequences: Sequences = None,
    max_frames: MaxFrames = None,
    size: Size = None,
    preset: Preset = None,
    context: Context = None,
    topk: Topk = None,
    radius: Radius = None,
    temperature: Temperature = None,
    first_frame: FirstFrame = None,
    topk_over: TopkOver = None,
    storage: Storage = None,
    jobs: Jobs = 1,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Follow the joints of the first frame of each clip and score PCK; the context is 7 frames unless told otherwise.

    Example: crwedge eval jhmdb JHMDB --model walk-r18
    """
    spec = _spec(encoder, model, engine, seed)
    settings, name = _settings(
        "jhmdb", spec, preset, context, topk, radius, temperature, first_frame, topk_over, storage
    )
    options = {"sequences": _names(sequences), "max_frames": max_frames, "out": out}
    _evaluate("jhmdb", spec, root, settings, name, size, jobs, threads, as_json, joints=joints, **options)


@app.command()
def vip(
    root: Root,
    classes: Annotated[int, typer.Option(min=2, max=254, help="Number of classes, 0 included.")] = 20,
    ignore: Annotated[str, typer.Option(help="True ids that are not scored, with commas.")] = "255",
    model: Model = None,
    encoder: EncoderName = "bundle",
    seed: Seed = 0,
    engine: EngineName = "auto",
    out: Out = None,
    sequences: Sequences = None,
    max_frames: MaxFrames = None,
    size: Size = None,
    preset: Preset = None,
    context: Context = None,
    topk: Topk = None,
    radius: Radius = None,
    temperature: Temperature = None,
    first_frame: FirstFrame = None,
    topk_over: TopkOver = None,
    storage: Storage = None,
    jobs: Jobs = 1,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Follow the parts of the first frame of each clip and score the mean IoU; the context is 4 frames by default.

    Example: crwedge eval vip VIP_Fine --model walk-r18
    """
    from crwedge.core.errors import SettingError

    words = [word.strip() for word in ignore.split(",") if word.strip()]
    if not all(word.isdecimal() and int(word) <= 255 for word in words):
        raise SettingError(f"--ignore {ignore!r} is not a list of ids from 0 to 255 with commas, such as 11,255")
    ignored = tuple(sorted({int(word) for word in words}))
    spec = _spec(encoder, model, engine, seed)
    settings, name = _settings("vip", spec, preset, context, topk, radius, temperature, first_frame, topk_over, storage)
    options = {"sequences": _names(sequences), "max_frames": max_frames, "out": out}
    more = {"classes": classes, "ignored": ignored, **options}
    _evaluate("vip", spec, root, settings, name, size, jobs, threads, as_json, **more)


@app.command()
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

    score = score_folders(predicted, truth, _rule(year), allow_partial, _names(sequences), threads or cpu_count())
    summary = score.to_dict()
    say = _say(as_json)
    for name, sequence in summary["sequences"].items():
        say(f"{name}: {headline(sequence)}")
    say(f"protocol: {json.dumps(summary['protocol'])}")
    for note in score.notes():
        say(note)
    if score.partial:
        say(
            f"PARTIAL: {len(score.missing_sequences)} sequences and {score.missing_frames} frames have no prediction "
            "and are left out; this is not a benchmark result"
        )
    say(f"{len(score.sequences)} sequences: {headline(summary)}")
    if as_json:
        typer.echo(json.dumps(plain(summary)))


def _rule(year: str) -> Any:
    from crwedge.core.errors import SettingError

    if year not in ("2016", "2017"):
        raise SettingError(f"--year {year!r} is not known; choose 2016 or 2017")
    return year


def _names(sequences: str | None) -> list[str]:
    return [name.strip() for name in (sequences or "").split(",") if name.strip()]


def _spec(encoder: str, model: str | None, engine: str, seed: int) -> EncoderSpec:
    from crwedge.core.errors import SettingError
    from crwedge.core.settings import check_choice
    from crwedge.eval.encoders import KINDS, EncoderSpec

    check_choice("encoder", encoder, KINDS)
    if encoder != "bundle" and model is not None:
        raise SettingError(f"--model goes with --encoder bundle, not {encoder}")
    if encoder == "random":
        from crwedge.cli.floors import random_bundle

        model = str(random_bundle(seed))
    return EncoderSpec(encoder, model, engine).resolved()


def _settings(
    benchmark: str,
    spec: EncoderSpec,
    preset: str | None,
    context: int | None,
    topk: int | None,
    radius: float | None,
    temperature: float | None,
    first_frame: str | None,
    topk_over: str | None,
    storage: str | None,
) -> tuple[PropagationSettings, str]:
    """The settings and the name of the preset they start from."""
    from crwedge.eval.evaluate import usual_settings

    name = preset or spec.preset()
    changes = {"context_length": context, "topk": topk, "radius": radius, "temperature": temperature}
    more = {"first_frame": first_frame, "topk_over": topk_over, "storage": storage}
    return usual_settings(benchmark, name).with_changes(**changes, **more), name


def _size(size: str | None) -> Any:
    from crwedge.core.images import parse_size

    return size if size in ("usual", "frame") else parse_size(size) if size else "usual"


def _evaluate(
    benchmark: str,
    spec: EncoderSpec,
    root: Path,
    settings: PropagationSettings,
    preset: str,
    size: str | None,
    jobs: int,
    threads: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    from crwedge.cli.progress import Progress
    from crwedge.eval.evaluate import evaluate
    from crwedge.eval.report import headline

    say = _say(as_json)
    if spec.kind == "bundle" and not spec.describe()["trained"]:
        say("note: the encoder is random, not trained; the score is that of a floor")
    done = 0
    with Progress("sequences", None) as progress:

        def report(name: str, score: dict[str, Any], known: bool) -> None:
            nonlocal done
            done += 1
            say(f"{name}: {headline(score)}" + (" (done before)" if known else ""))
            progress.update(done)

        summary = evaluate(
            benchmark,
            spec,
            root=root,
            settings=settings,
            preset_name=preset,
            size=_size(size),
            processes=jobs,
            threads=threads,
            on_progress=report,
            **options,
        )
    say(f"protocol: {json.dumps(summary['protocol'])}")
    say(f"{len(summary['sequences'])} sequences: {headline(summary)}")
    say(f"tables and report: {summary['out']}/report.html")
    if spec.kind == "bundle" and not options.get("sequences") and not options.get("max_frames"):
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


def _say(as_json: bool) -> Any:
    """Plain words go to stdout, or to stderr where stdout is for a program."""

    def say(text: str) -> None:
        print(text, file=sys.stderr if as_json else sys.stdout, flush=True)

    return say
