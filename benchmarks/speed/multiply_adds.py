"""How many multiply-adds a network needs for one picture, counted in its ``.tflite`` file.

One multiply-add for each weight that an output value is made of: a convolution's output of h x w x c values costs
h * w * c times the weights of one channel's kernel, a fully connected layer one for each weight and row. Additions,
activations and pooling are left out, as is usual: they are a few in a hundred. The operators are those of the file as
it is run without XNNPACK, which would show as a single one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter, OpResolverType

Shape = Sequence[int]


def multiply_adds(path: Path) -> int:
    """Of one run with the shapes that are in the file. Raises ValueError for what it cannot count."""
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    shapes = {detail["index"]: detail["shape"].tolist() for detail in interpreter.get_tensor_details()}
    # The list of operators is said by a method that is not public; there is no other short of parsing the file.
    return sum(_cost(one["op_name"], one, shapes) for one in interpreter._get_ops_details())


def _cost(name: str, operator: Mapping[str, Sequence[int]], shapes: Mapping[int, Shape]) -> int:
    if name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        if name in ("TRANSPOSE_CONV", "BATCH_MATMUL", "CONV_3D", "UNIDIRECTIONAL_SEQUENCE_LSTM"):
            raise ValueError(f"multiply-adds of {name} are not counted here")
        return 0
    weights = shapes[int(operator["inputs"][1])]
    outputs = prod(shapes[int(operator["outputs"][0])])
    if name == "DEPTHWISE_CONV_2D":  # (1, height, width, channels): each output value sees its own channel only
        return outputs * weights[1] * weights[2]
    return outputs * prod(weights[1:])  # (channels, height, width, inputs) or (channels, inputs)
