"""The overlay shows what the network said, on one scale for all faces."""

from __future__ import annotations

import cv2
import numpy as np

from detection.engine.explain import FULL_EVIDENCE, heatmap_png, jpeg
from tests.engine.builders import face_score


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_the_overlay_has_the_crops_size_and_is_clear_where_nothing_argues():
    overlay = decode(heatmap_png(face_score(evidence=np.full((2, 2), -3, np.float32))))
    assert overlay.shape == (32, 32, 4)
    assert overlay[..., 3].max() == 0


def test_the_overlay_is_strong_where_the_evidence_is():
    evidence = np.zeros((4, 4), np.float32)
    evidence[0, 3] = FULL_EVIDENCE
    alpha = decode(heatmap_png(face_score(evidence=evidence)))[..., 3]
    assert alpha[2, 29] > 200
    assert alpha[29, 2] < 20


def test_weak_evidence_is_not_stretched_to_look_strong():
    weak = decode(heatmap_png(face_score(evidence=np.full((2, 2), FULL_EVIDENCE / 10, np.float32))))
    assert weak[..., 3].max() < 40


def test_jpeg_keeps_the_order_of_colours():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 250
    blue, green, redness = decode(jpeg(red))[8, 8]
    assert redness > 200 > 60 > max(blue, green)
