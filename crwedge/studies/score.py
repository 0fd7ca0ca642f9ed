"""Score every point of a study on every clip; what was scored before is kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from crwedge.core.errors import SettingError
from crwedge.eval.datasets import Clip
from crwedge.eval.results import ResultFolder
from crwedge.eval.scorer import over_seeds, overall
from crwedge.studies.study import PointScore, Study

_log = logging.getLogger(__name__)

_Scores = dict[tuple[str, int], dict[str, PointScore]]
"""(point, seed) -> clip -> score."""


def score_study(
    studies: Sequence[Study], clips: Sequence[Clip], seeds: Sequence[int], folder: Path
) -> list[dict[str, Any]]:
    """Score all points of studies that differ in their encoder alone.

    Args:
        studies: the same topic for each encoder.
        clips: sequences to score.
        seeds: for the points that depend on one; the others are scored once.
        folder: scores of finished clips.

    Returns:
        One row for each encoder and point: means of J, F and J&F over the seeds, the range of J&F, and the study's facts.

    Raises:
        UserError: there are no clips, or `folder` holds scores of another protocol.
    """
    if not clips:
        raise SettingError("a study needs at least one sequence")
    rows: list[dict[str, Any]] = []
    for study in studies:
        scores = _scores(study, clips, seeds, folder)
        for point in study.points:
            mine = [found for (label, _), found in scores.items() if label == point]
            figures = [overall({name: one.score for name, one in found.items()}) for found in mine]
            facts = study.row_facts([one for found in mine for one in found.values()])
            rows.append(
                {"series": study.series, "point": point, **over_seeds(figures), **figures[0].get("cost", {}), **facts}
            )
            low, high = (100 * rows[-1][key] for key in ("JF_low", "JF_high"))
            spread = f" ({low:.1f} to {high:.1f})" if len(mine) > 1 else ""
            where = f"{study.series}, {point}" if study.series else f"{study.topic.axis} {point}"
            _log.info("%s: J&F %.1f%s", where, 100 * rows[-1]["JF"], spread)
    return rows


def _scores(study: Study, clips: Sequence[Clip], seeds: Sequence[int], folder: Path) -> _Scores:
    frames = {clip.name: len(clip.frames) for clip in clips}
    keys = [key for key in product(study.points, seeds) if study.seeded(key[0]) or key[1] == seeds[0]]
    stored = {
        (point, seed): ResultFolder(
            _place(study, point, folder) / f"seed-{seed}" / "scores", {**study.protocol(point, seed), "frames": frames}
        )
        for point, seed in keys
    }
    scores: _Scores = {key: {} for key in keys}
    # Clip by clip, so that points that share the features of a clip find them in the cache.
    for clip in clips:
        missing = 0
        for key in keys:
            known = stored[key].load(clip.name)
            if known is None:
                missing += 1
                score = study.score(key[0], clip, key[1])
                stored[key].save(clip.name, score.to_dict())
            else:
                score = PointScore.from_dict(known)
            scores[key][clip.name] = score
        _log.info("%s: %d points%s", clip.name, len(keys), "" if missing else " (done before)")
    return scores


def _place(study: Study, point: str, folder: Path) -> Path:
    series = folder / "points" / study.series if study.series else folder / "points"
    return series / point.replace(" ", "-").replace(",", "")
