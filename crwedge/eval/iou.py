"""Mean intersection over union of semantic classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError
from crwedge.core.images import size_text
from crwedge.core.masks import VOID


def confusion(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int, ignored: tuple[int, ...] = (VOID,)
) -> NDArray[np.int64]:
    """Count pixels by true class (row) and predicted class (column).

    Args:
        predicted: (H, W) ids; ids above the last class are counted in the last column.
        truth: (H, W) ids.
        classes: number of classes, numbered from 0.
        ignored: true ids that are not counted. True ids above the last class are not counted either.

    Returns:
        (classes, classes + 1) counts.
    """
    counted = (truth < classes) & ~np.isin(truth, ignored)
    pairs = truth[counted].astype(np.int64) * (classes + 1) + np.minimum(predicted[counted], classes)
    return np.bincount(pairs, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def class_iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of each class from a confusion matrix; NaN for a class that neither side has."""
    right = np.diag(counts[:, :-1])
    union = counts.sum(axis=1) + counts[:, :-1].sum(axis=0) - right
    return np.where(union > 0, right / np.maximum(union, 1), np.nan)


@dataclass(frozen=True)
class PartsScore:
    """Score of a clip."""

    confusion: NDArray[np.int64]
    """(classes, classes + 1) pixels of all scored frames."""
    frames: tuple[int, ...]
    raw: tuple[float, ...]
    """Mean IoU of each scored frame over its classes."""

    @property
    def miou(self) -> float:
        """Mean IoU over the classes of the clip, pixels of all its frames together."""
        return mean_iou(self.confusion)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        iou = class_iou(self.confusion)
        classes = {str(i): None if np.isnan(value) else float(value) for i, value in enumerate(iou)}
        return {
            "mIoU": self.miou,
            "classes": classes,
            "frames": list(self.frames),
            "raw": list(self.raw),
            "confusion": self.confusion.tolist(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PartsScore:
        """The inverse of `to_dict`."""
        return cls(np.array(values["confusion"], np.int64), tuple(values["frames"]), tuple(values["raw"]))


def mean_iou(counts: NDArray[np.int64]) -> float:
    """Mean IoU over the classes that either side has."""
    iou = class_iou(counts)
    shown = iou[~np.isnan(iou)]
    return float(shown.mean()) if shown.size else float("nan")


class PartsScorer:
    """Scores a clip frame by frame; do not feed the first frame, whose mask is given.

    Args:
        classes: number of classes, numbered from 0.
        ignored: true ids that are not scored.
    """

    def __init__(self, classes: int, ignored: tuple[int, ...] = (VOID,)) -> None:
        self._classes = classes
        self._ignored = ignored
        self._counts = np.zeros((classes, classes + 1), np.int64)
        self._frames: list[int] = []
        self._raw: list[float] = []

    def feed_frame(self, mask: NDArray[np.uint8], truth: NDArray[np.uint8], index: int) -> None:
        """Take predicted and true ids (H, W) of frame `index`. MaskError when the sizes differ."""
        if mask.shape != truth.shape:
            raise MaskError(
                f"frame {index}: the mask is {size_text(mask.shape)} (height x width), the true one "
                f"{size_text(truth.shape)}"
            )
        counts = confusion(mask, truth, self._classes, self._ignored)
        self._counts += counts
        self._frames.append(index)
        self._raw.append(mean_iou(counts))

    def conclude(self) -> PartsScore:
        """The figures of all frames fed so far."""
        return PartsScore(self._counts.copy(), tuple(self._frames), tuple(self._raw))
