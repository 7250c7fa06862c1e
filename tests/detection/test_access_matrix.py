"""Who may do what: every address of the site, by method, for everybody who may come along.

The table is the specification, and complete: routes are taken from the URL resolver, so a new one fails here until
somebody says who may use it. What each word means:

====== ==============================================================================
in     let in: served, sent on, or told that the request itself is wrong or too late
login  sent to the login
again  asked for the password once more
401    told to sign in, as programs are
403    told that it is not for them
404    told that there is no such thing
====== ==============================================================================

A method that is not in the table lets nobody in. The owner is the one whose
analysis, token, webhook and delivery the addresses name; the reviewer has the role and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client
from django_dramatiq.models import Task

from accounts import roles
from accounts.models import User
from detection import dead_letters, registered_models, tasks
from detection.models import Analysis, RegisteredModel, Rerun
from detection.review import audit
from tests import factories
from tests.detection.sockets import connect
from tests.detection.test_access import FILES, belongings, routes

PEOPLE = ("anonymous", "owner", "stranger", "reviewer", "administrator")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
TABLE = """
detection:home                             GET    in        in        in        in        in
detection:upload                           GET    login     in        in        in        in
detection:upload                           POST   login     in        in        in        in
detection:sample                           POST   login     in        in        in        in
detection:analysis_list                    GET    login     in        in        in        in
detection:analysis_export                  GET    login     in        in        in        in
detection:analysis_bulk                    POST   login     in        in        in        in
detection:analysis_detail                  GET    login     in        404       404       404
detection:analysis_cancel                  POST   login     in        404       404       404
detection:analysis_retry                   POST   login     in        404       404       404
detection:analysis_delete                  GET    login     in        404       404       404
detection:analysis_delete                  POST   login     in        404       404       404
detection:file_delete                      GET    login     in        404       404       404
detection:file_delete                      POST   login     in        404       404       404
detection:file_keep                        POST   login     in        404       404       404
detection:dispute                          GET    login     in        404       404       404
detection:dispute                          POST   login     in        404       404       404
detection:dispute_withdraw                 POST   login     in        404       404       404
detection:consent                          POST   login     in        404       404       404
detection:storage                          GET    login     in        in        in        in
detection:storage                          POST   login     in        in        in        in
detection:privacy                          GET    in        in        in        in        in
detection:model                            GET    in        in        in        in        in
detection:model_plot                       GET    in        in        in        in        in
detection:archive                          GET    login     again     again     again     again
detection:archive                          POST   login     again     again     again     again
detection:account_delete                   GET    login     in        in        in        in
detection:account_delete                   POST   login     in        in        in        in
detection:webhook_list                     GET    login     in        in        in        in
detection:webhook_list                     POST   login     in        in        in        in
detection:callback_secret                  POST   login     in        in        in        in
detection:delivery_list                    GET    login     in        in        in        in
detection:redeliver                        POST   login     in        404       404       404
detection:webhook_detail                   GET    login     in        404       404       404
detection:webhook_pause                    POST   login     in        404       404       404
detection:webhook_resume                   POST   login     in        404       404       404
detection:webhook_rotate                   POST   login     in        404       404       404
detection:webhook_delete                   GET    login     in        404       404       404
detection:webhook_delete                   POST   login     in        404       404       404
detection:file source                      GET    404       in        404       in        in
detection:file faces/0.jpg                 GET    404       in        404       in        in
detection:file heatmaps/0.png              GET    404       in        404       in        in
detection:file tracks/0.jpg                GET    404       in        404       in        in
predict                                    POST   401       in        in        in        in
predict-slash                              POST   401       in        in        in        in
predict-result                             GET    401       in        404       404       404
health                                     GET    in        in        in        in        in
ready                                      GET    in        in        in        in        in
metrics                                    GET    404       404       404       404       404
schema                                     GET    in        in        in        in        in
docs                                       GET    in        in        in        in        in
api:analysis-list                          GET    401       in        in        in        in
api:analysis-list                          POST   401       in        in        in        in
api:analysis-detail                        GET    401       in        404       404       404
api:analysis-detail                        DELETE 401       in        404       404       404
api:analysis-cancel                        POST   401       in        404       404       404
api:analysis-retry                         POST   401       in        404       404       404
api:analysis-report-pdf                    GET    401       in        404       404       404
api:analysis-report-json                   GET    401       in        404       404       404
api:analysis-dispute                       POST   401       in        404       404       404
api:analysis-dispute                       DELETE 401       in        404       404       404
api:analysis-consent                       PUT    401       in        404       404       404
api:analysis-media                         PATCH  401       in        404       404       404
api:analysis-media                         DELETE 401       in        404       404       404
api:deletion-list                          GET    401       in        in        in        in
api:usage                                  GET    401       in        in        in        in
api:model-list                             GET    401       in        in        in        in
api:me                                     GET    401       in        in        in        in
api:me                                     PATCH  401       in        in        in        in
api:token-list                             GET    401       in        in        in        in
api:token-list                             POST   401       in        in        in        in
api:token-detail                           DELETE 401       in        404       404       404
api:webhook-list                           GET    401       in        in        in        in
api:webhook-list                           POST   401       in        in        in        in
api:webhook-callback-secret                POST   401       in        in        in        in
api:delivery-list                          GET    401       in        in        in        in
api:delivery-redeliver                     POST   401       in        404       404       404
api:webhook-detail                         GET    401       in        404       404       404
api:webhook-detail                         DELETE 401       in        404       404       404
api:webhook-pause                          POST   401       in        404       404       404
api:webhook-resume                         POST   401       in        404       404       404
api:webhook-rotate                         POST   401       in        404       404       404
accounts:home                              GET    login     in        in        in        in
accounts:home                              POST   login     in        in        in        in
accounts:session_end                       POST   login     in        404       404       404
accounts:sessions_end_all                  POST   login     login     login     login     login
accounts:tokens                            GET    login     in        in        in        in
accounts:tokens                            POST   login     in        in        in        in
accounts:token_revoke                      GET    login     in        404       404       404
accounts:token_revoke                      POST   login     in        404       404       404
account_login                              GET    in        in        in        in        in
account_login                              POST   in        in        in        in        in
account_logout                             GET    in        in        in        in        in
account_logout                             POST   in        in        in        in        in
account_inactive                           GET    in        in        in        in        in
account_signup                             GET    in        in        in        in        in
account_signup                             POST   in        in        in        in        in
account_reauthenticate                     GET    login     in        in        in        in
account_reauthenticate                     POST   login     in        in        in        in
account_email                              GET    login     in        in        in        in
account_email                              POST   login     in        in        in        in
account_email_verification_sent            GET    in        in        in        in        in
account_change_password                    GET    login     in        in        in        in
account_change_password                    POST   login     in        in        in        in
account_set_password                       GET    login     in        in        in        in
account_set_password                       POST   login     in        in        in        in
account_reset_password                     GET    in        in        in        in        in
account_reset_password                     POST   in        in        in        in        in
account_confirm_login_code                 GET    login     in        in        in        in
account_confirm_login_code                 POST   login     in        in        in        in
account_confirm_email                      GET    in        in        in        in        in
account_reset_password_from_key_done       GET    in        in        in        in        in
account_reset_password_from_key            GET    in        in        in        in        in
account_reset_password_from_key            POST   in        in        in        in        in
account_reset_password_done                GET    in        in        in        in        in
mfa_index                                  GET    login     in        in        in        in
mfa_authenticate                           GET    login     in        in        in        in
mfa_authenticate                           POST   login     in        in        in        in
mfa_reauthenticate                         GET    login     in        again     again     again
mfa_reauthenticate                         POST   login     in        again     again     again
mfa_activate_totp                          GET    login     again     again     again     again
mfa_activate_totp                          POST   login     again     again     again     again
mfa_deactivate_totp                        GET    login     again     404       404       404
mfa_deactivate_totp                        POST   login     again     404       404       404
mfa_view_recovery_codes                    GET    login     404       404       404       404
mfa_generate_recovery_codes                GET    login     again     again     again     again
mfa_generate_recovery_codes                POST   login     again     again     again     again
mfa_download_recovery_codes                GET    login     404       404       404       404
usersessions_list                          GET    login     in        in        in        in
usersessions_list                          POST   login     in        in        in        in
set_language                               GET    in        in        in        in        in
set_language                               POST   in        in        in        in        in
admin:index                                GET    login     login     login     in        in
admin:index                                POST   login     login     login     in        in
admin:login                                GET    login     403       403       in        in
admin:login                                POST   login     403       403       in        in
admin:logout                               GET    in        in        in        405       405
admin:logout                               POST   in        in        in        in        in
admin:password_change                      GET    login     login     login     in        in
admin:password_change                      POST   login     login     login     in        in
admin:password_change_done                 GET    login     login     login     in        in
admin:autocomplete                         GET    login     login     login     403       403
admin:jsi18n                               GET    login     login     login     in        in
admin:view_on_site                         GET    login     login     login     404       404
admin:auth_group_changelist                GET    login     login     login     403       in
admin:auth_group_changelist                POST   login     login     login     403       in
admin:auth_group_add                       GET    login     login     login     403       in
admin:auth_group_add                       POST   login     login     login     403       in
admin:auth_group_history                   GET    login     login     login     403       in
admin:auth_group_history                   POST   login     login     login     403       in
admin:auth_group_delete                    GET    login     login     login     403       in
admin:auth_group_delete                    POST   login     login     login     403       in
admin:auth_group_change                    GET    login     login     login     403       in
admin:auth_group_change                    POST   login     login     login     403       in
admin:account_emailaddress_changelist      GET    login     login     login     403       in
admin:account_emailaddress_changelist      POST   login     login     login     403       in
admin:account_emailaddress_add             GET    login     login     login     403       in
admin:account_emailaddress_add             POST   login     login     login     403       in
admin:account_emailaddress_history         GET    login     login     login     403       in
admin:account_emailaddress_history         POST   login     login     login     403       in
admin:account_emailaddress_delete          GET    login     login     login     403       in
admin:account_emailaddress_delete          POST   login     login     login     403       in
admin:account_emailaddress_change          GET    login     login     login     403       in
admin:account_emailaddress_change          POST   login     login     login     403       in
admin:django_dramatiq_task_changelist      GET    login     login     login     403       in
admin:django_dramatiq_task_changelist      POST   login     login     login     403       in
admin:django_dramatiq_task_add             GET    login     login     login     403       403
admin:django_dramatiq_task_history         GET    login     login     login     in        in
admin:django_dramatiq_task_history         POST   login     login     login     in        in
admin:django_dramatiq_task_delete          GET    login     login     login     403       403
admin:django_dramatiq_task_change          GET    login     login     login     403       in
admin:auth_user_password_change            GET    login     login     login     403       in
admin:auth_user_password_change            POST   login     login     login     403       in
admin:accounts_user_changelist             GET    login     login     login     403       in
admin:accounts_user_changelist             POST   login     login     login     403       in
admin:accounts_user_add                    GET    login     login     login     403       in
admin:accounts_user_add                    POST   login     login     login     403       in
admin:accounts_user_history                GET    login     login     login     403       in
admin:accounts_user_history                POST   login     login     login     403       in
admin:accounts_user_delete                 GET    login     login     login     403       in
admin:accounts_user_delete                 POST   login     login     login     403       in
admin:accounts_user_change                 GET    login     login     login     403       in
admin:accounts_user_change                 POST   login     login     login     403       in
admin:accounts_apitoken_changelist         GET    login     login     login     403       in
admin:accounts_apitoken_changelist         POST   login     login     login     403       in
admin:accounts_apitoken_add                GET    login     login     login     403       403
admin:accounts_apitoken_history            GET    login     login     login     403       in
admin:accounts_apitoken_history            POST   login     login     login     403       in
admin:accounts_apitoken_delete             GET    login     login     login     403       in
admin:accounts_apitoken_delete             POST   login     login     login     403       in
admin:accounts_apitoken_change             GET    login     login     login     403       in
admin:mfa_authenticator_changelist         GET    login     login     login     403       in
admin:mfa_authenticator_changelist         POST   login     login     login     403       in
admin:mfa_authenticator_add                GET    login     login     login     403       403
admin:mfa_authenticator_history            GET    login     login     login     403       in
admin:mfa_authenticator_history            POST   login     login     login     403       in
admin:mfa_authenticator_delete             GET    login     login     login     403       in
admin:mfa_authenticator_delete             POST   login     login     login     403       in
admin:mfa_authenticator_change             GET    login     login     login     403       in
admin:usersessions_usersession_changelist  GET    login     login     login     403       in
admin:usersessions_usersession_changelist  POST   login     login     login     403       in
admin:usersessions_usersession_add         GET    login     login     login     403       403
admin:usersessions_usersession_history     GET    login     login     login     403       in
admin:usersessions_usersession_history     POST   login     login     login     403       in
admin:usersessions_usersession_delete      GET    login     login     login     403       in
admin:usersessions_usersession_delete      POST   login     login     login     403       in
admin:usersessions_usersession_change      GET    login     login     login     403       in
admin:detection_analysis_changelist        GET    login     login     login     403       in
admin:detection_analysis_changelist        POST   login     login     login     403       in
admin:detection_analysis_add               GET    login     login     login     403       403
admin:detection_analysis_history           GET    login     login     login     403       in
admin:detection_analysis_history           POST   login     login     login     403       in
admin:detection_analysis_delete            GET    login     login     login     403       in
admin:detection_analysis_delete            POST   login     login     login     403       in
admin:detection_analysis_change            GET    login     login     login     403       in
admin:detection_deadletter_changelist      GET    login     login     login     403       in
admin:detection_deadletter_changelist      POST   login     login     login     403       in
admin:detection_deadletter_add             GET    login     login     login     403       403
admin:detection_deadletter_history         GET    login     login     login     403       in
admin:detection_deadletter_history         POST   login     login     login     403       in
admin:detection_deadletter_delete          GET    login     login     login     403       403
admin:detection_deadletter_change          GET    login     login     login     403       in
admin:detection_registeredmodel_activate   GET  login     login     login     403       in
admin:detection_registeredmodel_activate   POST login     login     login     403       in
admin:detection_registeredmodel_challenge  GET  login     login     login     403       in
admin:detection_registeredmodel_challenge  POST login     login     login     403       in
admin:detection_registeredmodel_retire     GET  login     login     login     403       in
admin:detection_registeredmodel_retire     POST login     login     login     403       in
admin:detection_registeredmodel_changelist GET  login     login     login     403       in
admin:detection_registeredmodel_changelist POST login     login     login     403       in
admin:detection_registeredmodel_add        GET  login     login     login     403       403
admin:detection_registeredmodel_history    GET  login     login     login     403       in
admin:detection_registeredmodel_history    POST login     login     login     403       in
admin:detection_registeredmodel_delete     GET  login     login     login     403       403
admin:detection_registeredmodel_change     GET  login     login     login     403       in
admin:detection_rerun_changelist           GET  login     login     login     403       in
admin:detection_rerun_changelist           POST login     login     login     403       in
admin:detection_rerun_add                  GET  login     login     login     403       403
admin:detection_rerun_history              GET  login     login     login     403       in
admin:detection_rerun_history              POST login     login     login     403       in
admin:detection_rerun_delete               GET  login     login     login     403       403
admin:detection_rerun_change               GET  login     login     login     403       in
admin:detection_upload_changelist          GET    login     login     login     403       in
admin:detection_upload_changelist          POST   login     login     login     403       in
admin:detection_upload_add                 GET    login     login     login     403       403
admin:detection_upload_history             GET    login     login     login     403       in
admin:detection_upload_history             POST   login     login     login     403       in
admin:detection_upload_delete              GET    login     login     login     403       403
admin:detection_upload_change              GET    login     login     login     403       in
admin:review_statistics                    GET    login     login     login     in        in
admin:review_statistics                    POST   login     login     login     in        in
admin:review_next                          GET    login     login     login     in        in
admin:review_next                          POST   login     login     login     in        in
admin:detection_queuedanalysis_changelist  GET    login     login     login     in        in
admin:detection_queuedanalysis_changelist  POST   login     login     login     in        in
admin:detection_queuedanalysis_add         GET    login     login     login     403       403
admin:detection_queuedanalysis_history     GET    login     login     login     in        in
admin:detection_queuedanalysis_history     POST   login     login     login     in        in
admin:detection_queuedanalysis_delete      GET    login     login     login     403       403
admin:detection_queuedanalysis_change      GET    login     login     login     in        in
admin:detection_queuedanalysis_change      POST   login     login     login     in        in
admin:detection_auditentry_changelist      GET    login     login     login     403       in
admin:detection_auditentry_changelist      POST   login     login     login     403       in
admin:detection_auditentry_add             GET    login     login     login     403       403
admin:detection_auditentry_history         GET    login     login     login     403       in
admin:detection_auditentry_history         POST   login     login     login     403       in
admin:detection_auditentry_delete          GET    login     login     login     403       403
admin:detection_auditentry_change          GET    login     login     login     403       in
admin:detection_webhookendpoint_changelist GET    login     login     login     403       in
admin:detection_webhookendpoint_changelist POST   login     login     login     403       in
admin:detection_webhookendpoint_add        GET    login     login     login     403       403
admin:detection_webhookendpoint_history    GET    login     login     login     403       in
admin:detection_webhookendpoint_history    POST   login     login     login     403       in
admin:detection_webhookendpoint_delete     GET    login     login     login     403       in
admin:detection_webhookendpoint_delete     POST   login     login     login     403       in
admin:detection_webhookendpoint_change     GET    login     login     login     403       in
admin:detection_webhookdelivery_changelist GET    login     login     login     403       in
admin:detection_webhookdelivery_changelist POST   login     login     login     403       in
admin:detection_webhookdelivery_add        GET    login     login     login     403       403
admin:detection_webhookdelivery_history    GET    login     login     login     403       in
admin:detection_webhookdelivery_history    POST   login     login     login     403       in
admin:detection_webhookdelivery_delete     GET    login     login     login     403       in
admin:detection_webhookdelivery_delete     POST   login     login     login     403       in
admin:detection_webhookdelivery_change     GET    login     login     login     403       in
admin:app_list                             GET    login     login     login     in        in
admin:app_list                             POST   login     login     login     in        in
admin:None                                 GET    login     login     login     404       404
"""


def addresses(analysis: Analysis) -> Iterator[tuple[str, str]]:
    """Name and path of every route, filled in with what is the owner's."""
    ids = {
        **belongings(analysis),
        "<str:name>": "astronaut.jpg",
        "<slug:name>": "roc",
        "<int:session_id>": "1",
        "<int:pk>": str(RegisteredModel.objects.values_list("pk", flat=True).first() or 1),
        "<id>": str(analysis.upload.user_id),
    }
    for name, pattern in routes():
        path = "/" + pattern
        for kind, value in ids.items():
            path = path.replace(kind, value)
        path = path.replace("<path:object_id>", object_of(name, analysis)).replace("<path:content_type_id>", "1")
        path = re.sub(r"\^?\(\?P<app_label>.*", "detection/", path)
        path = re.sub(r"\(\?P<url>.*", "no/such/page/", path)
        path = re.sub(r"\^|\$", "", re.sub(r"\(\?P<\w+>[^)]*\)", "x1", path))
        if "<path:name>" in path:
            yield from ((f"{name} {file}", path.replace("<path:name>", file)) for file in FILES)
        elif name != "admin:None" or path.endswith("no/such/page/"):  # Django's redirects of old addresses
            yield name, path


def object_of(name: str, analysis: Analysis) -> str:
    """A row for the admin's pages about one."""
    label, _, model = name.removeprefix("admin:").rpartition("_")[0].partition("_")
    if model == "queuedanalysis":
        return str(analysis.pk)
    try:
        row = apps.get_model(label, model).objects.first()
    except (LookupError, ValueError):
        return "1"
    return "1" if row is None else str(row.pk)


def outcome(response: HttpResponseBase) -> str:
    where = response.headers.get("Location", "")
    if response.status_code in (301, 302, 303, 307) and re.match(r"/(accounts|admin)/login/", where):
        return "login"
    if response.status_code in (301, 302, 303, 307) and "/reauthenticate/" in where:
        return "again"
    if response.status_code in (401, 403, 404, 405):
        return str(response.status_code)
    assert response.status_code < 500, response.status_code
    return "in"


@pytest.fixture
def people(db: None) -> dict[str, User | None]:
    reviewer, administrator = factories.make_user(), factories.make_user()
    roles.set_role(reviewer, roles.Role.REVIEWER)
    roles.set_role(administrator, roles.Role.ADMINISTRATOR)
    return {
        "anonymous": None,
        "owner": factories.make_user(),
        "stranger": factories.make_user(),
        "reviewer": reviewer,
        "administrator": administrator,
    }


@pytest.fixture
def analysis(people: dict[str, User | None], media_root: Path) -> Analysis:
    owner = people["owner"]
    assert owner is not None
    analysis = factories.make_result(owner)
    # So that the admin's pages about one of them have one.
    EmailAddress.objects.create(user=owner, email=owner.email)
    Authenticator.objects.create(user=owner, type=Authenticator.Type.TOTP, data={})
    Task.tasks.create_or_update_from_message(tasks.analyse.message(str(analysis.pk)), status=Task.STATUS_DONE)
    dead_letters.record(actor="analyse", args=[str(analysis.pk)], tries=1, error=None)
    audit.record(audit.Action.CONSENT, analysis, role=audit.Role.USER)
    registered_models.sync()
    Rerun.objects.create(analysis=analysis, model_name="test", model_version="1", verdict="authentic")
    for name in FILES[1:]:
        path = media_root / analysis.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(factories.jpeg())
    return analysis


async def read(response: Any) -> None:
    """To its end, which closes the file."""
    async for _ in response:
        pass


def ask(user: User | None, method: str, path: str) -> str:
    """What this person gets; whatever it changed is taken back."""
    client = Client()
    with transaction.atomic():
        if user is not None:
            client.force_login(user)
        response = client.generic(method, path, headers={"Accept": "text/html, application/json"})
        if response.streaming:
            async_to_sync(read)(response)
        transaction.set_rollback(True)
    return outcome(response)


def expected() -> dict[tuple[str, str], tuple[str, ...]]:
    """What each of ``PEOPLE`` gets, by the name of the route and the method."""
    rows = [line.split() for line in TABLE.strip().splitlines()]
    return {(" ".join(row[:-6]), row[-6]): tuple(row[-5:]) for row in rows}


@pytest.mark.parametrize("who", PEOPLE)
def test_everybody_gets_what_the_table_says(analysis: Analysis, people: dict[str, User | None], who: str):
    paths, column = dict(addresses(analysis)), PEOPLE.index(who)
    wrong = {}
    for (name, method), row in expected().items():
        said = ask(people[who], method, paths[name])
        if said != row[column]:
            wrong[f"{method} {paths[name]}"] = f"{said}, not {row[column]}"
    assert not wrong


def test_no_address_is_missing_from_the_table(analysis: Analysis):
    known = {name for name, _method in expected()}
    assert {name for name, _path in addresses(analysis)} == known


@pytest.mark.parametrize("who", ["owner", "administrator"])
def test_what_is_not_in_the_table_does_nothing(analysis: Analysis, people: dict[str, User | None], who: str):
    """Neither for the owner nor for an administrator, so for nobody."""
    known, open_ = expected(), {}
    for name, path in addresses(analysis):
        for method in METHODS if name.startswith("api:") else METHODS[:2]:
            if (name, method) not in known:
                said = ask(people[who], method, path)
                if said in ("in", "again"):
                    open_[f"{method} {path}"] = said
    assert not open_


@pytest.mark.parametrize(
    ("who", "is_let_in"),
    [("anonymous", False), ("owner", True), ("stranger", False), ("reviewer", True), ("administrator", True)],
)
@pytest.mark.django_db(transaction=True)
async def test_the_socket(analysis: Analysis, people: dict[str, User | None], who: str, is_let_in: bool):
    answer = await connect(people[who] or AnonymousUser(), f"/ws/analyses/{analysis.pk}/").connect()
    assert answer == (0 if is_let_in else 4404)
