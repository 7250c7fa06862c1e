from dataclasses import replace

import numpy as np
import pytest

from detection.engine.faces import BLAZEFACE_MODEL
from detection.engine.preprocessing import extract
from detection.engine.registry import find_model
from detection.engine.runtimes.litert import LiteRTClassifier
from detection.engine.types import Box
from detection.training import recovery, runs
from detection.training.train import read_noted
from tests.portraits import portrait

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def test_what_ships_is_read_back_with_its_scores(tmp_path):
    spec = find_model()
    folder, members = recovery.recover(spec, tmp_path, manifests=())
    configs = [read_noted(member) for member in members]
    assert [(c.architecture, c.input_size) for c in configs] == [("mobilenetv2", 192), ("mobilenetv2-linear", 160)]
    rng = np.random.default_rng(0)
    face = portrait(160)
    noisy = [np.clip(face + rng.normal(0, 12 * i, face.shape), 0, 255).astype(np.uint8) for i in range(4)]
    crops = np.stack([extract(picture, Box(0, 0, 160, 160), spec.input_size) for picture in noisy])
    served = LiteRTClassifier(spec).predict(crops).logits
    assert np.ptp(served) > 0.5, "the crops look alike to the network, so that they prove nothing"
    # LiteRT's constants (1/127.5, the high-pass kernels) are rounded to 16 bits as well; Keras' are not.
    assert runs.Network(runs.load(folder))(crops) == pytest.approx(served, abs=0.1)


def test_a_file_without_networks_of_ours_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no ensemble"):
        recovery.recover(replace(find_model(), path=BLAZEFACE_MODEL), tmp_path, manifests=())
