"""Training goes on from what ships: the networks of an exported file as runs, which the repository does not hold.

A LiteRT file keeps the weights of each layer under the layer's name, batch normalisation folded into the convolution
before it and rounded to 16 bits where it was exported so. Read back, they give the file's own scores. What only
training looks at is not in the file: the head for regions begins anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from detection.engine.networks.backbones import Weights
from detection.engine.registry import ModelSpec
from detection.engine.types import FloatArray
from detection.training.runs import write_ensemble
from detection.training.train import NOTE_FILE, WEIGHTS_FILE, Config, build

# A layer that only one of the architectures on MobileNetV2 has.
TELLING = {"mobilenetv2": "hidden", "mobilenetv2-linear": "coarse_evidence"}
UNSAVED = ("high_pass", "region_logits")  # fixed kernels, and what serving does without
FIRST = "Conv1"  # of MobileNetV2; halves the picture


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution: ``kernels`` as LiteRT lays them out, one for each step of it, and the last one's ``bias``."""

    kernels: tuple[FloatArray, ...]
    bias: FloatArray
    output_side: int


def recover(
    spec: ModelSpec, output: Path, *, manifests: tuple[Path, ...], pretrained: Weights = None
) -> tuple[Path, list[Path]]:
    """Write the networks of ``spec``'s file as runs, and their ensemble; returns its folder and theirs.

    Args:
        spec: a model that :func:`~detection.training.release.release` wrote.
        output: folder for the ensemble; its members go into ``member-0``, ``member-1`` within it.
        manifests: noted in the runs, for what is done with them next.
        pretrained: likewise; what the networks began with.

    Raises:
        ValueError: the file holds no ensemble of networks of ours.
    """
    file = _File(spec.path)
    members = []
    for number, layers in sorted(file.members().items()):
        known = [name for name, layer in TELLING.items() if layer in layers and FIRST in layers]
        if not known:
            raise ValueError(f"member {number} of {spec.path.name} is of no architecture that can be read back")
        folder = output / f"member-{number}"
        config = Config(
            manifests=manifests,
            output=folder,
            pretrained=pretrained,
            architecture=known[0],
            input_size=2 * layers[FIRST].output_side,
            crop_margin=spec.crop_margin,
        )
        _write(config, layers)
        slope, intercept = file.calibration(number)
        members.append({"run": str(folder), "slope": slope, "intercept": intercept})
    if not members:
        raise ValueError(f"{spec.path.name} holds no ensemble of networks of ours")
    write_ensemble(members, output)
    return output, [Path(str(member["run"])) for member in members]


class _File:
    """The operations and constants of a LiteRT file."""

    def __init__(self, path: Path) -> None:
        self._interpreter = Interpreter(str(path))
        self._operations = self._interpreter._get_ops_details()
        self._tensors = {tensor["index"]: tensor for tensor in self._interpreter.get_tensor_details()}
        self._stored = {o["outputs"][0]: o["inputs"][0] for o in self._operations if o["op_name"] == "DEQUANTIZE"}

    def members(self) -> dict[int, dict[str, Layer]]:
        """For each network of the ensemble its convolutions by the name of their layer."""
        found: dict[int, dict[str, Layer]] = {}
        for operation in self._operations:
            if operation["op_name"] not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                continue
            _input, kernel, bias = operation["inputs"]
            scopes = re.search(r"member_(\d+)_\d+/(?:backbone_\d+/)?(\w+?)_\d+/", self._tensors[kernel]["name"])
            if scopes is None:
                continue
            layers, name = found.setdefault(int(scopes[1]), {}), scopes[2]
            before = layers[name].kernels if name in layers else ()
            side = int(self._tensors[operation["outputs"][0]]["shape"][1])
            layers[name] = Layer((*before, self._constant(kernel)), self._constant(bias), side)
        return found

    def calibration(self, member: int) -> tuple[float, float]:
        """Slope and intercept of a network's logit."""
        scaled = self._following("MUL", lambda name: f"member_{member}_1/logit" in name)
        shifted = self._following("ADD", lambda name: name == self._name(scaled))
        return self._constant(scaled["inputs"][1]).item(), self._constant(shifted["inputs"][1]).item()

    def _following(self, operation: str, wanted: Any) -> Any:
        """The operation of that kind on the tensor that is wanted."""
        return next(
            o for o in self._operations if o["op_name"] == operation and wanted(self._tensors[o["inputs"][0]]["name"])
        )

    def _name(self, operation: Any) -> str:
        return str(self._tensors[operation["outputs"][0]]["name"])

    def _constant(self, index: int) -> FloatArray:
        return np.asarray(self._interpreter.get_tensor(self._stored.get(index, index)), np.float32)


def _write(config: Config, layers: dict[str, Layer]) -> None:
    network = build(config)
    inner = {layer.name: layer for layer in network._flatten_layers() if layer.weights}
    convolutions = [n for n, layer in inner.items() if n not in UNSAVED and _kernels_of(layer)]
    stored = _numbered_alike(layers, convolutions)
    missing = [name for name in convolutions if name not in stored]
    if missing:
        raise ValueError(f"the file has no weights for {', '.join(missing)}")
    for name in convolutions:
        _fill(inner[name], stored[name], inner)
    config.output.mkdir(parents=True, exist_ok=True)
    network.save_weights(config.output / WEIGHTS_FILE)
    (config.output / NOTE_FILE).write_text(json.dumps(asdict(config), indent=2, default=str), encoding="utf-8")


def _kernels_of(layer: Any) -> bool:
    return hasattr(layer, "kernel") or hasattr(layer, "depthwise_kernel")


def _numbered_alike(layers: dict[str, Layer], names: Sequence[str]) -> dict[str, Layer]:
    """``layers`` by ``names``. Keras numbers nameless layers through a whole process: their order is what counts."""
    renamed = dict(layers)
    for prefix in ("conv2d", "separable_conv2d"):
        theirs, ours = (sorted(_of(prefix, some), key=_number) for some in (layers, names))
        for old in theirs:
            renamed.pop(old)
        renamed |= {new: layers[old] for old, new in zip(theirs, ours, strict=False)}
    return renamed


def _of(prefix: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if re.fullmatch(rf"{prefix}(_\d+)?", name)]


def _number(name: str) -> int:
    digits = re.search(r"_(\d+)$", name)
    return int(digits[1]) if digits else 0


def _fill(layer: Any, stored: Layer, inner: dict[str, Any]) -> None:
    kernels = [_for_keras(kernel, weight.shape) for kernel, weight in zip(stored.kernels, layer.weights, strict=False)]
    if layer.use_bias:
        layer.set_weights([*kernels, stored.bias])
        return
    layer.set_weights(kernels)
    name = layer.name
    normalised = next((inner[n] for n in (f"{name}_BN", f"bn_{name}", f"{name}_bn") if n in inner), None)
    if normalised is not None:  # the scale is in the kernel: what is left to do is to add the bias
        ones = np.ones_like(stored.bias)
        normalised.set_weights([ones, stored.bias, 0 * ones, (1 - normalised.epsilon) * ones])


def _for_keras(kernel: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """(out, height, width, in), or (1, height, width, channels) where each channel has its own, in Keras' order."""
    if kernel.shape[0] == shape[3] and kernel.shape[3] == shape[2]:
        return kernel.transpose(1, 2, 3, 0)
    return kernel.reshape(shape)
