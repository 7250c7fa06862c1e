"""What runs a network: LiteRT on the processor, TensorFlow where there is a graphics card or nothing else fits.

TensorFlow is no requirement of a server. It is looked up by name, and only for a model that needs it or a machine that
gains by it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final, Literal

from detection.engine.classifier import Classifier
from detection.engine.errors import ModelError
from detection.engine.registry import ModelSpec
from detection.engine.runtimes.litert import LiteRTClassifier

RuntimeName = Literal["auto", "litert", "tensorflow"]

_PLUGIN: Final = "detection.engine.runtimes.tensorflow"
# One of these is there wherever the driver of a card is (NVIDIA, the same in WSL, AMD). Asking TensorFlow itself costs
# seconds and half a gigabyte, so only who may hear yes does.
_CARDS: Final = tuple(map(Path, ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")))


def load(spec: ModelSpec, *, threads: int = 2, runtime: RuntimeName = "auto") -> Classifier:
    """Load a model, ready to score. ``threads`` are the network's on the processor.

    Raises:
        ModelError: the file cannot be run, has nothing for this runtime, or TensorFlow is not installed.
    """
    if _choose(spec, runtime) == "litert":
        return LiteRTClassifier(spec, threads=threads)
    classifier: Classifier = _plugin("TensorFlowClassifier")(spec, threads=threads)
    return classifier


def _choose(spec: ModelSpec, runtime: RuntimeName) -> RuntimeName:
    runs = {"litert": spec.litert is not None, "tensorflow": spec.tensorflow is not None}
    if runtime != "auto":
        # A wish goes for the models that can follow it: the others are served all the same.
        return runtime if runs[runtime] else _other(runtime)
    if not runs["litert"]:
        return "tensorflow"
    return "tensorflow" if runs["tensorflow"] and graphics_card() else "litert"


def _other(runtime: RuntimeName) -> RuntimeName:
    return "litert" if runtime == "tensorflow" else "tensorflow"


def graphics_card() -> bool:
    """Whether TensorFlow is installed and sees a card."""
    if find_spec("tensorflow") is None or not any(path.exists() for path in _CARDS):
        return False
    return bool(_plugin("graphics_cards")())


def _plugin(name: str) -> Callable[..., Any]:
    try:
        found: Callable[..., Any] = resolve_name(f"{_PLUGIN}:{name}")
    except ImportError as error:
        raise ModelError(
            "This model runs with TensorFlow only, which is not installed here: see requirements-training.txt."
        ) from error
    return found
