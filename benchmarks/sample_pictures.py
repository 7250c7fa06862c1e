"""Make the two pictures under ``static/samples/``: a portrait, and the same with its face blended by our own code.

``python -m benchmarks.sample_pictures astronaut.png``; the picture is the one that scikit-image ships as
``skimage.data.astronaut()`` (Eileen Collins, NASA, public domain). Needs what training needs. The seed was chosen for
the eye: the blend can be seen, and everything around the face is left as it was.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from detection.engine.faces import BlazeFaceDetector
from detection.training.pseudo_fakes import make_pair

FOLDER = Path(__file__).resolve().parent.parent / "static" / "samples"
SEED = 3


def main(source: Path) -> None:
    image = np.asarray(cv2.cvtColor(cv2.imread(str(source)), cv2.COLOR_BGR2RGB), np.uint8)
    face = max(BlazeFaceDetector().detect(image), key=lambda found: found.box.area)
    pair = make_pair(image, face.landmarks, None, np.random.default_rng(SEED), kinds={"self": 1.0})
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, picture in (("astronaut", image), ("astronaut-changed", pair.fake)):
        path = FOLDER / f"{name}.jpg"
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
