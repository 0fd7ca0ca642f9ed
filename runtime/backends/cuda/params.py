"""The arguments of the kernels: each takes one structure, laid out as in the .cu files; pointers are addresses."""

from __future__ import annotations

from ctypes import Structure, c_float, c_int, c_uint64

Pointer = c_uint64


class ContextFrame(Structure):
    """One frame of the context, in portable.cuh."""

    _fields_ = (
        ("features", Pointer), ("labels", Pointer),
        ("h", c_int), ("w", c_int), ("y", c_int), ("x", c_int), ("copies", c_int), ("is_global", c_int),
    )  # fmt: skip


class TopkAttention(Structure):
    """Of `topk_attention` in attention.cu."""

    _fields_ = (
        ("query", Pointer), ("frames", Pointer), ("half", Pointer), ("partial", Pointer), ("kth_bound", Pointer),
        ("h", c_int), ("w", c_int), ("y", c_int), ("x", c_int),
        ("top", c_int), ("bottom", c_int), ("left", c_int), ("right", c_int),
        ("frame_count", c_int), ("frame_cells", c_int),
        ("channels", c_int), ("reach", c_int), ("k", c_int), ("key_splits", c_int), ("joint", c_int),
        ("window_rows", c_int),
    )  # fmt: skip


class MergeTopk(Structure):
    """Of `merge_topk` in attention.cu."""

    _fields_ = (
        ("partial", Pointer), ("frames", Pointer), ("labels", Pointer), ("label_bitmask", Pointer), ("entropy", Pointer),
        ("support", Pointer), ("cells", c_int), ("count", c_int), ("bitmask_words", c_int), ("key_splits", c_int), ("k", c_int),
        ("joint", c_int), ("frame_cells", c_int), ("inverse_temperature", c_float),
    )  # fmt: skip


class Resize(Structure):
    """Of `resize` in frames.cu."""

    _fields_ = (
        ("source", Pointer), ("rgb", Pointer),
        ("source_height", c_int), ("source_width", c_int), ("full_height", c_int), ("full_width", c_int),
        ("top", c_int), ("left", c_int), ("height", c_int), ("width", c_int),
    )  # fmt: skip


class StoreFeatures(Structure):
    """Of `store_features` in frames.cu."""

    _fields_ = (
        ("source", Pointer), ("features", Pointer), ("not_finite", Pointer), ("channels", c_int), ("cells", c_int),
        ("w", c_int), ("source_cells", c_int), ("source_w", c_int), ("source_first", c_int),
    )  # fmt: skip


class Upsample(Structure):
    """Of `label_range` and `upsample_argmax` in frames.cu."""

    _fields_ = (
        ("labels", Pointer), ("label_bitmask", Pointer), ("ids", Pointer), ("range", Pointer), ("out", Pointer),
        ("h", c_int), ("w", c_int), ("y", c_int), ("x", c_int), ("full_h", c_int), ("full_w", c_int),
        ("count", c_int), ("bitmask_words", c_int), ("height", c_int), ("width", c_int),
        ("box_top", c_int), ("box_left", c_int), ("box_height", c_int), ("box_width", c_int),
    )  # fmt: skip
