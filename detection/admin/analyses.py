"""Analyses and uploads in the admin: to look at, hardly to change."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from detection import services
from detection.admin.acts import for_each, run_again
from detection.admin.readonly import ReadOnly, staff
from detection.models import Analysis, DeletionReason, FaceTrack, Upload
from detection.reports.figures import decimals
from detection.review import audit


class FaceTrackInline(ReadOnly, admin.TabularInline):
    model = FaceTrack
    fields = ("number", "verdict", "score", "segments")
    can_delete = False
    extra = 0


@admin.register(Analysis)
class AnalysisAdmin(ReadOnly, admin.ModelAdmin):
    """What ran, what came out, what went wrong."""

    list_display = (
        "upload_name",
        "owner",
        "status",
        "verdict",
        "score",
        "error_code",
        "progress",
        "attempts",
        "created_at",
        "seconds",
    )
    list_filter = ("status", "verdict", "error_code", "upload__kind", "model_version", "created_at")
    search_fields = ("id", "upload__name", "upload__sha256", "upload__user__email")
    date_hierarchy = "created_at"
    list_select_related = ("upload__user",)
    list_per_page = 50
    inlines = (FaceTrackInline,)
    exclude = ("points",)
    actions = ("cancel", "run_again")

    @admin.display(description=_("file"), ordering="upload__name")
    def upload_name(self, analysis: Analysis) -> str:
        return analysis.upload.name

    @admin.display(description=_("owner"), ordering="upload__user__email")
    def owner(self, analysis: Analysis) -> str:
        return analysis.upload.user.email

    @admin.display(description=_("progress"))
    def progress(self, analysis: Analysis) -> str:
        return f"{analysis.percent} % ({analysis.frames_done}/{analysis.frames_total})"

    @admin.display(description=_("seconds"))
    def seconds(self, analysis: Analysis) -> str:
        if analysis.started_at is None or analysis.finished_at is None:
            return "–"
        return decimals((analysis.finished_at - analysis.started_at).total_seconds(), 1)

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whoever may only look at this list leaves what is somebody else's as it is."""
        return request.user.has_perm("detection.change_analysis")

    @admin.action(description=_("Cancel selected analyses"), permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Analysis]) -> None:
        analyses = queryset.select_related("upload")
        done, refused = for_each(request, analyses, audit.Action.CANCEL, lambda one: services.cancel(analysis=one))
        self._say_left(request, refused.total())
        self.message_user(request, ngettext("%d cancelled.", "%d cancelled.", done) % done, messages.SUCCESS)

    @admin.action(description=_("Run again with the current model"), permissions=["act"])
    def run_again(self, request: HttpRequest, queryset: QuerySet[Analysis]) -> None:
        done, refused = run_again(request, queryset.select_related("upload"))
        self._say_left(request, refused.total())
        self.message_user(request, ngettext("%d sent again.", "%d sent again.", done) % done, messages.SUCCESS)

    def _say_left(self, request: HttpRequest, refused: int) -> None:
        if refused:
            left = ngettext(
                "%d could not be, in its present state.", "%d could not be, in their present state.", refused
            )
            self.message_user(request, left % refused, messages.WARNING)

    # Deleting goes through the service, which also removes the files.
    def delete_model(self, request: HttpRequest, obj: Analysis) -> None:
        own = obj.upload.user_id == staff(request).pk
        with transaction.atomic():
            audit.record(audit.Action.DELETE, obj, actor=staff(request))
            services.delete(analysis=obj, reason=DeletionReason.USER if own else DeletionReason.STAFF)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Analysis]) -> None:
        for analysis in queryset.select_related("upload"):
            self.delete_model(request, analysis)


@admin.register(Upload)
class UploadAdmin(ReadOnly, admin.ModelAdmin):
    """Which files are there. They go when their analyses are deleted."""

    list_display = ("name", "user", "kind", "mime", "readable_size", "picture", "analyses_count", "created_at")
    list_filter = ("kind", "mime", "created_at")
    search_fields = ("id", "name", "sha256", "user__email")
    date_hierarchy = "created_at"
    list_select_related = ("user",)
    exclude = ("file",)  # its link would lead nowhere: media has no public address

    def get_queryset(self, request: HttpRequest) -> QuerySet[Upload]:
        return super().get_queryset(request).annotate(analyses_count=Count("analyses"))

    def has_delete_permission(self, request: HttpRequest, obj: Upload | None = None) -> bool:
        """Deleting its last analysis deletes it, files and all."""
        del request, obj
        return False

    @admin.display(description=_("size"), ordering="size")
    def readable_size(self, upload: Upload) -> str:
        return filesizeformat(upload.size)

    @admin.display(description=_("picture"))
    def picture(self, upload: Upload) -> str:
        return f"{upload.width} × {upload.height}" if upload.width else "–"

    @admin.display(description=_("analyses"), ordering="analyses_count")
    def analyses_count(self, upload: Any) -> int:
        return int(upload.analyses_count)
