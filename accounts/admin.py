"""Users in the admin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from allauth.account.admin import EmailAddressAdmin as AllauthEmailAddressAdmin
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.module_loading import import_string
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin_log import Unnamed
from accounts.models import ApiToken, User
from accounts.roles import is_last_administrator, note_rights, rights_of


class CreateForm(AdminUserCreationForm):
    class Meta:
        model = User
        fields = ("email",)


class ChangeForm(UserChangeForm):
    class Meta:
        model = User
        fields = "__all__"

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        stays = all(found.get(right, True) for right in ("is_active", "is_staff", "is_superuser"))
        if not stays and is_last_administrator(self.instance):
            raise ValidationError(gettext("This is the only administrator. Make somebody else one first."))
        return found


class RightsLogged:
    """For a ``ModelAdmin`` of what has rights: the log of acts learns which of them an administrator has changed.

    Django saves the row in one call and what hangs on it (groups, permissions) in another, both in one transaction.
    """

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        form.rights_before = rights_of(obj) if change else {}
        super().save_model(request, obj, form, change)  # type: ignore[misc]

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)  # type: ignore[misc]
        assert request.user.is_authenticated
        note_rights(form.instance, form.rights_before, by=request.user)


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(RightsLogged, DjangoGroupAdmin):
    """Which rights come with which group; the members are chosen at each user."""

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        self.delete_queryset(request, Group.objects.filter(pk=obj.pk))

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        assert request.user.is_authenticated
        for group in queryset:
            before = rights_of(group)
            pk = group.pk
            group.delete()
            group.pk = pk
            note_rights(group, before, by=request.user)


@admin.register(User)
class UserAdmin(RightsLogged, Unnamed, DjangoUserAdmin):
    """Django's own, by e-mail address. Deleting erases: rows of others' apps and files go, too (``settings.ERASE``).

    An address is not changed here: what allauth knows of the old one would still set a new password. Users do it
    themselves, by a link that is sent to the new one.
    """

    form = ChangeForm
    add_form = CreateForm
    list_display = ("email", "is_active", "is_staff", "date_joined", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")
    search_fields = ("email", "first_name", "last_name")
    ordering = ("email",)
    readonly_fields = ("date_joined", "last_login")
    fieldsets = (
        (None, {"fields": ("email", "password")}),
        (_("Name"), {"fields": ("first_name", "last_name")}),
        (_("Choices"), {"fields": ("language", "theme", "notify_reviews", "notify_analyses")}),
        (_("Rights"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        (_("Dates"), {"fields": ("date_joined", "last_login")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "usable_password", "password1", "password2")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        fixed = tuple(super().get_readonly_fields(request, obj))
        return fixed if obj is None else ("email", *fixed)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Administrators only, and not oneself: for that the account page asks for the password."""
        return bool(request.user.is_superuser and (obj is None or obj.pk != request.user.pk))

    def get_deleted_objects(
        self, objs: QuerySet[User] | Sequence[User], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """What the page that asks shows: whose accounts. Django would list every row, and ask each one's admin."""
        own = [gettext("Your own account is deleted on the account page.")] if request.user in objs else []
        named = [gettext("%(email)s, with all files and results") % {"email": user.email} for user in objs]
        return named, {str(User._meta.verbose_name_plural): len(named)}, set(), own

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        import_string(settings.ERASE)(user=obj, by=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset.exclude(email=request.user.get_username()):
            import_string(settings.ERASE)(user=user, by=request.user)


@admin.register(ApiToken)
class ApiTokenAdmin(Unnamed, admin.ModelAdmin):
    """Whose programs come in, and a way to shut them out. Keys cannot be read, so none can be made here either."""

    list_display = ("name", "user", "token_key", "created", "last_used", "expiry")
    search_fields = ("name", "token_key", "user__email")
    list_select_related = ("user",)
    date_hierarchy = "created"
    exclude = ("digest",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        del request
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        del request, obj
        return False


class LookedAt(Unnamed):
    """Made by people as they sign in; the admin can only end it."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        del request
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del request, obj
        return False


admin.site.unregister(EmailAddress)  # allauth's leaves addresses in the log


@admin.register(EmailAddress)
class EmailAddressAdmin(Unnamed, AllauthEmailAddressAdmin):
    """Which addresses are confirmed."""


admin.site.unregister(Authenticator)  # allauth's shows the key that makes the codes


@admin.register(Authenticator)
class AuthenticatorAdmin(LookedAt, admin.ModelAdmin):
    """Who has a second factor; deleting it lets somebody in again who has lost telephone and recovery codes."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type", "created_at")
    search_fields = ("user__email",)
    list_select_related = ("user",)
    exclude = ("data",)


admin.site.unregister(UserSession)  # allauth's searches by user names, which there are none of


@admin.register(UserSession)
class UserSessionAdmin(LookedAt, admin.ModelAdmin):
    """Who is signed in where; deleting signs out."""

    list_display = ("user", "ip", "user_agent", "created_at", "last_seen_at")
    search_fields = ("user__email", "ip")
    list_select_related = ("user",)
    exclude = ("data",)

    def delete_model(self, request: HttpRequest, obj: UserSession) -> None:
        del request
        obj.end()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[UserSession]) -> None:
        del request
        for session in queryset:
            session.end()
