"""The weights of EfficientNet-Lite0 that a package holds as PyTorch wrote them."""

from __future__ import annotations

import importlib.resources
import pickle
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from detection.engine.networks import efficientnet_lite
from detection.training import families, published

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

SOURCE = Path(str(importlib.resources.files(published.PACKAGE) / "models" / published.FILE))


@pytest.fixture(scope="module")
def tensors():
    return published.read_tensors(SOURCE)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return published.write_published(tmp_path_factory.mktemp("published") / "lite.weights.h5")


@pytest.fixture(scope="module")
def backbone(weights):
    network = efficientnet_lite.backbone(64)
    network.load_weights(weights)
    return network


def of(network, layer, pixels):
    return np.asarray(keras.Model(network.input, network.get_layer(layer).output)(pixels, training=False))


def normalised(tensors, name, values, channel):
    gamma, beta, mean, variance = (
        tensors[f"{name}.{part}"][channel] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (values - mean) / np.sqrt(variance + 1e-3) * gamma + beta


def convolved(pixels, kernel):
    """One channel of a convolution at every second pixel, by OpenCV, which correlates as networks do."""
    layers = [cv2.filter2D(pixels[..., i], -1, kernel[i], borderType=cv2.BORDER_CONSTANT) for i in range(len(kernel))]
    return np.sum(layers, axis=0)[1::2, 1::2]  # "same" with a stride of 2 pads below and to the right alone


def test_the_first_layer_does_what_its_numbers_say(tensors, backbone):
    pixels = np.random.default_rng(0).uniform(-1, 1, (64, 64, 3)).astype(np.float32)
    found = of(backbone, "stem_bn", pixels[None])[0]
    for channel in (0, 13, 31):
        values = convolved(pixels, tensors["_conv_stem.weight"][channel])
        assert found[..., channel] == pytest.approx(normalised(tensors, "_bn0", values, channel), abs=1e-3)


def test_a_filter_of_one_channel_does_what_its_numbers_say(tensors, backbone):
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    before = of(backbone, "block6c_expand_activation", pixels)[0]
    after = of(backbone, "block6c_dwconv_bn", pixels)[0]
    kernel = tensors["_blocks.13._depthwise_conv.weight"][7, 0]
    assert not np.allclose(kernel, kernel.T), "would not tell rows from columns"
    values = cv2.filter2D(before[..., 7], -1, kernel, borderType=cv2.BORDER_CONSTANT)
    assert after[..., 7] == pytest.approx(normalised(tensors, "_blocks.13._bn1", values, 7), abs=1e-3)


def test_every_layer_gets_its_own_numbers_and_none_is_left(tensors, backbone):
    ours = sum(weight.size for layer in backbone.layers for weight in layer.get_weights())
    theirs = sum(v.size for k, v in tensors.items() if not k.startswith("_fc.") and "num_batches" not in k)
    assert ours == theirs


def test_training_starts_from_them(weights, backbone):
    network = families.build("efficientnet-lite0", 32, weights=weights)
    for name in ("stem_conv", "block4b_expand_conv", "top_conv"):
        start, published_kernel = (m.get_layer(name).weights[0] for m in (network.get_layer("backbone"), backbone))
        assert np.array_equal(np.asarray(start), np.asarray(published_kernel)), name


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(published.MAGIC) + pickle.dumps(1001) + pickle.dumps({}) + pickle.dumps(eval))
    with pytest.raises(ValueError, match=r"builtins\.eval has no business"):
        published.read_tensors(path)


def test_another_file_is_refused(tmp_path):
    other = tmp_path / "other.pth"
    other.write_bytes(pickle.dumps(1))
    with pytest.raises(ValueError, match="not the file"):
        published.write_published(tmp_path / "x.weights.h5", source=other)
    with pytest.raises(ValueError, match="not written by PyTorch"):
        published.read_tensors(other)


def test_a_tensor_that_reaches_beyond_its_numbers_is_refused():
    place = np.arange(6, dtype=np.float32)
    assert published._array(place, 2, (2, 2), (2, 1)).tolist() == [[2, 3], [4, 5]]
    with pytest.raises(ValueError, match="incompatible with shape"):
        published._array(place, 2, (2, 3), (3, 1))
