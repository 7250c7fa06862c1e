"""A foreign network gets its pixels as it wants them, and its answer becomes a logit of manipulation."""

from __future__ import annotations

import numpy as np
import pytest

from detection.engine.adapters import Adapter

CROP = np.array([[[[0, 127.5, 255]]]]).astype(np.uint8)  # one pixel: red 0, green 127, blue 255


@pytest.mark.parametrize(
    ("scale", "red", "blue"),
    [
        ("0..255", 0, 255),
        ("0..1", 0, 1),
        ("-1..1", -1, 1),
        ("imagenet", -0.485 / 0.229, (1 - 0.406) / 0.225),
    ],
)
@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_pixels(scale, red, blue, colour):
    pixels = Adapter(colour=colour, scale=scale).pixels(CROP)
    assert (pixels.dtype, pixels.shape) == (np.float32, (1, 1, 1, 3))
    expected = [red, blue] if colour == "rgb" else [blue, red]
    assert pixels[0, 0, 0, [0, 2]] == pytest.approx(expected, abs=1e-6)


def test_a_probability_becomes_a_logit():
    logits = Adapter().logits(np.array([[0.5], [0.9]], np.float32))
    assert logits == pytest.approx([0, np.log(9)], abs=1e-5)
    assert Adapter(positive="real").logits(np.array([0.9], np.float32)) == pytest.approx([-np.log(9)], abs=1e-5)


def test_certainty_stays_finite():
    logits = Adapter().logits(np.array([0, 1], np.float32))
    assert np.isfinite(logits).all()
    assert -14 < logits[0] < -13
    assert 13 < logits[1] < 14


def test_a_softmax_is_read_at_its_column():
    values = np.array([[0.2, 0.7, 0.1]], np.float32)
    assert Adapter(index=1).logits(values) == pytest.approx([np.log(0.7 / 0.3)], abs=1e-5)


def test_several_logits_are_the_softmax_that_was_left_out():
    raw = np.array([[1.0, 3.0, -2.0]], np.float32)
    softmax = np.exp(raw) / np.exp(raw).sum()
    before, after = Adapter(output="logit", index=1), Adapter(index=1)
    assert before.logits(raw) == pytest.approx(after.logits(softmax.astype(np.float32)), abs=1e-4)


@pytest.mark.parametrize("index", [None, -1, 2])
def test_a_column_that_is_not_there_is_refused(index):
    with pytest.raises(ValueError, match="2 values"):
        Adapter(index=index).logits(np.zeros((1, 2), np.float32))


@pytest.mark.parametrize("entry", [{"colour": "grey"}, {"scale": "0..2"}, {"output": "score"}, {"positive": "yes"}])
def test_an_unknown_word_is_refused_with_those_that_are_known(entry):
    with pytest.raises(ValueError, match=f"{next(iter(entry))} must be one of"):
        Adapter.of(entry)


def test_an_entry_is_read_as_it_was_written():
    adapter = Adapter(colour="bgr", scale="imagenet", output="logit", positive="real", index=1)
    assert Adapter.of(adapter.as_entry()) == adapter
    assert Adapter.of(Adapter().as_entry()) == Adapter()


@pytest.mark.parametrize(("scale", "kind"), [("0..255", "uint8"), ("0..255", "int32"), ("0..1", "float16")])
def test_pixels_that_fit_their_type(scale, kind):
    Adapter(scale=scale).check_kind(np.dtype(kind))


@pytest.mark.parametrize(("scale", "kind"), [("0..1", "uint8"), ("imagenet", "int32"), ("0..255", "int8")])
def test_pixels_that_their_type_would_lose_are_refused(scale, kind):
    with pytest.raises(ValueError, match=kind):
        Adapter(scale=scale).check_kind(np.dtype(kind))
