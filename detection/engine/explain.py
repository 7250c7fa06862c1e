"""Pictures that show why: the network's own evidence as an overlay for the crop that it saw."""

from __future__ import annotations

import cv2
import numpy as np

from detection.engine.types import FaceScore, RGBImage

# Evidence, in logits, at which the overlay is fully opaque. One fixed scale for all faces: a map that is
# stretched to its own maximum makes every face look manipulated.
FULL_EVIDENCE = 12.0


def jpeg(image: RGBImage, quality: int = 90) -> bytes:
    """Encode RGB uint8 (height, width, 3) as JPEG."""
    return _encode(
        ".jpg", np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )


def heatmap_png(score: FaceScore) -> bytes | None:
    """An RGBA PNG of the crop's size: transparent where nothing argues for manipulation.

    None if the network gives no map: anything drawn in its place would be made up. None as well if it was not kept.
    """
    if score.evidence is None or score.crop is None:
        return None
    height, width = score.crop.shape[:2]
    strength = np.clip(score.evidence / FULL_EVIDENCE, 0, 1).astype(np.float32)
    strength = cv2.resize(strength, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    levels = np.asarray(strength * 255, np.uint8)
    colours = np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), np.uint8)
    overlay = np.dstack([colours, levels])
    return _encode(".png", overlay, [])


def _encode(extension: str, picture: RGBImage, options: list[int]) -> bytes:
    done, data = cv2.imencode(extension, picture, options)
    if not done:
        raise ValueError(f"cannot encode a picture of shape {picture.shape} as {extension}")
    return data.tobytes()
