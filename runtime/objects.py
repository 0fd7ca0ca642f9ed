"""The objects that are followed: their ids, their channels of the soft labels, and what a prompt changes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError
from crwedge.core.joints import FrameJoints
from crwedge.core.keypoints import soft_to_joints
from crwedge.core.labels import area_labels, soft_labels
from crwedge.core.prompts import KeypointPrompt, MaskPrompt
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation.label_grid import repeated
from crwedge.runtime.propagation.view import Size

AnyPrompt = MaskPrompt | KeypointPrompt


class Objects:
    """Ids in the order of the channels after the background. Object i of `ids` is channel i + 1."""

    def __init__(self) -> None:
        self.ids: tuple[int, ...] = ()
        self.names: dict[int, str] = {}
        """Of the objects that are joints; empty when masks are followed."""

    def start(self, prompt: AnyPrompt) -> None:
        """Follow what a prompt shows, and nothing else."""
        self.ids = prompt.ids
        self.names = (
            dict(zip(prompt.ids, prompt.joints.names, strict=True)) if isinstance(prompt, KeypointPrompt) else {}
        )

    def check(self, prompt: AnyPrompt | None, first: bool) -> None:
        """Refuse a prompt that does not fit the followed objects.

        Raises:
            MaskError: the first frame has none, or joints are mixed with anything else.
        """
        if prompt is None and first:
            raise MaskError("the first frame needs a mask of the objects to follow (--mask init.png)")
        if prompt is not None and not first and (self.names or isinstance(prompt, KeypointPrompt)):
            raise MaskError(
                "joints can be given with the first frame only, and no mask can follow them; reset the tracker to start again"
            )

    def add(self, ids: tuple[int, ...]) -> NDArray[np.float32] | None:
        """Follow more objects; returns the change of the labels' channels (K, K'), or None where nothing is new."""
        new = tuple(i for i in ids if i not in self.ids)
        self.ids += new
        count = 1 + len(self.ids)
        return np.eye(count - len(new), count, dtype=np.float32) if new else None

    def remove(self, ids: tuple[int, ...]) -> NDArray[np.float32]:
        """Follow some objects no longer; returns the change of the channels: what they had is background.

        Raises:
            MaskError: an object is not followed, or none would be left.
        """
        unknown = sorted(set(ids) - set(self.ids))
        if unknown:
            raise MaskError(
                f"there is no object {unknown[0]} to remove; the followed objects are {', '.join(map(str, self.ids))}"
            )
        kept = tuple(i for i in self.ids if i not in ids)
        if not kept:
            raise MaskError("the last object cannot be removed; stop the run, or add another object first")
        change = np.zeros((1 + len(self.ids), 1 + len(kept)), np.float32)
        change[0, 0] = 1
        for channel, object_id in enumerate(self.ids, start=1):
            change[channel, kept.index(object_id) + 1 if object_id in kept else 0] = 1
        self.ids = kept
        self.names = {i: name for i, name in self.names.items() if i in kept}
        return change

    def soft(
        self, prompt: AnyPrompt, grid: Size, settings: PropagationSettings
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Soft labels (K, h * s, w * s) of a prompt for the whole frame, and the share (h * s, w * s) of each that is known.

        Args:
            prompt: it shows nothing but objects that are followed.
            grid: (h, w) of the features.
            settings: how a mask becomes labels.
        """
        s = settings.label_scale
        fine = s * grid[0], s * grid[1]
        if isinstance(prompt, KeypointPrompt):
            # The size of a joint is counted in cells.
            return repeated(prompt.soft(grid), s), np.ones(fine, np.float32)
        return (area_labels if settings.labels == "area" else soft_labels)(prompt.mask, self.ids, fine)

    def corrected(
        self,
        soft: NDArray[np.float32],
        prompt: MaskPrompt,
        truth: NDArray[np.float32],
        known: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Soft labels (K, h, w) of a frame with a partial mask.

        Objects in the mask take its values; the others keep their prediction outside of them; void keeps the prediction.

        Args:
            soft: the prediction; it may lack the channels of objects that the mask has just added.
            prompt: the mask.
            truth: (K', h, w) the mask's soft labels.
            known: (h, w) share of each cell that is not void; see `soft_labels`.
        """
        predicted = np.zeros(truth.shape, np.float32)
        predicted[: soft.shape[0]] = soft
        shown = np.array([False, *(i in prompt.ids for i in self.ids)])
        # Objects that the mask does not show, and the background, share what the painted ones leave.
        rest = predicted * ~shown[:, None, None]
        total = rest.sum(axis=0)
        rest[0] += total == 0
        rest /= np.where(total == 0, 1, total)
        mixed = truth * shown[:, None, None]
        mixed += rest * (1 - mixed.sum(axis=0))
        return np.asarray(known * mixed + (1 - known) * predicted, np.float32)

    def joints(self, soft: NDArray[np.float32], size: tuple[int, int], prompt: AnyPrompt | None) -> FrameJoints | None:
        """Where the joints are in a frame of `size` = (H, W): as given, or read from the soft labels."""
        if not self.names:
            return None
        if isinstance(prompt, KeypointPrompt):
            return replace(prompt.joints, confidence=prompt.joints.visible.astype(np.float64))
        return FrameJoints(tuple(self.names.values()), *soft_to_joints(soft, size))

    def present(
        self, ids: NDArray[np.uint8], joints: FrameJoints | None, missing: Collection[int] = ()
    ) -> dict[int, bool]:
        """Whether each object is present in the frame; a joint is present if it has coordinates.

        Args:
            ids: (H, W) label map.
            joints: where the joints are, when these are followed.
            missing: objects that are looked for elsewhere: what bears their label does not count.
        """
        if joints is not None:
            return {i: bool(seen) for i, seen in zip(self.ids, joints.visible, strict=True)}
        pixels = np.bincount(ids.reshape(-1), minlength=256)
        return {i: bool(pixels[i]) and i not in missing for i in self.ids}

    def state(self) -> dict[str, Any]:
        """Plain values, for a snapshot."""
        return {"object_ids": self.ids, "joints": list(self.names.items())}

    def restore(self, values: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.ids = tuple(int(i) for i in values["object_ids"])
        self.names = {int(i): str(name) for i, name in values.get("joints", ())}
