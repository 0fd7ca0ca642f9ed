"""The study of test-time training (appendix H): off, causal, with frames from the future."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crwedge.eval.studies import Study

if TYPE_CHECKING:
    from crwedge.eval.follow import Follower
    from crwedge.eval.scorer import SequenceScore
    from crwedge.eval.tree import Clip

TEST_TIME = Study(
    "ttt",
    "Test-time training",
    "test-time training",
    "appendix H: frames t-m .. t+m (m = 10), 100 updates every 5 frames; its gain is in the main text",
    {"off": {}, "causal": {"mode": "causal"}, "lookahead": {"mode": "lookahead"}},
    numeric=False,
)


def test_time_study(
    clips: Sequence[Clip], follower: Follower, changes: Mapping[str, Any], folder: Path, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Score each way of test-time training; what was done before is kept.

    Training happens in the tracking process, before the frame is labelled, so that a run can be repeated.

    Args:
        clips: what to score on.
        follower: encoder, settings, size.
        changes: settings of test-time training by name (`updates`, `every`, ...).
        folder: keeps the scores.
        say: told of each point.

    Returns:
        One row a point, and what belongs to the protocol.
    """
    from crwedge.adapt.settings import TestTimeSettings
    from crwedge.eval.results import ResultFolder
    from crwedge.eval.runner import run_clips
    from crwedge.eval.scorer import SequenceScore, overall

    base = TestTimeSettings(synchronous=True).with_changes(**changes)
    rows = []
    for label, point in TEST_TIME.points.items():
        settings = base.with_changes(**point) if point else None
        how = None if settings is None else settings.to_dict()
        protocol = {**follower.protocol(), "ttt": how, "frames": {clip.name: len(clip.frames) for clip in clips}}
        tasks = {clip.name: partial(_score, clip, follower, settings) for clip in clips}
        scores = run_clips(tasks, ResultFolder(folder / "points" / label, protocol))
        row = {"point": label, **overall({name: SequenceScore.from_dict(s) for name, s in scores.items()})}
        say(f"{TEST_TIME.axis} {label}: J&F {100 * row['JF']:.1f}")
        rows.append(row)
    return rows, {"ttt": base.to_dict()}


@dataclass
class _Clipped:
    """The frames of a clip as a source, no more of them than the clip has."""

    clip: Clip
    live: bool = False
    fps: float | None = None

    @property
    def name(self) -> str:
        return self.clip.name

    @property
    def length(self) -> int | None:
        return len(self.clip.frames)

    def __iter__(self) -> Any:
        from crwedge.eval.follow import read_frame
        from crwedge.runtime.sources import Frame

        for index, path in enumerate(self.clip.frames):
            yield Frame(read_frame(path), index)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held."""


def _score(clip: Clip, follower: Follower, settings: Any) -> SequenceScore:
    from crwedge.adapt.trainer import TestTimeTrainer
    from crwedge.eval.davis import true_mask
    from crwedge.eval.scorer import SequenceScorer
    from crwedge.runtime.tracker import Tracker

    trainer = None if settings is None else TestTimeTrainer(settings)
    source: Any = _Clipped(clip)
    scorer = SequenceScorer("2017")
    spec = follower.encoder
    with Tracker.open(
        spec.model, spec.engine, follower.settings, follower.size, trainer, workers=follower.threads
    ) as tracker:
        for number, frame in enumerate(source if trainer is None else trainer.ahead(source)):
            truth = true_mask(clip.masks[number], "2017")
            labels = tracker.step(frame, truth if number == 0 else None)
            scorer.feed_frame(labels.ids, truth)
    return scorer.conclude()
