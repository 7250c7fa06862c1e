"""From a face to the picture that a network sees. Training and serving both come through here.

The crop is cut from the eyes and the mouth, not from the face detector's box: face detectors frame
faces differently, but they agree on where eyes and mouth are.
"""

from __future__ import annotations

import cv2
import numpy as np

from detection.engine.types import Box, Face, FloatArray, Quality, RGBImage

RIGHT_EYE, LEFT_EYE, NOSE, MOUTH = range(4)

# Where the crop's centre lies between the eyes (0) and the mouth (1).
CENTRE = 0.4

BLOCK = 8  # pixels
UNSEEN = 0.1  # grey levels; keeps the blockiness of a flat picture from being the ratio of two nothings


def face_scale(landmarks: FloatArray) -> float:
    """The face's own unit of length in pixels: eyes to mouth, or eye to eye where a bowed head
    shortens the former. ``landmarks``: (4, 2) as in :class:`~detection.engine.types.Face`."""
    eyes = (landmarks[RIGHT_EYE] + landmarks[LEFT_EYE]) / 2
    eye_to_mouth = float(np.linalg.norm(landmarks[MOUTH] - eyes))
    eye_to_eye = float(np.linalg.norm(landmarks[LEFT_EYE] - landmarks[RIGHT_EYE]))
    return max(eye_to_mouth, eye_to_eye, 1.0)


def crop_box(landmarks: FloatArray, margin: float) -> Box:
    """The square around a face that is cut out; it may reach over the edge of the picture.

    Args:
        landmarks: (4, 2) pixels.
        margin: side of the square in units of :func:`face_scale`; kept in the model registry.
    """
    eyes = (landmarks[RIGHT_EYE] + landmarks[LEFT_EYE]) / 2
    x, y = eyes + CENTRE * (landmarks[MOUTH] - eyes)
    side = max(8, round(margin * face_scale(landmarks)))
    left, top = round(float(x) - side / 2), round(float(y) - side / 2)
    return Box(left, top, left + side, top + side)


def extract(image: RGBImage, box: Box, size: int) -> RGBImage:
    """Cut ``box`` out of ``image`` and resize it to (size, size, 3).

    What lies outside the picture is mirrored: a flat border would be an edge for the network to learn.
    """
    height, width = image.shape[:2]
    inside = image[max(0, box.top) : min(height, box.bottom), max(0, box.left) : min(width, box.right)]
    if inside.size == 0:
        return np.zeros((size, size, 3), np.uint8)
    pads = (
        max(0, -box.top),
        max(0, box.bottom - height),
        max(0, -box.left),
        max(0, box.right - width),
    )
    if any(pads):
        inside = np.asarray(cv2.copyMakeBorder(inside, *pads, borderType=cv2.BORDER_REFLECT_101), np.uint8)
    shrinking = inside.shape[0] > size
    resized = cv2.resize(inside, (size, size), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized)


def blockiness(image: RGBImage, inside: Box) -> float:
    """How much coarser a picture steps from one block of 8 x 8 pixels to the next than in the middle of a block.

    JPEG, MPEG-4 and H.264 code such blocks; the coarser they quantise, the less fits together where blocks meet.
    Near 1 up to x264's CRF 30. At CRF 45 a fast encoder leaves 1.3 to 2.1, which saving once more at a high quality
    does not take away; a thorough one hides most of it, by moving blocks off their grid. Unlike bits per pixel it does
    not mistake a face that hardly moves for a strongly compressed one. Blind to HEVC, VP9 and WebP, which smooth their
    blocks away, and to pictures that were scaled or cropped after compression: these give about 1, so that they are
    judged rather than refused.

    Args:
        inside: part of the picture to look at, within its edges; too small a part gives 1.
    """
    left, top = inside.left // BLOCK * BLOCK, inside.top // BLOCK * BLOCK
    width, height = (inside.right - left) // BLOCK * BLOCK, (inside.bottom - top) // BLOCK * BLOCK
    if min(width, height) < 2 * BLOCK:
        return 1.0
    luma = cv2.cvtColor(image[top : top + height, left : left + width], cv2.COLOR_RGB2GRAY).astype(np.int16)
    borders = middles = UNSEEN
    for rows in (luma, luma.T):
        blocks = rows.reshape(len(rows), -1, BLOCK)
        borders += float(np.abs(blocks[:, 1:, 0] - blocks[:, :-1, -1]).mean())
        middles += float(np.abs(blocks[:, :, BLOCK // 2] - blocks[:, :, BLOCK // 2 - 1]).mean())
    return borders / middles


def quality(image: RGBImage, face: Face, box: Box, crop: RGBImage) -> Quality:
    """Measure how well a face can be judged. ``crop`` is what :func:`extract` cut from ``box``."""
    luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    height, width = image.shape[:2]
    inside = Box(max(0, box.left), max(0, box.top), min(width, box.right), min(height, box.bottom))
    return Quality(
        # Detectors' boxes differ in height; 2.2 units of eye-to-mouth distance is a face's width.
        face_size=2.2 * face_scale(face.landmarks),
        sharpness=float(cv2.Laplacian(luma, cv2.CV_32F).var()),
        brightness=float(luma.mean()),
        detail=inside.area / box.area,
        blockiness=blockiness(image, inside),
    )
