"""A check of ONNX files that does not need the onnx package: does any tensor refer to another file?

ONNX is a protobuf. Only messages that can hold tensors are parsed: ModelProto.graph (7), GraphProto.node (1), .initializer
(5), .sparse_initializer (15), NodeProto.attribute (5), AttributeProto.t (5), .g (6), .tensors (10), .graphs (11),
.sparse_tensor (22), .sparse_tensors (23), SparseTensorProto.values (1), .indices (2), ModelProto.functions (25),
FunctionProto.node (7). In a TensorProto, `external_data` is field 13 and `data_location` field 14.
"""

from __future__ import annotations

from collections.abc import Iterator

from crwedge.core.errors import BundleError

_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def has_external_data(data: bytes) -> bool:
    """Whether any tensor of the ONNX model `data` refers to another file. BundleError for a damaged file."""
    return _walk(memoryview(data), "model")


def _walk(view: memoryview, kind: str) -> bool:
    children = _CHILDREN[kind]
    for number, value in _fields(view):
        child = children.get(number)
        if child is None or not isinstance(value, memoryview):
            continue
        if child == "tensor":
            if any(n == 13 or (n == 14 and v == 1) for n, v in _fields(value)):
                return True
        elif _walk(value, child):
            return True
    return False


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field number and value of each field of a protobuf message."""
    at = 0
    while at < len(view):
        key, at = _varint(view, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(view, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(view, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise BundleError("the ONNX file is damaged: it is not protobuf")
        if at + size > len(view):
            raise BundleError("the ONNX file is damaged: it ends too early")
        yield key >> 3, view[at : at + size]
        at += size


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(view) or shift > 63:
            raise BundleError("the ONNX file is damaged: it ends too early")
        byte = view[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
