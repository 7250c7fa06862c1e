"""From trained weights to the file that the engine serves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf


def to_litert(network: Any, output: Path) -> Path:
    """Convert a ``keras.Model`` to a float16 ``.tflite`` that takes one uint8 crop and gives logit and evidence.

    Weights are stored as float16 and computed with as float32. int8 is out: fine traces do not survive it.
    """
    model = keras.Model(network.input, {name: network.get_layer(name).output for name in ("logit", "evidence")})
    signature = [tf.TensorSpec((1, *network.input_shape[1:]), tf.uint8, name="crops")]
    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint("serve", lambda crops: model(crops, training=False), input_signature=signature)
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        output.write_bytes(converter.convert())
    return output
