"""How well real and manipulated faces can be told apart without looking at the face.

Collections differ in size, sharpness and compression between their two classes. A classifier that sees only such
superficial measures must be near chance on what training shows the network, or the network will learn them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from tqdm import tqdm

from detection.engine.preprocessing import face_scale
from detection.engine.types import RGBImage
from detection.training.batches import FacePairs, Recipe
from detection.training.datasets import Sample

FloatTable = NDArray[np.float64]

OF_PICTURE: Final = ("brightness", "contrast", "colour", "sharpness", "fine detail", "encoded size", "compressibility")
OF_FILE: Final = ("file size", "width", "height", "face size")
# Spatial frequency, in cycles a pixel, above which detail is fine: half of what a picture can hold.
FINE: Final = 0.25


def of_picture(image: RGBImage) -> list[float]:
    """The measures named in :data:`OF_PICTURE` of an RGB picture of any size, none of which knows where the face is.

    Sharpness is the variance of the Laplacian; the encoded sizes are those of JPEG at quality 92, in bytes a pixel,
    and at 50 relative to it.
    """
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    chroma = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1]
    window = np.outer(np.hanning(luma.shape[0]), np.hanning(luma.shape[1]))
    power = np.abs(np.fft.rfft2((luma - luma.mean()) * window)) ** 2
    rows, columns = np.fft.fftfreq(luma.shape[0])[:, None], np.fft.rfftfreq(luma.shape[1])[None]
    fine = power[np.hypot(rows, columns) > FINE].sum() / max(1.0, power.sum())
    sizes = [_encoded_size(image, quality) for quality in (92, 50)]
    return [
        float(luma.mean()),
        float(luma.std()),
        float(chroma.mean()),
        float(np.log1p(cv2.Laplacian(luma, cv2.CV_32F).var())),
        float(np.log10(fine + 1e-9)),
        sizes[0] / luma.size,
        sizes[1] / sizes[0],
    ]


def _encoded_size(image: RGBImage, quality: int) -> int:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return len(data)


def of_file(sample: Sample) -> list[float]:
    """The measures named in :data:`OF_FILE` of a crop as it lies on the disk; sizes in bytes and pixels."""
    height, width = sample.load().shape[:2]
    return [float(sample.path.stat().st_size), float(width), float(height), face_scale(sample.landmarks)]


def separability(measures: FloatTable, labels: NDArray[np.int64], groups: Sequence[str], folds: int = 5) -> float:
    """AUC of a gradient boosting classifier on rows whose group it was not trained on: 0.5 is chance.

    Args:
        measures: (n, number of measures).
        labels: (n,), 0 real, 1 manipulated.
        groups: of length n; an identity or a source, kept in one fold.
    """
    # Not the histogram one: its threads wait for each other for minutes when a training run keeps the cores busy.
    model = GradientBoostingClassifier(n_estimators=60, max_depth=3, min_samples_leaf=10, subsample=0.7, random_state=0)
    folds = min(folds, len(set(groups)))
    split = GroupKFold(folds, shuffle=True, random_state=0)
    scores = cross_val_predict(model, measures, labels, groups=list(groups), cv=split, method="predict_proba")
    return float(roc_auc_score(labels, scores[:, 1]))


def of_batches(samples: Sequence[Sample], recipe: Recipe, *, batches: int = 6) -> float:
    """AUC of telling the classes of training batches apart by :data:`OF_PICTURE` alone, from one half of the people to
    the other. ``batches`` are drawn of either half; 0.5 is chance."""
    measures, labels, halves = [], [], []
    for half in (0, 1):
        pairs = FacePairs([s for s in samples if _half_of(s) == half], {}, recipe)
        for i in range(batches):
            crops, targets, _ = pairs[i]
            measures += [of_picture(crop) for crop in crops]
            labels += targets["logit"].ravel().astype(int).tolist()
            halves += [str(half)] * len(crops)
    return separability(np.array(measures), np.array(labels), halves)


def _half_of(sample: Sample) -> int:
    return hashlib.sha256(sample.group.encode()).digest()[9] % 2


def rows(samples: Sequence[Sample], recipe: Recipe, *, batches: int = 6) -> list[dict[str, Any]]:
    """What a network could learn without looking at a face: pseudo-fake pairs, every source alone, all together."""
    of_source = {
        origin: replace(recipe, pseudo_share=0.0, fake_weights=_only(origin, samples))
        for origin in sorted({s.origin for s in samples if s.label == 1})
    }
    cases = {
        "pairs of a real face and a pseudo-fake": replace(recipe, pseudo_share=1.0, kinds=None),
        "labelled pairs, as they are drawn": replace(recipe, pseudo_share=0.0),
        **{f"labelled pairs, {origin}": one for origin, one in of_source.items()},
    }
    found = {name: of_batches(samples, case, batches=batches) for name, case in tqdm(cases.items(), disable=None)}
    return [
        {"sees_only": f"surface: {name}", "auc": {"value": round(auc, 3), "low": None, "high": None}}
        for name, auc in found.items()
    ]


def _only(origin: str, samples: Sequence[Sample]) -> dict[str, float]:
    return {s.origin: float(s.origin == origin) for s in samples if s.label == 1}
