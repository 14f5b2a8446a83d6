"""Parameters: changed with a reason, checked by their own rule, the switch that pauses payouts on top."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget

from rewards.admin.common.confirm import Question, ask_then_do, page_context, sentence_of
from rewards.admin.common.display import admin_url, badge
from rewards.admin.common.fields import ReasonField
from rewards.admin.common.history import HistoryAdmin
from rewards.admin.exchange import RulesExchange
from rewards.common.errors import RewardsError
from rewards.parameters.models import Parameter
from rewards.parameters.registry import PARAMETERS
from rewards.parameters.services import param, set_parameter

PAUSE = "payouts_paused"


class ParameterForm(forms.ModelForm):
    reason = ReasonField(required_sentence="Say why: a change to a parameter needs a reason.")

    class Meta:
        model = Parameter
        fields = ["value"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        definition = PARAMETERS.get(self.instance.key)
        if "value" in self.fields:
            self.fields["value"].required = False  # false, 0 and null are values
            self.fields["value"].widget = UnfoldAdminTextareaWidget({"rows": 3})
            self.fields["value"].help_text = f"JSON: {definition.allowed}." if definition else "JSON."


@admin.register(Parameter)
class ParameterAdmin(RulesExchange, HistoryAdmin):
    form = ParameterForm
    empty_hint = "`manage.py setup_defaults` creates a row for each parameter."
    list_display = ["key", "value_shown", "default_shown", "changed", "description"]
    ordering = ["key"]
    search_fields = ["key", "description"]
    actions = None
    actions_list = ["pause", "resume", "rules"]
    readonly_fields = ["key", "description", "default_shown", "updated_at"]
    fieldsets = [
        (None, {"fields": ["key", "description", "value", "reason"]}),
        ("As delivered", {"fields": ["default_shown", "updated_at"]}),
    ]
    list_before_template = "admin/pause_state.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # setup_defaults creates the row of each registered parameter

    def has_delete_permission(self, request: HttpRequest, obj: Parameter | None = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Parameter | None = None) -> Any:
        """Who may only look has no reason to give."""
        if self.has_change_permission(request, obj):
            return super().get_fieldsets(request, obj)
        return [(None, {"fields": ["key", "description", "value"]}), self.fieldsets[1]]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, (extra_context or {}) | {"payouts_paused": param(PAUSE)})

    def save_model(self, request: HttpRequest, obj: Parameter, form: Any, change: bool) -> None:
        try:
            set_parameter(obj.key, obj.value, actor=request.user, reason=form.cleaned_data["reason"])  # type: ignore[arg-type]
        except RewardsError as error:
            messages.error(request, sentence_of(error))

    @display(description="Value")
    def value_shown(self, parameter: Parameter) -> str:
        return short_json(parameter.value)

    @display(description="Default")
    def default_shown(self, parameter: Parameter) -> str:
        return short_json(parameter.default)

    @display(description="Changed")
    def changed(self, parameter: Parameter) -> SafeString:
        return badge("due", "changed") if parameter.value != parameter.default else badge("none", "default")

    # --------------------------------------------------------------------------------------------------- the big switch

    def get_actions_list(self, request: HttpRequest) -> list[Any]:
        unwanted = "pause" if param(PAUSE) else "resume"
        return [each for each in super().get_actions_list(request) if not each.action_name.endswith(f"_{unwanted}")]

    @action(description="Pause payouts", url_path="pause", icon="pause_circle", permissions=["change"])
    def pause(self, request: HttpRequest) -> HttpResponse:
        explanation = "Nothing is paid from now on: payouts stay where they are until the switch is lifted."
        return self._switch(request, True, "Pause all payouts", explanation)

    @action(description="Resume payouts", url_path="resume", icon="play_circle", permissions=["change"])
    def resume(self, request: HttpRequest) -> HttpResponse:
        explanation = "Payouts go on where they stopped, oldest period first. Nothing is paid twice."
        return self._switch(request, False, "Resume payouts", explanation)

    def _switch(self, request: HttpRequest, paused: bool, title: str, explanation: str) -> HttpResponse:
        question = Question(title, explanation, title, needs_reason=True, dangerous=paused)

        def do(reason: str) -> str:
            set_parameter(PAUSE, paused, actor=request.user, reason=reason)  # type: ignore[arg-type]
            return "Payouts are paused." if paused else "Payouts are running again."

        return ask_then_do(request, question, do, back=admin_url(Parameter), context=page_context(request, self))


def short_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"
