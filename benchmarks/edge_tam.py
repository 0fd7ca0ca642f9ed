"""EdgeTAM with random weights, from the library transformers: its masks mean nothing, its time is that of a trained one."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 1024
"""Pixels of a side of what EdgeTAM encodes; it gives masks of a quarter of it."""
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class EdgeTam:
    """Follows objects of the first mask, which is cut into as many columns of the same number of pixels.

    Nothing is fetched: the backbone RepViT-M1 and all else have random weights. A frame's time includes its resizing, the
    attention to the memory of up to seven frames, the memory's update, and the masks at the size of the frame.

    Args:
        objects: number of objects.
        threads: of PyTorch.
    """

    def __init__(self, objects: int, threads: int) -> None:
        # A configuration that would be fetched is an error.
        os.environ["HF_HUB_OFFLINE"] = "1"
        torch: Any = import_module("torch")
        transformers: Any = import_module("transformers")
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        # Without arguments this configuration asks a hub for that of its backbone, even to show itself.
        transformers.EdgeTamVisionConfig.has_no_defaults_at_init = True
        outputs = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
        backbone = transformers.TimmWrapperConfig(architecture="repvit_m1", model_args=outputs)
        # The two switches are those of the published model.
        config = transformers.EdgeTamVideoConfig(
            vision_config=transformers.EdgeTamVisionConfig(backbone_config=backbone),
            enable_temporal_pos_encoding_for_object_pointers=False,
            enable_occlusion_spatial_embedding=False,
        )
        self._torch, self._objects = torch, objects
        self._model = transformers.EdgeTamVideoModel(config).eval()
        self._session = transformers.EdgeTamVideoInferenceSession(dtype=torch.float32)
        self._mean, self._spread = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, SPREAD))

    def __call__(self, frame: NDArray[np.uint8], mask: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Ids (H, W) of a frame RGB uint8 (H, W, 3); its mask comes with the first one."""
        torch = self._torch
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255
            inputs = (self._resized(pixels, (SIDE, SIDE)) - self._mean) / self._spread
            if mask is not None:
                self._prompt(mask)
            found = self._model(inference_session=self._session, frame=inputs).pred_masks
            scores = self._resized(found, frame.shape[:2])[:, 0]
            best = scores.max(dim=0)
            ids: NDArray[np.uint8] = ((best.indices + 1) * (best.values > 0)).to(torch.uint8).numpy()
        return ids

    def _prompt(self, mask: NDArray[np.uint8]) -> None:
        columns = np.nonzero(mask)[1]
        edges = np.quantile(columns, np.linspace(0, 1, self._objects + 1)[1:-1])
        part = np.searchsorted(edges, np.arange(mask.shape[1]), side="right")
        for i in range(self._objects):
            one = self._torch.from_numpy(((mask > 0) & (part == i)).astype(np.float32))[None, None]
            one = (self._resized(one, (SIDE, SIDE)) >= 0.5).float()
            self._session.add_mask_inputs(self._session.obj_id_to_idx(i + 1), 0, one)
        self._session.obj_with_new_inputs = list(range(1, self._objects + 1))

    def _resized(self, maps: Any, size: tuple[int, int]) -> Any:
        return self._torch.nn.functional.interpolate(
            maps, size=size, mode="bilinear", antialias=maps.shape[2] > size[0]
        )
