"""What a foreign model cannot tell about itself: taken from the options, asked on a terminal, or refused."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, get_args

import typer

from detection.engine.adapters import Adapter, Colour, Output, Positive, Scale
from detection.training.baselines import CROP_MARGIN
from detection.training.importing.sources import CannotImport, Foreign

NATIVE_MARGIN: Final = 2.9  # what our own networks are trained with


@dataclass(frozen=True, slots=True)
class Options:
    """What the person who imports said; None for what they left out. As the options of ``manage.py import_model``."""

    name: str
    version: str
    input_size: int | None = None
    colour: str | None = None
    scale: str | None = None
    output: str | None = None
    positive_class: str | None = None
    index: int | None = None
    threshold: float | None = None
    suspicious: float | None = None
    crop_margin: float | None = None
    family: str | None = None
    licence: str | None = None
    runtime: str = "auto"
    i_trust_this_pickle: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """All that has to be known. Thresholds are on the score, that is on the probability of manipulation."""

    input_size: int
    crop_margin: float
    adapter: Adapter | None
    manipulated: float
    suspicious: float


def answer(options: Options, model: Foreign) -> Answers:
    """Put together what the model tells, what was said and what is asked.

    Raises:
        CannotImport: something is missing and there is nobody to ask, or what was said does not fit the model.
    """
    questions = _Questions()
    size = model.shape[0] or questions.of("--input-size", options.input_size, "Side of its pictures in pixels", int)
    if options.input_size and options.input_size != size:
        raise CannotImport(f"The model takes pictures of {size} pixels, not {options.input_size}.")
    if model.native:
        _refuse_words(options)
    said = {} if model.native else _words(questions, options, model)
    threshold = questions.of(
        "--threshold", options.threshold, "Probability of its positive class at which fake and real part", float
    )
    questions.refuse_missing()
    adapter = None if model.native else _adapter(said, model)
    # A native network gives logits of manipulation, but its rule may still be told as one about real faces.
    positive = (options.positive_class or "fake") if adapter is None else adapter.positive
    manipulated, suspicious = _thresholds(threshold, options.suspicious, positive)
    ours = model.native and not (options.family or "").startswith("meso")
    margin = options.crop_margin or (NATIVE_MARGIN if ours else CROP_MARGIN)
    return Answers(int(size), margin, adapter, manipulated, suspicious)


def _refuse_words(options: Options) -> None:
    given = [f"--{word}" for word in ("colour", "scale", "output", "index") if getattr(options, word) is not None]
    if given:
        raise CannotImport(f"This network takes uint8 RGB and gives a logit, as our own do: leave out {given[0]}.")


def _words(questions: _Questions, options: Options, model: Foreign) -> dict[str, Any]:
    seen = {"sigmoid": "probability", "softmax": "probability", "linear": "logit"}.get(model.activation or "")
    said: dict[str, Any] = {
        "colour": questions.of("--colour", options.colour, "Order of its colours", get_args(Colour)),
        "scale": questions.of("--scale", options.scale, "Range of its pixels", get_args(Scale)),
        "output": questions.of("--output", options.output or seen, "What it gives", get_args(Output)),
        "positive": questions.of(
            "--positive-class", options.positive_class, "What a high value argues for", get_args(Positive)
        ),
    }
    if model.columns > 1:
        which = f"Which of its {model.columns} values stands for that class, from 0"
        said["index"] = questions.of("--index", options.index, which, int)
    return said


def _adapter(said: dict[str, Any], model: Foreign) -> Adapter:
    try:
        adapter = Adapter.of(said)
    except ValueError as error:
        raise CannotImport(f"{error}.") from error
    if adapter.index is not None and not 0 <= adapter.index < model.columns:
        raise CannotImport(f"The model gives {model.columns} values; there is none with the number {adapter.index}.")
    return adapter


def _thresholds(threshold: float, suspicious: float | None, positive: str) -> tuple[float, float]:
    """The model's own rule, "below 0.7 is fake" for one that says how likely a face is real, on our score."""
    limits = [threshold, threshold if suspicious is None else suspicious]
    if not all(0 < limit < 1 for limit in limits):
        raise CannotImport("Thresholds lie between 0 and 1.")
    manipulated, doubtful = [round(1 - limit, 6) if positive == "real" else limit for limit in limits]
    if doubtful > manipulated:
        raise CannotImport("--suspicious must lie on the genuine side of --threshold.")
    return manipulated, doubtful


class _Questions:
    """Asks one after the other; without a terminal it notes what is missing, to say it all at once."""

    def __init__(self) -> None:
        self.missing: list[str] = []

    def of(self, option: str, said: Any, question: str, kind: type | tuple[str, ...]) -> Any:
        """``kind``: a type, or the words that are an answer."""
        words = kind if isinstance(kind, tuple) else ()
        asked = f"{question} ({', '.join(words)})" if words else question
        if said is not None:
            return said
        if sys.stdin.isatty():
            if words:
                return typer.prompt(f"{asked} [{option}]", value_proc=partial(_one_of, words))
            return typer.prompt(f"{asked} [{option}]", type=kind)
        self.missing.append(f"{option}: {asked}")
        return None

    def refuse_missing(self) -> None:
        if self.missing:
            raise CannotImport(f"The model does not tell, so it must be said. {'; '.join(self.missing)}.")


def _one_of(words: tuple[str, ...], said: str) -> str:
    if said not in words:
        raise typer.BadParameter(f"expected {' or '.join(words)}")
    return said
