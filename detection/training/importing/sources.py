"""Opens what somebody brings, whatever it is stored as, and says what goes in and comes out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import h5py
import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from detection.engine.runtimes.tensorflow import ENDPOINT
from detection.training.export import served
from detection.training.families import FAMILIES
from detection.training.importing import pickles


class Kind(StrEnum):
    """What a model is stored as."""

    SAVED_MODEL = "SavedModel"
    KERAS = "Keras file"
    H5 = "Keras HDF5 file"
    WEIGHTS = "weights in HDF5"
    LITERT = "LiteRT file"
    PICKLE = "pickle"


# What Keras, TensorFlow, LiteRT and h5py raise about a file that they cannot make sense of.
_UNREADABLE: Final[tuple[type[Exception], ...]] = (
    *(ValueError, TypeError, LookupError, AttributeError, ImportError, OSError, RuntimeError),
    *(DecodeError, tf.errors.OpError),
)


class CannotImport(Exception):  # noqa: N818  (reads as a sentence where it is raised)
    """The model cannot be brought in. The message says why and what can be done."""


# A SavedModel is a program. These steps of it reach beyond the model: to files, other machines, Python. The list stops
# what is known; it makes no program safe that nobody trusts.
REACHING: Final = re.compile(
    r"ReadFile|WriteFile|MatchingFiles|LoadAndRemapMatrix|InitializeTableFromTextFile\w*|\w*PyFunc\w*|Rpc\w+"
    r"|\w*Reader\w*|\w*Dataset\w*|\w*SummaryFileWriter|Debug\w*|PrintV2|ImmutableConst|DecodeProto\w*|RemoteCall"
)
# These stand in every SavedModel, where its variables are saved and read. Nothing else needs them.
STORING: Final = re.compile(r"(Save|Restore)(V2|Slices?)?|MergeV2Checkpoints")


@dataclass(frozen=True, slots=True)
class Foreign:
    """An opened model.

    Attributes:
        shape: of one picture, (height, width, 3); None where the model leaves a side open.
        dtype: of its pixels.
        columns: how many values it gives for a picture.
        activation: what its last layer ends in ("sigmoid", "softmax", "linear"); None if that cannot be seen.
        call: a tensor (n, h, w, 3) of pixels as it wants them to its answer, in a graph, too; None for a LiteRT file.
        network: ``keras.Model`` or loaded SavedModel; None for a LiteRT file.
        signature: of a SavedModel, what is called.
        native: it is one of our own networks: uint8 RGB in, ``logit`` and perhaps ``evidence`` out.
    """

    kind: Kind
    shape: tuple[int | None, int | None, int]
    dtype: str
    columns: int
    activation: str | None
    call: Callable[[Any], Any] | None = None
    network: Any = None
    signature: Any = None
    native: bool = False


def recognise(path: Path) -> Kind:
    """What ``path`` is, by its name and content. Raises CannotImport."""
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return Kind.SAVED_MODEL
        raise CannotImport(f"{path} is a folder without saved_model.pb or model.toml.")
    if not path.is_file():
        raise CannotImport(f"There is no file {path}.")
    kinds = {".keras": Kind.KERAS, ".tflite": Kind.LITERT, ".pkl": Kind.PICKLE, ".pickle": Kind.PICKLE}
    kinds[".joblib"] = Kind.PICKLE
    if path.suffix.lower() in kinds:
        return kinds[path.suffix.lower()]
    if path.suffix.lower() in (".h5", ".hdf5"):
        with h5py.File(path) as file:
            return Kind.H5 if "model_config" in file.attrs else Kind.WEIGHTS
    raise CannotImport(f"{path.name}: expected a SavedModel's folder, .keras, .h5, .tflite or .pkl.")


def open_source(path: Path, *, family: str | None, input_size: int | None, trusted: bool) -> Foreign:
    """Open the model in ``path``.

    Args:
        family: whose weights these are; only for weights alone, which need it.
        input_size: pixels, for a family, whose size its weights do not tell.
        trusted: a pickle may be opened.

    Raises:
        CannotImport: it cannot, or is not what the engine can serve.
    """
    try:
        kind = recognise(path)
        if family is not None and kind is not Kind.WEIGHTS:
            raise CannotImport(f"--family says whose weights alone these are; {path.name} is a whole model ({kind}).")
        if kind is Kind.LITERT:
            return _litert(path)
        if kind is Kind.SAVED_MODEL:
            return _saved_model(path)
        if kind is Kind.WEIGHTS:
            return _keras(kind, _with_weights(path, family, input_size))
        if kind is Kind.PICKLE:
            return _keras(kind, _unpickled(path, trusted))
        return _keras(kind, keras.saving.load_model(path, compile=False, safe_mode=True))
    except _UNREADABLE as error:
        if "ambda" in str(error):
            reason = "Lambda layers hold code and are not opened; rebuild the model without them."
        else:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CannotImport(f"{path.name} cannot be opened: {reason}") from error


def _with_weights(path: Path, family: str | None, input_size: int | None) -> Any:
    if family is None:
        raise CannotImport(f"{path.name} holds weights alone. Say with --family whose: {', '.join(FAMILIES)}.")
    if family not in FAMILIES:
        raise CannotImport(f"There is no family {family}; there are: {', '.join(FAMILIES)}.")
    # MesoNet's published weights fit 256 pixels; of the others any size fits, so it must be said.
    size = input_size or (256 if family.startswith("meso") else None)
    if size is None:
        raise CannotImport("Say with --input-size for how many pixels these weights were trained.")
    model = FAMILIES[family](size, weights=None)
    try:
        model.load_weights(path)
    except ValueError as error:
        raise CannotImport(f"{path.name} holds other weights than those of our {family}.") from error
    return model


def _unpickled(path: Path, trusted: bool) -> Any:
    if not trusted:
        raise CannotImport(
            f"{path.name} is a pickle: opening it runs whatever code it holds. If you trust who made it, say so with "
            "--i-trust-this-pickle. It is then opened once, in a process without network that can write nothing."
        )
    try:
        return pickles.unpickle(path)
    except pickles.CannotRebuild as error:
        raise CannotImport(f"{path.name}: {error}.") from error


def _keras(kind: Kind, model: Any) -> Foreign:
    if len(model.inputs) != 1:
        raise CannotImport(f"The model takes {len(model.inputs)} inputs; one that takes one picture can be served.")
    shape, dtype = model.inputs[0].shape, keras.backend.standardize_dtype(model.inputs[0].dtype)
    # A Sequential that was just opened has no `output`, and never a dictionary of them.
    named = not isinstance(model, keras.Sequential) and isinstance(model.output, dict) and "logit" in model.output
    native = named and dtype == "uint8"
    network = served(model) if native else model
    columns = 1 if native else _columns([tuple(output.shape) for output in model.outputs])
    return Foreign(
        kind,
        _picture(shape),
        dtype,
        columns,
        _activation(model),
        lambda x: network(x, training=False),
        network,
        native=native,
    )


def _activation(model: Any) -> str | None:
    last = getattr(model.layers[-1], "activation", None)
    name = getattr(last, "__name__", None)
    return name if name in ("sigmoid", "softmax", "linear") else None


def _saved_model(path: Path) -> Foreign:
    program = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    if len(program.meta_graphs) != 1 or not program.meta_graphs[0].HasField("object_graph_def"):
        raise CannotImport(f"{path.name} was saved as TensorFlow 1 did: save it anew with TensorFlow 2.")
    _refuse_reaching(program.meta_graphs[0])
    loaded = tf.saved_model.load(path)  # which runs what initialises it
    signatures = loaded.signatures
    name = ENDPOINT if ENDPOINT in signatures else next(iter(signatures), None)
    if name is None or (name != ENDPOINT and len(signatures) > 1):
        raise CannotImport(f"The SavedModel has no signature {ENDPOINT!r}; it has: {', '.join(signatures) or 'none'}.")
    serve = signatures[name]
    _, takes = serve.structured_input_signature
    if len(takes) != 1:
        raise CannotImport(f"The SavedModel takes {len(takes)} inputs; one that takes one picture can be served.")
    ((argument, crops),) = takes.items()
    columns = _columns([tuple(output.shape) for output in tf.nest.flatten(serve.structured_outputs)])
    return Foreign(
        Kind.SAVED_MODEL,
        _picture(crops.shape),
        crops.dtype.name,
        columns,
        None,
        lambda x: serve(**{argument: x}),
        loaded,
        serve,
    )


def _refuse_reaching(graph: Any) -> None:
    """Look at all steps of a MetaGraphDef, also at those that run when it is loaded. Raises CannotImport."""
    functions, savers = graph.graph_def.library.function, _savers(graph)
    steps = [*graph.graph_def.node, *(node for function in functions for node in function.node_def)]
    found = {node.op for node in steps if REACHING.fullmatch(node.op)}
    for function in functions:
        if function.signature.name not in savers:
            found |= {node.op for node in function.node_def if STORING.fullmatch(node.op)}
    if found:
        raise CannotImport(
            f"The SavedModel reaches beyond itself ({', '.join(sorted(found))}): no detector needs that."
        )


def _savers(graph: Any) -> set[str]:
    """The functions by which a SavedModel says its variables are saved and read, and which it uses for nothing else."""
    saver = graph.saver_def
    named = {name.partition(":")[0] for name in (saver.save_tensor_name, saver.restore_op_name)}
    savers = {node.attr["f"].func.name for node in graph.graph_def.node if node.name in named}
    others = [node for node in graph.graph_def.node if node.name not in named]
    others += [node for function in graph.graph_def.library.function for node in function.node_def]
    values = [value for node in others for value in node.attr.values()]
    used = {called.name for value in values for called in (value.func, *value.list.func)}
    return savers - used - set(graph.object_graph_def.concrete_functions)


def _litert(path: Path) -> Foreign:
    interpreter = Interpreter(model_path=str(path))
    takes, gives = interpreter.get_input_details(), interpreter.get_output_details()
    if len(takes) != 1:
        raise CannotImport(f"The model takes {len(takes)} inputs; one that takes one picture can be served.")
    shape = tuple(side if side > 0 else None for side in takes[0]["shape_signature"])
    dtype = np.dtype(takes[0]["dtype"]).name
    if dtype == "uint8" and sorted(len(output["shape"]) for output in gives) == [2, 3]:  # logit and evidence
        return Foreign(Kind.LITERT, _picture(shape), dtype, 1, "linear", native=True)
    return Foreign(Kind.LITERT, _picture(shape), dtype, _columns([tuple(o["shape"]) for o in gives]), None)


def _picture(shape: Any) -> tuple[int | None, int | None, int]:
    sides = tuple(None if side is None else int(side) for side in shape)
    if len(sides) != 4 or sides[3] != 3 or sides[1] != sides[2]:
        raise CannotImport(f"The model takes {sides}; square colour pictures (n, size, size, 3) can be served.")
    return sides[1], sides[2], 3


def _columns(shapes: list[tuple[int | None, ...]]) -> int:
    values = [side for side in shapes[0][1:] if side is not None] if len(shapes) == 1 else []
    if len(shapes) != 1 or len(values) != len(shapes[0]) - 1:
        raise CannotImport(f"The model gives {shapes}; one answer of one or several values can be served.")
    return math.prod(values)
