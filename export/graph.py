"""Writes an ONNX graph node by node. The same nodes and weights give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.optional import import_optional

OPSET = 17
IR_VERSION = 8
"""Both are supported by TensorRT 10.3 and ONNX Runtime 1.18."""


class GraphWriter:
    """Collects nodes and tensors; every method returns the name of its output."""

    def __init__(self) -> None:
        """Start an empty graph; MissingExtraError without the package onnx."""
        self.onnx = import_optional("onnx", extra="export")
        self.types = self.onnx.TensorProto
        self.nodes: list[Any] = []
        self.tensors: dict[str, Any] = {}

    def tensor(self, name: str, values: NDArray[Any] | np.generic) -> str:
        """An initializer. Scalars stay scalars, as quantised operators require."""
        if name not in self.tensors:
            self.tensors[name] = self.onnx.numpy_helper.from_array(np.array(values, order="C"), name)
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """An operator with one output, named after it."""
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def cast(self, x: str, to: type[np.generic], output: str) -> str:
        """A Cast to a NumPy type."""
        return self.node("Cast", [x], output, to=self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(to)))

    def finish(
        self,
        name: str,
        inputs: Mapping[str, tuple[type[np.generic], Sequence[int | str]]],
        outputs: Mapping[str, tuple[type[np.generic], Sequence[int | str]]],
        facts: Mapping[str, str],
    ) -> bytes:
        """The bytes of the checked model: inputs and outputs by name with type and shape, `facts` as metadata."""
        helper = self.onnx.helper

        def values(table: Mapping[str, tuple[type[np.generic], Sequence[int | str]]]) -> list[Any]:
            return [
                helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), list(shape))
                for key, (kind, shape) in table.items()
            ]

        graph = helper.make_graph(self.nodes, name, values(inputs), values(outputs), list(self.tensors.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="crwedge")
        model.ir_version = IR_VERSION
        helper.set_model_props(model, dict(sorted(facts.items())))
        self.onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))
