"""Pages about webhooks, in the account area: parse, authorise, one service, render."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from config import sealing
from detection import limits, selectors
from detection.forms import EndpointForm
from detection.models import WebhookEndpoint
from detection.problems import Refused
from detection.webhooks import endpoints

PER_PAGE = 20
SHOWN_ONCE = "webhook_secret"  # in the session, from the request that makes a secret to the page that shows it


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def webhook_list(request: HttpRequest) -> HttpResponse:
    """All webhooks, and a form for another one."""
    form = EndpointForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        assert request.user.is_authenticated
        try:
            endpoint = endpoints.create(user=request.user, **form.cleaned_data)
        except Refused as refused:
            form.add_error(None, refused.detail)
        else:
            _show_once(request, str(endpoint.pk), endpoint.secret)
            return redirect(endpoint)
    context = {
        "form": form,
        "webhooks": WebhookEndpoint.objects.visible_to(request.user),
        "secret": _secret_for(request, "callbacks"),
    }
    return render(request, "detection/webhook_list.html", context, status=400 if form.errors else 200)


def _show_once(request: HttpRequest, whose: str, secret: str) -> None:
    request.session[SHOWN_ONCE] = [whose, sealing.seal(secret)]  # sessions lie in the database, too


def _secret_for(request: HttpRequest, whose: str) -> str | None:
    """A secret that was just made, this once."""
    name, secret = request.session.get(SHOWN_ONCE) or ("", None)
    if name != whose:
        return None
    del request.session[SHOWN_ONCE]
    return sealing.unseal(str(secret))


@require_safe
@login_required
@never_cache
def webhook_detail(request: HttpRequest, webhook_id: uuid.UUID) -> HttpResponse:
    """One webhook with the log of what was sent to it."""
    endpoint = selectors.get_webhook(request.user, webhook_id)
    log = selectors.deliveries(request.user).filter(endpoint=endpoint)
    context = {
        "webhook": endpoint,
        "secret": _secret_for(request, str(endpoint.pk)),
        "page_obj": Paginator(log, PER_PAGE).get_page(request.GET.get("page")),
    }
    return render(request, "detection/webhook_detail.html", context)


@require_safe
@login_required
@never_cache
def delivery_list(request: HttpRequest) -> HttpResponse:
    """The log of everything that was sent, also to callback addresses."""
    page = Paginator(selectors.deliveries(request.user), PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "detection/delivery_list.html", {"page_obj": page, "with_url": True})


@require_POST
@login_required
def webhook_pause(request: HttpRequest, webhook_id: uuid.UUID) -> HttpResponse:
    endpoint = selectors.get_webhook(request.user, webhook_id)
    endpoints.pause(endpoint=endpoint)
    return redirect(endpoint)


@require_POST
@login_required
def webhook_resume(request: HttpRequest, webhook_id: uuid.UUID) -> HttpResponse:
    endpoint = selectors.get_webhook(request.user, webhook_id)
    endpoints.resume(endpoint=endpoint)
    return redirect(endpoint)


@require_POST
@login_required
def webhook_rotate(request: HttpRequest, webhook_id: uuid.UUID) -> HttpResponse:
    endpoint = selectors.get_webhook(request.user, webhook_id)
    _show_once(request, str(endpoint.pk), endpoints.rotate(endpoint=endpoint))
    return redirect(endpoint)


@require_POST
@login_required
def callback_secret(request: HttpRequest) -> HttpResponse:
    """A new secret for callback addresses."""
    assert request.user.is_authenticated
    _show_once(request, "callbacks", endpoints.rotate_callback_key(user=request.user))
    return redirect("detection:webhook_list")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def webhook_delete(request: HttpRequest, webhook_id: uuid.UUID) -> HttpResponse:
    endpoint = selectors.get_webhook(request.user, webhook_id)
    if request.method == "POST":
        endpoint.delete()
        messages.success(request, _("The webhook was deleted."))
        return redirect("detection:webhook_list")
    return render(request, "detection/webhook_confirm_delete.html", {"webhook": endpoint})


@require_POST
@login_required
def redeliver(request: HttpRequest, delivery_id: uuid.UUID) -> HttpResponse:
    delivery = selectors.get_delivery(request.user, delivery_id)
    try:
        limits.spend(request, "uploads", user=request.user.pk)
        endpoints.redeliver(delivery=delivery)
    except Refused as refused:
        messages.warning(request, refused.detail)
    else:
        messages.success(request, _("It is being sent once more."))
    return redirect(delivery.endpoint or "detection:delivery_list")
