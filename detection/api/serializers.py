"""The shapes of requests and answers, for the API's description.

Answers are made by ``detection.reports``; a test holds every one of them to what is described here.
"""

from __future__ import annotations

from django.conf import settings
from rest_framework import serializers as s

from accounts.models import ApiToken, User
from accounts.roles import Role
from detection.engine.errors import ErrorCode
from detection.engine.types import MediaKind, Mode, ReasonCode, Stage, Verdict
from detection.models import HUMAN_VERDICTS, Analysis, Decision, DeletionReason, DeletionReceipt, Dispute
from detection.problems import STATUS_BY_CODE

VERDICTS = [(word.value, word.value) for word in Verdict]
HUMAN = [(word.value, word.value) for word in HUMAN_VERDICTS]
SCORE = "Probability of manipulation, 0 (real) to 1 (manipulated)."
MODES = [word.value for word in Mode]
MODE = "How closely a video is looked at. `thorough`: at least one frame a second, up to an hour."


# -- Errors -----------------------------------------------------------------------------------------------------------


class FailureSerializer(s.Serializer):
    code = s.ChoiceField(choices=[word.value for word in ErrorCode])
    message = s.CharField(help_text="For people.")


class ProblemSerializer(s.Serializer):
    """RFC 9457 problem details. Rely on `code`."""

    type = s.CharField(default="about:blank", help_text="Always about:blank: `code` says what a URI would.")
    title = s.CharField(help_text="The status in words.")
    status = s.IntegerField()
    detail = s.CharField(help_text="What is wrong, for people.")
    code = s.ChoiceField(choices=list(STATUS_BY_CODE), help_text="Stable; the README lists them.")
    request_id = s.CharField(help_text="Also in X-Request-ID and in the server's log.")
    error = FailureSerializer(required=False, help_text="With `analysis_failed`.")
    checks = s.DictField(child=s.CharField(), required=False, help_text="With `not_ready`.")


# -- Analyses ---------------------------------------------------------------------------------------------------------


class SubmissionSerializer(s.Serializer):
    file = s.FileField(
        help_text=f"mp4, avi, mov, mkv, webm, jpg, jpeg, png or webp; {settings.MAX_UPLOAD_BYTES} bytes at most."
    )
    external_id = s.CharField(
        required=False,
        allow_blank=True,
        max_length=200,
        help_text="What you call it. Need not be unique: one thing may be looked at more than once.",
    )
    callback_url = s.CharField(
        required=False, allow_blank=True, max_length=500, help_text="Told when the analysis ends; see webhooks."
    )
    retain_seconds = s.IntegerField(
        required=False,
        min_value=0,
        max_value=settings.MEDIA_MAX_SECONDS,
        help_text="How long the file is kept after its result; without it, as the account page says.",
    )
    consent = s.BooleanField(required=False, help_text="The file may be used to improve the detector.")
    force = s.BooleanField(required=False, help_text="Analyse anew what the same model has seen before.")
    mode = s.ChoiceField(choices=MODES, required=False, default="standard", help_text=MODE)


class RetrySerializer(s.Serializer):
    mode = s.ChoiceField(choices=MODES, required=False, help_text=f"{MODE} Without it, as before.")


WAITS_FOR = ["queue", "worker"]


def _waits_for() -> s.ChoiceField:
    return s.ChoiceField(
        choices=WAITS_FOR,
        allow_null=True,
        help_text="What it waits for. `queue`: the queue was away; it is stored and sent by itself later.",
    )


class SubmittedSerializer(s.Serializer):
    id = s.UUIDField()
    external_id = s.CharField(allow_blank=True)
    status = s.ChoiceField(choices=Analysis.Status.choices)
    mode = s.ChoiceField(choices=MODES, help_text=MODE)
    waits_for = _waits_for()
    sha256 = s.CharField(help_text="Of the file.")
    eta_seconds = s.FloatField(allow_null=True, help_text="When it should be done; null if nobody knows.")
    reused = s.BooleanField(help_text="It was found before, in the same bytes by the same model.")
    poll_url = s.URLField()
    ws_url = s.CharField(help_text="WebSocket; takes the same Authorization header.")
    page_url = s.URLField(help_text="For people.")


class ProgressSerializer(s.Serializer):
    stage = s.ChoiceField(choices=[word.value for word in Stage], allow_blank=True)
    percent = s.IntegerField(min_value=0, max_value=100)
    frames_done = s.IntegerField()
    frames_total = s.IntegerField()
    eta_seconds = s.FloatField(allow_null=True)


class MediaSerializer(s.Serializer):
    kind = s.ChoiceField(choices=[word.value for word in MediaKind])
    mime = s.CharField()
    sha256 = s.CharField()
    size = s.IntegerField(help_text="Bytes.")
    width = s.IntegerField(allow_null=True, help_text="Pixels; null for a video that was not analysed yet.")
    height = s.IntegerField(allow_null=True)
    duration = s.FloatField(allow_null=True, help_text="Seconds; null for a picture.")
    fps = s.FloatField(allow_null=True)
    name = s.CharField()
    url = s.CharField(
        allow_null=True, help_text="Path on this server; needs the same token. Null once the file was deleted."
    )
    retain_seconds = s.IntegerField(help_text="How long the file is kept after its result.")
    expires_at = s.DateTimeField(allow_null=True, help_text="When the file will be deleted; null while it is analysed.")
    held_until = s.DateTimeField(allow_null=True, help_text="Kept for reviewers until then at most.")
    deleted_at = s.DateTimeField(allow_null=True)
    deleted_reason = s.ChoiceField(choices=DeletionReason.values, allow_null=True)


class RetainSerializer(s.Serializer):
    retain_seconds = s.IntegerField(
        min_value=0,
        max_value=settings.MEDIA_MAX_SECONDS,
        help_text=f"How long the file is kept after its result; {settings.MEDIA_MAX_SECONDS} at most.",
    )


class PicturesSerializer(s.Serializer):
    """Crops and heat maps of faces."""

    expires_at = s.DateTimeField(allow_null=True, help_text="When they will be deleted; null until there is a result.")
    deleted_at = s.DateTimeField(allow_null=True)


class ReasonSerializer(s.Serializer):
    code = s.ChoiceField(choices=[word.value for word in ReasonCode])
    message = s.CharField()


class ModelNameSerializer(s.Serializer):
    name = s.CharField()
    version = s.CharField()
    sha256 = s.CharField()


class OutcomeSerializer(s.Serializer):
    """What was found, without the faces: in lists."""

    verdict = s.ChoiceField(
        choices=VERDICTS, help_text="Of reviewers, if they have decided (`review`); else the model's."
    )
    model_verdict = s.ChoiceField(choices=VERDICTS, help_text="What the model says, whatever reviewers decided.")
    score = s.FloatField(allow_null=True, help_text=f"{SCORE} The model's. Null for inconclusive.")
    threshold = s.FloatField(allow_null=True, help_text="From here on: manipulated.")
    suspicious_threshold = s.FloatField(allow_null=True, help_text="From here on: suspicious.")
    reasons = ReasonSerializer(many=True, help_text="Why it cannot be told.")
    model = ModelNameSerializer()
    total_frames = s.IntegerField(help_text="Frames that were looked at.")
    deepfake_frames = s.IntegerField(help_text="Of these, with a face over the threshold.")
    deepfake_ratio = s.FloatField()
    timings = s.DictField(child=s.FloatField(), help_text="Seconds of each stage.")


class SegmentSerializer(s.Serializer):
    start = s.FloatField()
    end = s.FloatField()


class TrackSerializer(s.Serializer):
    """One person followed through the file."""

    id = s.IntegerField()
    score = s.FloatField(allow_null=True)
    verdict = s.ChoiceField(choices=VERDICTS)
    reasons = ReasonSerializer(many=True)
    segments = SegmentSerializer(many=True, help_text="Seconds in which signs were seen.")
    thumbnail_url = s.CharField(allow_null=True)


class BoxSerializer(s.Serializer):
    """Pixels of the displayed picture; right and bottom exclusive."""

    left = s.IntegerField()
    top = s.IntegerField()
    right = s.IntegerField()
    bottom = s.IntegerField()


class QualitySerializer(s.Serializer):
    face_size = s.FloatField()
    sharpness = s.FloatField()
    brightness = s.FloatField()
    detail = s.FloatField()


class FaceSerializer(s.Serializer):
    track = s.IntegerField()
    box = BoxSerializer()
    crop_box = BoxSerializer(help_text="Where the crop lies; may reach over the picture's edge.")
    score = s.FloatField(help_text=SCORE)
    flagged = s.BooleanField()
    confidence = s.FloatField(help_text="Of the face detector, that this is a face.")
    quality = QualitySerializer()
    crop_url = s.CharField(allow_null=True)
    heatmap_url = s.CharField(allow_null=True)


class FrameSerializer(s.Serializer):
    time = s.FloatField(help_text="Seconds.")
    index = s.IntegerField()
    faces = FaceSerializer(many=True)


class FindingSerializer(s.Serializer):
    check = s.CharField()
    severity = s.CharField()
    summary = s.CharField()
    data = s.DictField()


class ResultSerializer(OutcomeSerializer):
    """What was found, face by face."""

    tracks = TrackSerializer(many=True)
    frames = FrameSerializer(many=True)
    findings = FindingSerializer(many=True)


class ReviewSerializer(s.Serializer):
    """What reviewers decided about the result of the present run."""

    verdict = s.ChoiceField(choices=HUMAN)
    decision = s.ChoiceField(choices=Decision.choices, help_text="What it is to the model's verdict.")
    role = s.ChoiceField(choices=["reviewer"])
    at = s.DateTimeField()


class DisputeRequestSerializer(s.Serializer):
    category = s.ChoiceField(choices=Dispute.Category.choices)
    reason = s.CharField(required=False, allow_blank=True, max_length=Dispute.LONGEST, help_text="For reviewers.")


class DisputeSerializer(s.Serializer):
    """What you objected, and what came of it."""

    status = s.ChoiceField(choices=Dispute.Status.choices)
    category = s.ChoiceField(choices=Dispute.Category.choices)
    reason = s.CharField(allow_blank=True)
    answer = s.CharField(allow_blank=True, help_text="Of a reviewer, or why nobody looks at it any more.")
    opened_at = s.DateTimeField()
    closed_at = s.DateTimeField(allow_null=True)


class ConsentSerializer(s.Serializer):
    consent = s.BooleanField(help_text="The file may be used to improve the detector.")


class SummarySerializer(s.Serializer):
    id = s.UUIDField()
    external_id = s.CharField(allow_blank=True)
    status = s.ChoiceField(choices=Analysis.Status.choices)
    mode = s.ChoiceField(choices=MODES, help_text=MODE)
    waits_for = _waits_for()
    created_at = s.DateTimeField()
    started_at = s.DateTimeField(allow_null=True)
    finished_at = s.DateTimeField(allow_null=True)
    progress = ProgressSerializer()
    media = MediaSerializer()
    pictures = PicturesSerializer()
    expires_at = s.DateTimeField(allow_null=True, help_text="When the result goes; null: when you delete it.")
    consent = s.BooleanField(help_text="The file may be used to improve the detector.")
    error = FailureSerializer(allow_null=True)
    review = ReviewSerializer(allow_null=True)
    result = OutcomeSerializer(allow_null=True)


class AnalysisSerializer(SummarySerializer):
    result = ResultSerializer(allow_null=True)
    dispute = DisputeSerializer(allow_null=True)


class AnalysisAnswerSerializer(SubmittedSerializer, AnalysisSerializer):
    """An analysis with its addresses."""


class PageSerializer(s.Serializer):
    next = s.URLField(allow_null=True)
    previous = s.URLField(allow_null=True)
    results = SummarySerializer(many=True)


class ReportSerializer(s.Serializer):
    format = s.CharField()
    software = s.DictField(child=s.CharField())
    statement = s.CharField(allow_blank=True)
    notice = s.CharField()
    analysis = AnalysisSerializer()


# -- Account and models -----------------------------------------------------------------------------------------------


class TokenSerializer(s.ModelSerializer):
    id = s.UUIDField(source="public_id", read_only=True)
    start = s.CharField(source="token_key", read_only=True, help_text="The key's first characters.")
    created_at = s.DateTimeField(source="created", read_only=True)
    expires_at = s.DateTimeField(source="expiry", read_only=True, allow_null=True)
    last_used_at = s.DateTimeField(source="last_used", read_only=True, allow_null=True, help_text="To the minute.")

    class Meta:
        model = ApiToken
        fields: tuple[str, ...] = ("id", "name", "start", "created_at", "expires_at", "last_used_at")
        read_only_fields = fields


class TokenRequestSerializer(s.Serializer):
    name = s.CharField(max_length=100)
    expires_in_days = s.IntegerField(
        min_value=1, max_value=3650, default=90, allow_null=True, help_text="null: until it is revoked."
    )


class NewTokenSerializer(TokenSerializer):
    key = s.CharField(read_only=True, help_text="For the header `Authorization: Token KEY`. Shown only here.")

    class Meta(TokenSerializer.Meta):
        fields = (*TokenSerializer.Meta.fields, "key")
        read_only_fields = fields


class PreferencesSerializer(s.ModelSerializer):
    """How pages look and what is told by e-mail."""

    language = s.ChoiceField(
        choices=settings.LANGUAGES, allow_blank=True, required=False, help_text="Empty: as the browser asks."
    )

    class Meta:
        model = User
        fields = ("language", "theme", "notify_reviews", "notify_analyses")


class MeSerializer(s.Serializer):
    email = s.EmailField(source="user.email", read_only=True)
    joined_at = s.DateTimeField(source="user.date_joined", read_only=True)
    role = s.ChoiceField(choices=Role.choices, read_only=True)
    second_factor = s.BooleanField(read_only=True, help_text="Asked for when one signs in; tokens need none.")
    preferences = PreferencesSerializer(source="user", read_only=True)
    token = TokenSerializer(read_only=True, allow_null=True)


class TodaySerializer(s.Serializer):
    analyses = s.IntegerField()
    limit = s.IntegerField(allow_null=True)
    remaining = s.IntegerField(allow_null=True)
    resets_at = s.DateTimeField()


class LimitsSerializer(s.Serializer):
    uploads = s.CharField(allow_null=True)
    requests = s.CharField(allow_null=True)


class StoredSerializer(s.Serializer):
    """Files that are still there."""

    files = s.IntegerField()
    bytes = s.IntegerField()
    limit = s.IntegerField(allow_null=True, help_text="Bytes.")
    remaining = s.IntegerField(allow_null=True)
    retain_seconds = s.IntegerField(help_text="How long a file is kept after its result unless it says otherwise.")


class DeletionSerializer(s.ModelSerializer):
    """A receipt: these bytes, or what was made of them, were deleted."""

    class Meta:
        model = DeletionReceipt
        fields = ("id", "what", "reason", "sha256", "size", "upload_id", "analysis_id", "deleted_at")


class DeletionPageSerializer(s.Serializer):
    next = s.URLField(allow_null=True)
    previous = s.URLField(allow_null=True)
    results = DeletionSerializer(many=True)


class CountsSerializer(s.Serializer):
    total = s.IntegerField()
    by_status = s.DictField(child=s.IntegerField())
    by_verdict = s.DictField(child=s.IntegerField())


class UsageSerializer(s.Serializer):
    today = TodaySerializer()
    limits = LimitsSerializer()
    stored = StoredSerializer()
    analyses = CountsSerializer()


class ThresholdsSerializer(s.Serializer):
    kind = s.ChoiceField(choices=[word.value for word in MediaKind])
    suspicious = s.FloatField()
    manipulated = s.FloatField()


class ModelSerializer(s.Serializer):
    name = s.CharField()
    version = s.CharField()
    sha256 = s.CharField()
    served = s.BooleanField(help_text="It judges new files.")
    measured = s.BooleanField(help_text="There are figures about it; of one that was imported there may be none.")
    architecture = s.CharField()
    input_size = s.IntegerField(help_text="Pixels, square.")
    thresholds = ThresholdsSerializer(many=True)
    data = s.ListField(child=s.CharField(), help_text="What it was trained on.")
    licence = s.CharField()


# -- The older servers' words -----------------------------------------------------------------------------------------


class PredictionSerializer(s.Serializer):
    status = s.ChoiceField(choices=["success"])
    prediction = s.ChoiceField(choices=["Real", "Deepfake", "Fake", "Inconclusive"])
    confidence = s.FloatField(allow_null=True, help_text="How probable `prediction` is; null for Inconclusive.")
    deepfake_ratio = s.FloatField()
    total_frames = s.IntegerField()
    deepfake_frames = s.IntegerField()
    frames = s.ListField(child=s.URLField(), help_text="Faces that were looked at, the most suspicious ones.")
    anomalies = s.ListField(child=s.CharField(), help_text="What speaks for manipulation, or why one cannot tell.")
    id = s.UUIDField()
    verdict = s.ChoiceField(choices=VERDICTS)
    score = s.FloatField(allow_null=True, help_text=SCORE)
    poll_url = s.URLField()


class ProcessingSerializer(s.Serializer):
    status = s.ChoiceField(choices=["processing"])
    id = s.UUIDField()
    poll_url = s.URLField()


class HealthSerializer(s.Serializer):
    status = s.ChoiceField(choices=["ok"])
    version = s.CharField()


class ReadySerializer(s.Serializer):
    status = s.ChoiceField(choices=["ready"])
    checks = s.DictField(child=s.CharField())
