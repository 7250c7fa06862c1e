from allauth.account.signals import password_reset, user_signed_up
from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models.signals import m2m_changed, post_delete, post_migrate, post_save
from django.utils.translation import gettext_lazy as _


class AdminConfig(admin_apps.AdminConfig):
    default = False  # of this app: that is the one below
    default_site = "accounts.site.Site"


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        # Models, and what imports them, are there only now.
        from django.contrib.sessions.models import Session  # noqa: PLC0415

        from accounts import preferences, roles, sessions, sockets, tokens  # noqa: PLC0415
        from accounts.models import ApiToken, User  # noqa: PLC0415

        # After every app's: which of them brings the permissions is none of this app's business.
        post_migrate.connect(roles.ensure_reviewers, dispatch_uid="accounts.reviewers")
        user_logged_in.connect(sessions.note_sign_in, dispatch_uid="accounts.signed_in")
        password_reset.connect(tokens.revoke_all, dispatch_uid="accounts.tokens")
        user_logged_out.connect(sessions.forget_this, dispatch_uid="accounts.sessions")
        user_signed_up.connect(preferences.remember_language, dispatch_uid="accounts.language")
        post_delete.connect(sockets.session_ended, Session, dispatch_uid="accounts.sockets.session")
        post_delete.connect(sockets.token_ended, ApiToken, dispatch_uid="accounts.sockets.token")
        post_save.connect(sockets.user_changed, User, dispatch_uid="accounts.sockets.user")
        m2m_changed.connect(sockets.groups_changed, User.groups.through, dispatch_uid="accounts.sockets.groups")
