"""From trained weights to the file that the engine serves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf


def served(network: Any) -> Any:
    """The part of a ``keras.Model`` that is served: the logit, and where it has one the map of evidence."""
    outputs = {name: network.output[name] for name in ("logit", "evidence") if name in network.output}
    return keras.Model(network.input, outputs)


def to_litert(network: Any, output: Path, *, half: bool = True) -> Path:
    """Convert a ``keras.Model`` to a ``.tflite`` that takes one uint8 crop and gives what :func:`served` does.

    Args:
        network: to convert.
        output: file to write; returned.
        half: whether weights are stored as float16, which halves the file and rounds them; they are computed with as
            float32 either way. int8 is out: fine traces do not survive it.
    """
    model = served(network)
    signature = [tf.TensorSpec((1, *network.input_shape[1:]), tf.uint8, name="crops")]
    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint("serve", lambda crops: model(crops, training=False), input_signature=signature)
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        if half:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        output.write_bytes(converter.convert())
    return output
