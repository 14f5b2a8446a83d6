"""API keys of machines, tokens of users: made, looked at, revoked. A secret is shown once, after it was made."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminIntegerFieldWidget

from rewards.access.models import AccessToken, ApiKey, Right
from rewards.access.services import MOST_REQUESTS_PER_MINUTE, change_api_key, create_api_key, revoke
from rewards.admin.common.confirm import Question, ask_then_do, page_context, sentence_of
from rewards.admin.common.display import admin_url, ago, badge, link_to
from rewards.admin.common.lists import BigList, users_found
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.rows import RowPages
from rewards.common.errors import RewardsError

ONE_BUTTON = {"show_save_and_add_another": False, "show_save_and_continue": False, "show_history": False}
MEANINGS = {
    Right.ACTIVITY_WRITE: "report activity",
    Right.CLAIMS_WRITE: "claim for users",
    Right.MONTHLY_RUN: "run monthly rewards",
    Right.REWARDS_DISTRIBUTE: "pay out pending rewards",
    Right.READ: "read figures and metrics",
}


class CredentialAdmin(RowPages, ModelAdmin):
    """What keys and tokens have in common."""

    actions = None
    actions_row = ["revoke"]
    actions_detail = ["revoke"]
    show_facets = admin.ShowFacets.NEVER

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # revoked instead

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"rewards.change_{self.opts.model_name}")  # type: ignore[union-attr]

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        possible = self.model._default_manager.filter(pk=object_id, revoked_at=None).exists()
        return super().get_actions_detail(request, object_id) if possible else []

    @display(description="State")
    def state(self, credential: ApiKey | AccessToken) -> SafeString:
        return state_badge(credential, timezone.now())

    @display(description="Last used", ordering="last_used_at")
    def last_used(self, credential: ApiKey | AccessToken) -> str:
        return ago(credential.last_used_at)

    @display(description="Expires", ordering="expires_at")
    def expires(self, credential: ApiKey | AccessToken) -> str:
        return f"{credential.expires_at:%Y-%m-%d %H:%M}" if credential.expires_at else "never"

    @action(description="Revoke", url_path="revoke", icon="block", permissions=["revoke"], variant=ActionVariant.DANGER)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        credential = get_object_or_404(self.model, pk=object_id)
        name = f"the {self.opts.verbose_name} {credential}"
        question = Question(
            title=f"Revoke {name}",
            explanation="Whoever still uses it is refused within a second. This cannot be taken back.",
            button="Revoke",
            figures=[("Made", f"{credential.created_at:%Y-%m-%d %H:%M}"), ("Last used", ago(credential.last_used_at))],
            dangerous=True,
        )

        def do(reason: str) -> str:
            if not revoke(credential, at=timezone.now(), by=request.user):  # type: ignore[arg-type]
                return f"{name[0].upper()}{name[1:]} was revoked already."
            return f"{name[0].upper()}{name[1:]} is revoked."

        back = admin_url(self.model)
        return ask_then_do(request, question, do, back=back, context=page_context(request, self, credential))


def state_badge(credential: ApiKey | AccessToken, at: datetime) -> SafeString:
    if credential.revoked_at is not None:
        return badge("revoked", kind="danger")
    return badge("expired", kind="warning") if credential.has_expired(at) else badge("active", kind="success")


# ------------------------------------------------------------------------------------------------------------ API keys


class ApiKeyForm(forms.ModelForm):
    rights = forms.MultipleChoiceField(
        choices=[(right.value, f"{right.value} – {MEANINGS[right]}") for right in Right],
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        error_messages={"required": "A key without a right opens nothing: choose at least one."},
    )
    requests_per_minute = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_REQUESTS_PER_MINUTE,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Empty: as many as it likes.",
    )

    class Meta:
        model = ApiKey
        fields = ["name", "rights", "requests_per_minute", "expires_at"]

    def clean_expires_at(self) -> datetime | None:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise forms.ValidationError("The key would have expired before its first use: choose a later time.")
        return expires_at


@admin.register(ApiKey)
class ApiKeyAdmin(CredentialAdmin):
    form = ApiKeyForm
    empty_hint = "A machine calls the API with a key: add one for each, with the rights it needs and no more."
    list_display = ["name", "prefix_shown", "rights_shown", "limit_shown", "last_used", "expires", "state"]
    search_fields = ["name__startswith", "prefix__startswith"]
    search_help_text = "Start of a name, or of a key"
    ordering = ["name"]
    readonly_fields = [
        "prefix_shown", "state", "rights_shown", "limit_shown",
        "created_at", "created_by", "last_used", "expires", "revoked_at",
    ]  # fmt: skip

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": ["name", "rights", "requests_per_minute", "expires_at"]})]
        may_change = self.has_change_permission(request, obj)
        chosen = ["rights", "requests_per_minute"] if may_change else ["rights_shown", "limit_shown"]
        return [
            (None, {"fields": ["name", "prefix_shown", "state", *chosen]}),
            ("When", {"fields": ["created_at", "created_by", "last_used", "expires", "revoked_at"]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return [*self.readonly_fields, "name"] if obj is not None else self.readonly_fields

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.revoked_at is None)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One button: after it comes the secret. What somebody else did in between is said as a message."""
        extra_context = {**(extra_context or {}), **ONE_BUTTON}
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except RewardsError as error:
            messages.error(request, sentence_of(error))
            return HttpResponseRedirect(admin_url(ApiKey))

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        by: Any = request.user
        if change:
            change_api_key(obj, rights=obj.rights, requests_per_minute=obj.requests_per_minute, by=by)
            return
        key, obj.secret = create_api_key(  # type: ignore[attr-defined]
            obj.name, obj.rights, by=by, expires_at=obj.expires_at, requests_per_minute=obj.requests_per_minute
        )
        obj.pk, obj.prefix = key.pk, key.prefix

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """The page with the secret. It is in this answer alone: no address, message or session holds it."""
        page = page_context(request, self, obj) | {
            "title": f"The API key {obj.name}",
            "secret": obj.secret,  # type: ignore[attr-defined]
            "header": "x-api-key",
            "back": admin_url(ApiKey),
        }
        return TemplateResponse(request, "admin/secret.html", page)

    @display(description="Key", ordering="prefix")
    def prefix_shown(self, key: ApiKey) -> str:
        return f"{key.prefix}…"

    @display(description="Rights")
    def rights_shown(self, key: ApiKey) -> str:
        return ", ".join(key.rights)

    @display(description="Requests per minute", ordering="requests_per_minute")
    def limit_shown(self, key: ApiKey) -> str:
        return str(key.requests_per_minute or "as many as it likes")


# -------------------------------------------------------------------------------------------------------------- tokens


@admin.register(AccessToken)
class AccessTokenAdmin(CredentialAdmin, BigList, ReadOnlyAdmin):  # type: ignore[misc]
    empty_hint = "Users get tokens with their password from the API; `manage.py create_token` makes one too."
    list_display = ["prefix_shown", "user", "created_at", "last_used", "expires", "state"]
    list_select_related = ["user"]
    search_fields = ["user"]
    search_help_text = "Start of a username"
    fields = ["prefix_shown", "user_shown", "state", "created_at", "expires", "last_used", "revoked_at"]
    readonly_fields = ["prefix_shown", "user_shown", "state", "expires", "last_used"]

    def find(self, queryset: Any, term: str) -> Any:
        return queryset.filter(user__in=users_found(term))

    @display(description="Token")
    def prefix_shown(self, token: AccessToken) -> str:
        return f"{token.prefix}…"

    @display(description="User")
    def user_shown(self, token: AccessToken) -> SafeString | str:
        return link_to(token.user)
