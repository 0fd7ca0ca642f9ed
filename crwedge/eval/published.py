"""Published scores: table 3 of the paper's appendix."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A row: DAVIS 2017 val, in percent; None where the table has no value."""

    method: str
    backbone: str
    data: str
    jf: float
    j_mean: float
    j_recall: float | None
    f_mean: float
    f_recall: float | None


DAVIS_2017_VAL = (
    Published("OSMN", "VGG-16", "I/C/D (1.2M + 227k)", 54.8, 52.5, 60.9, 57.1, 66.1),
    Published("SiamMask", "ResNet-50", "I/V/C/Y (1.2M + 2.7M)", 56.4, 54.3, 62.8, 58.5, 67.5),
    Published("OSVOS", "VGG-16", "I/D (1.2M + 10k)", 60.3, 56.6, 63.8, 63.9, 73.8),
    Published("OnAVOS", "ResNet-38", "I/C/P/D (1.2M + 517k)", 65.4, 61.6, 67.4, 69.1, 75.4),
    Published("OSVOS-S", "VGG-16", "I/P/D (1.2M + 17k)", 68.0, 64.7, 74.2, 71.3, 80.7),
    Published("FEELVOS", "Xception-65", "I/C/D/Y (1.2M + 663k)", 71.5, 69.1, 79.1, 74.0, 83.8),
    Published("PReMVOS", "ResNet-101", "I/C/D/P/M (1.2M + 527k)", 77.8, 73.9, 83.1, 81.8, 88.9),
    Published("STM", "ResNet-50", "I/D/Y (1.2M + 164k)", 81.8, 79.2, None, 84.3, None),
    Published("ImageNet", "ResNet-50", "I (1.2M)", 66.0, 63.7, 74.0, 68.4, 79.2),
    Published("MoCo", "ResNet-50", "I (1.2M)", 65.4, 63.2, 73.0, 67.6, 78.7),
    Published("Contrastive random walk", "ResNet-18", "K (20M unlabeled)", 67.6, 64.8, 76.1, 70.2, 82.1),
)
"""Data: I ImageNet, K Kinetics, V ImageNet-VID, C COCO, D DAVIS, M Mapillary, P PASCAL-VOC, Y YouTube-VOS."""

FRAME_RATE = {"2": 65.9, "4": 67.5, "8": 67.6, "30": 62.3, "inf": 57.5}
"""Appendix D: J&F on DAVIS 2017 val by the frame rate of training."""
