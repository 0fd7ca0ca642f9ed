"""Score an encoder on a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from crwedge.core.bundle import Bundle
from crwedge.core.masks import VOID
from crwedge.core.settings import PropagationSettings, check_choice, preset
from crwedge.eval import davis, jhmdb, vip
from crwedge.eval.datasets import davis_clips
from crwedge.eval.encoders import EncoderSpec
from crwedge.eval.follow import Follower
from crwedge.eval.report import write_report
from crwedge.eval.results import ResultFolder, fingerprint, plain, write_tables
from crwedge.eval.runner import OnProgress, run_clips
from crwedge.eval.scorer import Rule
from crwedge.runtime.propagation.attention import cpu_count

BENCHMARKS = ("davis", "jhmdb", "vip")
_CONTEXT = {"davis": None, "jhmdb": jhmdb.CONTEXT, "vip": vip.CONTEXT}
_SIZE: dict[str, tuple[int, int] | None] = {"davis": None, "jhmdb": jhmdb.SIZE, "vip": vip.SIZE}


def evaluate(
    benchmark: str,
    model: str | Path | Bundle | EncoderSpec | None = None,
    *,
    root: str | Path,
    settings: PropagationSettings | None = None,
    preset_name: str | None = None,
    size: tuple[int, int] | Literal["usual", "frame"] = "usual",
    rule: Rule = "2017",
    classes: int = vip.CLASSES,
    ignored: tuple[int, ...] = (VOID,),
    joints: Path | None = None,
    sequences: Iterable[str] = (),
    max_frames: int | None = None,
    out: str | Path | None = None,
    save_masks: bool = False,
    processes: int = 1,
    threads: int | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Propagate the labels of each sequence's first frame, score the other frames, and write tables and a report.

    A run can be resumed: sequences whose scores are in `out` are not computed again.

    Example:
        >>> import crwedge as cw
        >>> scores = cw.evaluate("davis", root="DAVIS", max_frames=5, out="runs/scores")
        >>> print(f"J&F {100 * scores['JF']:.1f}")

    Args:
        benchmark: `davis`, `jhmdb` or `vip`.
        model: a bundle, its folder or name, or an `EncoderSpec`; None: the one of `crwedge use`,
            else the shipped one.
        root: the benchmark's folder.
        settings: of the propagation; None: those of `usual_settings`.
        preset_name: name of the preset that `settings` are based on, for the protocol.
        size: (H, W) to compute at; `usual`: that of the bundle or of the benchmark; `frame`: that of the frame.
        rule: davis: "2017" or "2016".
        classes: vip: number of classes, 0 included.
        ignored: vip: true ids that are not scored.
        joints: jhmdb: joint file, if `root` is a single clip.
        sequences: names to score; all when empty.
        max_frames: score only the first frames of each sequence.
        out: folder of the results; None: a folder in `runs/`, named by the protocol.
        save_masks: davis: write every mask to `out/masks`.
        processes: number of sequences at once.
        threads: of each process; None: its share of all processors.
        on_progress: called after each sequence.

    Returns:
        Protocol and scores, as `crwedge eval --json` prints them, and the folder as "out".

    Raises:
        UserError: a file or setting cannot be used; the message names it.
    """
    check_choice("benchmark", benchmark, BENCHMARKS)
    root, names = Path(root), tuple(sequences)
    if isinstance(model, EncoderSpec):
        spec = model.resolved()
    else:
        spec = EncoderSpec(model=str(model.path if isinstance(model, Bundle) else model or "") or None).resolved()
    if settings is None:
        preset_name = preset_name or spec.preset()
        settings = usual_settings(benchmark, preset_name)
    if size == "usual":
        chosen = spec.size() or _SIZE[benchmark]
    else:
        chosen = None if size == "frame" else size
    follower = Follower(spec, settings, chosen, threads or max(1, cpu_count() // processes))
    protocol: dict[str, Any] = {**follower.protocol(preset_name), "max_frames": max_frames}
    tasks: dict[str, Callable[[], Any]]
    summarise: Callable[[dict[str, dict[str, Any]]], dict[str, Any]]
    if benchmark == "davis":
        protocol["rule"] = rule
        clips = [clip.first(max_frames) for clip in davis_clips(root, rule, names)]
        folder = _folder(benchmark, root, out, protocol)
        tasks = {c.name: partial(davis.score_clip, c, follower, rule, folder.path, save_masks) for c in clips}
        summarise = partial(davis.summary, protocol=protocol, rule=rule)
    elif benchmark == "jhmdb":
        poses = [clip.first(max_frames) for clip in jhmdb.pose_clips(root, names, joints)]
        folder = _folder(benchmark, root, out, protocol)
        tasks = {c.name: partial(jhmdb.score_clip, c, follower, folder.path) for c in poses}
        summarise = partial(jhmdb.summary, protocol=protocol)
    else:
        protocol |= {"classes": classes, "ignored": list(ignored)}
        clips = [clip.first(max_frames) for clip in vip.vip_clips(root, names)]
        folder = _folder(benchmark, root, out, protocol)
        tasks = {c.name: partial(vip.score_clip, c, follower, classes, ignored, folder.path) for c in clips}
        summarise = partial(vip.summary, protocol=protocol, classes=classes, ignored=ignored)
    summary = summarise(run_clips(tasks, folder, processes, on_progress))
    write_tables(folder.path, summary)
    write_report(folder.path, summary)
    result: dict[str, Any] = plain({**summary, "out": str(folder.path)})
    return result


def usual_settings(benchmark: str, preset_name: str) -> PropagationSettings:
    """A preset; `crw` gets the context length that the paper uses for this benchmark."""
    settings = preset(preset_name)
    return settings.with_changes(context_length=_CONTEXT[benchmark]) if preset_name == "crw" else settings


def _folder(benchmark: str, root: Path, out: str | Path | None, protocol: dict[str, Any]) -> ResultFolder:
    # Sequences of two trees may have the same name, so a folder belongs to one tree.
    protocol = {**protocol, "root": str(root.resolve())}
    return ResultFolder(Path(out) if out else Path("runs") / f"eval-{benchmark}-{fingerprint(protocol)}", protocol)
