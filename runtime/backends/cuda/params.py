"""The arguments of the kernels: each takes one structure, laid out as in the .cu files; pointers are addresses."""

from __future__ import annotations

from ctypes import Structure, c_float, c_int, c_uint64

Pointer = c_uint64


class Attend(Structure):
    """Of `attend` in attention.cu."""

    _fields_ = (
        ("features", Pointer), ("table", Pointer), ("half", Pointer), ("partial", Pointer), ("floor", Pointer),
        ("h", c_int), ("w", c_int), ("channels", c_int), ("reach", c_int), ("k", c_int), ("shares", c_int),
        ("joint", c_int), ("window_rows", c_int),
    )  # fmt: skip


class Settle(Structure):
    """Of `settle` in attention.cu."""

    _fields_ = (
        ("partial", Pointer), ("table", Pointer), ("labels", Pointer), ("latest", Pointer),
        ("live", Pointer),
        ("cells", c_int), ("count", c_int), ("words", c_int), ("shares", c_int), ("k", c_int), ("joint", c_int),
        ("sharpness", c_float),
    )  # fmt: skip


class Colour(Structure):
    """Of `nv12_to_rgb` in frames.cu."""

    _fields_ = (
        ("luma", Pointer), ("chroma", Pointer), ("rgb", Pointer),
        ("height", c_int), ("width", c_int), ("pitch", c_int), ("high_definition", c_int),
    )  # fmt: skip


class Resize(Structure):
    """Of `resize` in frames.cu."""

    _fields_ = (
        ("source", Pointer), ("rgb", Pointer), ("planes", Pointer),
        ("source_height", c_int), ("source_width", c_int), ("height", c_int), ("width", c_int),
        ("scale", c_float * 3), ("shift", c_float * 3),
    )  # fmt: skip


class Pack(Structure):
    """Of `pack` in frames.cu."""

    _fields_ = (
        ("source", Pointer), ("features", Pointer), ("table", Pointer), ("floor", Pointer), ("broken", Pointer),
        ("channels", c_int), ("cells", c_int),
    )  # fmt: skip


class Paint(Structure):
    """Of `spread` and `paint` in frames.cu."""

    _fields_ = (
        ("labels", Pointer), ("live", Pointer),
        ("y_low", Pointer), ("y_high", Pointer), ("x_low", Pointer), ("x_high", Pointer),
        ("y_part", Pointer), ("x_part", Pointer),
        ("ids", Pointer), ("range", Pointer), ("out", Pointer),
        ("h", c_int), ("w", c_int), ("count", c_int), ("words", c_int), ("height", c_int), ("width", c_int),
    )  # fmt: skip
