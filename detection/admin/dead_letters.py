"""What the queue gave up, in the admin: to look at, to send again, to dismiss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy, ngettext

from detection import dead_letters, redelivery
from detection.admin.readonly import ReadOnly, staff
from detection.models import AuditEntry, DeadLetter
from detection.problems import Refused
from detection.review import audit


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnly, admin.ModelAdmin):
    """The latest first. Rows go by themselves after three months."""

    list_display = ("at", "actor", "error", "place", "state", "now", "about", "tries", "given_up")
    list_display_links = None
    list_filter = ("state", "actor", "error", "at")
    search_fields = ("message_id", "analysis__id")
    date_hierarchy = "at"
    list_select_related = ("analysis",)
    list_per_page = 50
    actions = ("send_again", "dismiss")

    def has_delete_permission(self, request: HttpRequest, obj: DeadLetter | None = None) -> bool:
        del request, obj
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("detection.change_deadletter")

    @admin.display(description=gettext_lazy("about"))
    def about(self, letter: DeadLetter) -> str:
        ids = " ".join(str(arg) for arg in letter.args)
        short = f"{ids[:8]}…"  # nine columns have to fit beside the filters; the whole is in the title
        if letter.analysis_id is None:
            return format_html('<span title="{}">{}</span>', ids, short)
        url = reverse("admin:detection_analysis_change", args=[letter.analysis_id])
        return format_html('<a href="{}" title="{}">{}</a>', url, ids, short)

    @admin.display(description=gettext_lazy("analysis now"))
    def now(self, letter: DeadLetter) -> str:
        return "–" if letter.analysis is None else letter.analysis.get_status_display()

    @admin.action(description=gettext_lazy("Send again"), permissions=["act"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        self._for_each(
            request,
            queryset,
            AuditEntry.Action.RESEND,
            lambda letter: redelivery.send_again(letter=letter, by=staff(request)),
        )

    @admin.action(description=gettext_lazy("Dismiss"), permissions=["act"])
    def dismiss(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        self._for_each(
            request,
            queryset,
            AuditEntry.Action.DISMISS,
            lambda letter: dead_letters.conclude(letter, DeadLetter.State.DISMISSED),
        )

    def _for_each(
        self,
        request: HttpRequest,
        letters: QuerySet[DeadLetter],
        action: AuditEntry.Action,
        act: Callable[[DeadLetter], None],
    ) -> None:
        """Do it to each and note it, both or neither."""
        done, refusals = 0, Counter[str]()
        for letter in letters.select_related("analysis__upload"):
            try:
                with transaction.atomic():
                    audit.record(action, letter.analysis or letter.actor, actor=staff(request))
                    act(letter)
            except Refused as refused:
                refusals[refused.detail] += 1
            else:
                done += 1
        for detail, number in refusals.items():
            self.message_user(request, f"{number} × {detail}", messages.WARNING)
        if done:
            self.message_user(request, ngettext("Done for %d message.", "Done for %d messages.", done) % done)
