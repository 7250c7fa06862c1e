"""What verdicts, statuses, reasons and errors are called in front of people: on pages, in the PDF, in forms.

The engine speaks English and rows keep what it said, beside a code. Here, and nowhere else, that becomes the reader's
language: a sentence that the catalogue knows is translated as it is, any other one is told by its code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext, ngettext, override
from django.utils.translation import gettext_lazy as _

from detection.engine import aggregation
from detection.engine.errors import ErrorCode
from detection.engine.types import MediaKind, Mode, ReasonCode, Verdict
from detection.models import Analysis, Decision, Dispute
from detection.reports import figures

Status = Analysis.Status

VERDICT_WORDS: dict[str, Promise] = {
    Verdict.AUTHENTIC: _("No signs of manipulation found"),
    Verdict.SUSPICIOUS: _("Some signs of manipulation"),
    Verdict.MANIPULATED: _("Strong signs of manipulation"),
    Verdict.INCONCLUSIVE: _("Cannot tell"),
}
SHORT_VERDICTS: dict[str, Promise] = {
    Verdict.MANIPULATED: _("Strong signs"),
    Verdict.SUSPICIOUS: _("Some signs"),
    Verdict.AUTHENTIC: _("No signs"),
    Verdict.INCONCLUSIVE: _("Cannot tell"),
}
STATUS_WORDS: dict[str, Promise] = {
    Status.QUEUED: _("Waiting"),
    Status.RUNNING: _("Running"),
    Status.SUCCEEDED: _("Finished"),
    Status.FAILED: _("Failed"),
    Status.CANCELLED: _("Cancelled"),
}
KIND_WORDS: dict[str, Promise] = {"video": _("Video"), "image": _("Image")}
MODE_WORDS: dict[str, Promise] = {Mode.STANDARD: _("Standard"), Mode.THOROUGH: _("Thorough")}
# What reviewers say: people see a manipulation or do not, so there is no "some signs".
HUMAN_WORDS: dict[str, Promise] = {
    Verdict.MANIPULATED: _("Manipulated"),
    Verdict.AUTHENTIC: _("Genuine"),
    Verdict.INCONCLUSIVE: _("Cannot tell"),
}
_HUMAN_SENTENCES: dict[str, Promise] = {
    Verdict.MANIPULATED: _("A reviewer looked at the file and judges it manipulated."),
    Verdict.AUTHENTIC: _("A reviewer looked at the file and judges it genuine."),
    Verdict.INCONCLUSIVE: _("A reviewer looked at the file and cannot tell."),
}
DECISION_WORDS: dict[str, Promise] = {
    Decision.CONFIRMED: _("The reviewer agrees with the model."),
    Decision.OVERTURNED: _("The reviewer disagrees with the model."),
    Decision.CANNOT_TELL: _("The reviewer does not agree or disagree with the model."),
}


ENGINE_LANGUAGE = "en"

REASONS: dict[str, Promise] = {code: _(sentence) for code, sentence in aggregation.MESSAGES.items()}
# General on purpose: each code has several causes, of which the stored sentence tells the one.
ERRORS: dict[str, Promise] = {
    ErrorCode.UNREADABLE_MEDIA: _("The file is damaged, incomplete, or no video or picture that can be analysed."),
    ErrorCode.UNSUPPORTED_CODEC: _("The file is encoded in a way that cannot be read here. Convert it and try again."),
    ErrorCode.MEDIA_TOO_LONG: _(
        "The video is too long: at most %(minutes)d minutes can be analysed. Cut it, or save it anew if it is really "
        "shorter."
    ),
    ErrorCode.TOO_MANY_PIXELS: _(
        "The picture has too many pixels: at most %(megapixels)d million can be analysed. Scale it down and try again."
    ),
    ErrorCode.MODEL_UNAVAILABLE: _("The detector could not be loaded on this server."),
    ErrorCode.OUT_OF_MEMORY: _("There was not enough memory to analyse this file. A smaller version of it may work."),
    ErrorCode.TIMED_OUT: _("The analysis took too long and was given up. A shorter or smaller file may work."),
    ErrorCode.DISK_FULL: _("The server had no room left for its findings. The file is not to blame: try again later."),
    ErrorCode.INTERNAL_ERROR: _("Something went wrong on our side. It was written to the server's log."),
}


def verdict_word(verdict: str) -> str:
    return str(VERDICT_WORDS[verdict])


def statement(analysis: Analysis) -> str:
    """What is said about an analysis in a few words: by reviewers, or else by the model; empty without a result."""
    if analysis.verdict and analysis.reviewed_verdict:
        return human_word(analysis.reviewed_verdict)
    return verdict_word(analysis.verdict) if analysis.verdict else ""


def examined(analysis: Analysis) -> str:
    """How closely a video was looked at, or will be: "Thorough: 600 frames". Empty for a picture.

    Where a thorough look had to take less than a frame a second, it says so.
    """
    if analysis.upload.kind != MediaKind.VIDEO:
        return ""
    mode, frames = str(MODE_WORDS[analysis.mode]), analysis.total_frames
    if not frames:
        return mode
    said = ngettext("%(mode)s: %(frames)d frame", "%(mode)s: %(frames)d frames", frames) % {
        "mode": mode,
        "frames": frames,
    }
    pause = (analysis.upload.duration or 0) / frames
    if analysis.mode == Mode.THOROUGH and round(pause, 1) > 1:
        said += gettext(", one every %(seconds)s s") % {"seconds": figures.decimals(pause, 1)}
    return said


def human_word(verdict: str) -> str:
    """What reviewers decided, in a word or two."""
    return str(HUMAN_WORDS[verdict])


def human_sentence(verdict: str) -> str:
    return str(_HUMAN_SENTENCES[verdict])


def decision_word(decision: str) -> str:
    """What reviewers' verdict is to the model's, in a sentence."""
    return str(DECISION_WORDS[decision])


def dispute_word(category: str) -> str:
    """What a user says is wrong."""
    return str(Dispute.Category(category).label)


def short_word(word: str) -> str:
    """For a badge: a verdict in one or two words, or a status."""
    return str(SHORT_VERDICTS[word] if word in SHORT_VERDICTS else STATUS_WORDS[word])


# -- What the engine said, in the reader's language --------------------------------------------------------------------


def in_readers_language(stored: str, by_code: str) -> str:
    """A sentence that the engine said, or, where the catalogue does not know it, what its code stands for."""
    if not stored:
        return by_code
    told = gettext(stored)
    is_readers = told != stored or (get_language() or ENGINE_LANGUAGE) == ENGINE_LANGUAGE
    return told if is_readers or not by_code else by_code


def reasons(stored: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Reasons as rows keep them, ``{"code", "message"}``, for this reader."""
    return [
        {"code": row["code"], "message": in_readers_language(row["message"], str(REASONS.get(row["code"], "")))}
        for row in stored
    ]


def error(stored: Mapping[str, str] | None) -> dict[str, str] | None:
    """An error as rows keep it, ``{"code", "message"}`` or None, for this reader."""
    if stored is None:
        return None
    message = in_readers_language(stored["message"], _by_code(stored["code"]))
    return {"code": stored["code"], "message": message}


def event(stored: Mapping[str, Any]) -> dict[str, Any]:
    """An event, see ``detection.progress``, for this reader."""
    return {**stored, "error": error(stored["error"])} if stored.get("error") else dict(stored)


def failure(code: ErrorCode) -> str:
    """What a row keeps of a failure about which the engine said nothing more."""
    with override(ENGINE_LANGUAGE):
        return _by_code(code)


def _by_code(code: str) -> str:
    limits = {"minutes": settings.MAX_MEDIA_SECONDS // 60, "megapixels": settings.MAX_PIXELS // 1_000_000}
    return str(ERRORS[code]) % limits if code in ERRORS else ""


# -- What an answer is worth -------------------------------------------------------------------------------------------

_SENTENCES = {
    Verdict.AUTHENTIC: _("The faces that could be judged look like ordinary camera pictures to our model."),
    Verdict.SUSPICIOUS: _("The score is raised, but it stays below the point at which we speak of manipulation."),
    Verdict.MANIPULATED: _("At least one face carries traces that our model knows from manipulated pictures."),
    Verdict.INCONCLUSIVE: _("The file does not give enough to judge by. This is not a sign in either direction."),
}
_RAISED = _(
    "The score is not low, but it stays below the point that hardly any genuine face reaches, and only from there on "
    "do we speak of signs."
)
_MEANS = {
    Verdict.AUTHENTIC: _(
        "We looked for traces of face swapping, re-enactment and generated faces, and found none that stand out."
    ),
    Verdict.SUSPICIOUS: _(
        "Look at the flagged frames and the heat maps. Strong compression, filters and make-up can raise a score as "
        "well as a manipulation can. Find the earliest and best copy of the file and check that."
    ),
    Verdict.MANIPULATED: _(
        "Look at the flagged frames: the heat maps show which part of a face speaks for manipulation. Treat the "
        "recording as doubtful until its origin is cleared up."
    ),
    Verdict.INCONCLUSIVE: _("No answer is better than a guess. The reasons above say what is missing."),
}
# The same of a model that gives no heat maps.
_MEANS_UNMAPPED = {
    Verdict.SUSPICIOUS: _(
        "Look at the flagged frames. Strong compression, filters and make-up can raise a score as well as a "
        "manipulation can. Find the earliest and best copy of the file and check that."
    ),
    Verdict.MANIPULATED: _(
        "Look at the flagged frames. Treat the recording as doubtful until its origin is cleared up."
    ),
}
_MEANS_NOT = {
    Verdict.AUTHENTIC: _(
        "It is no proof that the recording is genuine. It can be cut, dubbed, staged, shown out of context, or made by "
        "a method that our model has never seen."
    ),
    Verdict.SUSPICIOUS: _(
        "It is neither an accusation nor an all-clear, and it says nothing about sound, background or context."
    ),
    Verdict.MANIPULATED: _(
        "It is no proof, it names nobody, and it says nothing about intent. False alarms happen, above all with beauty "
        "filters and strong compression."
    ),
    Verdict.INCONCLUSIVE: _(
        "It does not mean that the file is half real and half manipulated, nor that something is being hidden."
    ),
}
_ADVICE = {
    ReasonCode.NO_FACE: _(
        "Send a part in which a face is seen from the front and not covered. Pictures without people cannot be checked."
    ),
    ReasonCode.FACE_TOO_SMALL: _(
        "Find a larger copy of the picture, or a scene in which the person is closer. Enlarging the file does not help."
    ),
    ReasonCode.TOO_BLURRY: _("Find a sharper copy, or a scene without fast movement."),
    ReasonCode.TOO_COMPRESSED: _(
        "Find an earlier copy. Each time that a network or a messenger passes a video on, it is compressed anew."
    ),
    ReasonCode.TOO_SHORT: _("Send a longer part in which the face stays in view for a few seconds."),
    ReasonCode.FEW_FRAMES: _("Send a longer part in which the face stays in view for a few seconds."),
    ReasonCode.TOO_DARK: _("Find a scene with more light on the face. Brightening the file does not help."),
    ReasonCode.HEADS_DISAGREE: _("Look at the frames below yourself, and find a better copy of the file."),
}
DISCLAIMER = _(
    "A score is evidence, not proof. Veriframe looks for traces of manipulation in faces. It does not know who made a "
    "recording, whether its words are true, or whether it is shown in the right context. Weigh its answer together "
    "with everything else you know."
)


def verdict_sentence(verdict: str, score: float | None) -> str:
    """What was found, in one sentence. A score that is not low is no clean bill of health, and is not sold as one."""
    raised = verdict == Verdict.AUTHENTIC and score is not None and score >= 0.5
    return str(_RAISED if raised else _SENTENCES[Verdict(verdict)])


def means(result: Mapping[str, Any]) -> str:
    """What the model's verdict means; ``result`` as ``detection.reports`` has it."""
    verdict = Verdict(result["model_verdict"])
    faces = (face for frame in result["frames"] for face in frame["faces"])
    # Of pictures that were deleted nobody knows any more; most models draw maps.
    unmapped = any(face["crop_url"] and not face["heatmap_url"] for face in faces)
    return str(_MEANS_UNMAPPED.get(verdict, _MEANS[verdict]) if unmapped else _MEANS[verdict])


def means_not(verdict: str) -> str:
    return str(_MEANS_NOT[Verdict(verdict)])


def advice(code: str) -> str:
    """What somebody can do about a reason for "cannot tell"; empty for a code that an older version wrote."""
    return str(_ADVICE[ReasonCode(code)]) if code in set(ReasonCode) else ""
