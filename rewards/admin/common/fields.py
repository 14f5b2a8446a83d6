"""Form fields that several pages use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from rewards.admin.common.display import pretty_json
from rewards.allocation.participants import TIE_POLICIES
from rewards.common.amounts import InvalidAmount, to_minor

TOO_DEEP = "This is nested too deep to be read."


class PrettyJsonField(forms.JSONField):
    """JSON that people can read, in as many rows as are asked for."""

    def __init__(self, *, rows: int = 24, widget: forms.Widget | None = None, **kwargs: Any) -> None:
        super().__init__(widget=widget or UnfoldAdminTextareaWidget(code_attributes(rows)), **kwargs)

    def prepare_value(self, value: Any) -> str:
        return value if isinstance(value, str) else pretty_json(value)

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except RecursionError as error:
            raise forms.ValidationError(TOO_DEEP, code="invalid") from error

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            return super().bound_data(data, initial)
        except RecursionError:
            return data


def code_attributes(rows: int) -> dict[str, Any]:
    """Of a textarea in which code is written."""
    return {"rows": rows, "class": "rewards-code-input", "spellcheck": "false"}


class TiePolicyField(forms.ChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            choices=[(policy, policy) for policy in TIE_POLICIES],
            widget=UnfoldAdminSelectWidget(),
            help_text="earliest: the place decides; shared: equals split the sum of their places; "
            "same: each the better.",
            **kwargs,
        )


def minor_units(text: str, decimals: int) -> int | None:
    """Minor units of what was written in currency units; None for nothing. Raises `ValidationError`, below zero too."""
    if not text.strip():
        return None
    try:
        minor = to_minor(text.strip(), decimals)
    except InvalidAmount as error:
        raise forms.ValidationError(error.message, code=error.code) from error
    if minor < 0:
        raise forms.ValidationError("It is not negative.", code="negative")
    return minor


class ReasonField(forms.CharField):
    """Why something is changed."""

    def __init__(self, *, required_sentence: str, **kwargs: Any) -> None:
        super().__init__(
            max_length=500,
            widget=UnfoldAdminTextInputWidget(),
            help_text="Why it is changed; kept in the history.",
            error_messages={"required": required_sentence},
            **kwargs,
        )


class SuggestingInput(UnfoldAdminTextInputWidget):
    """A text that may be anything, with what is known suggested."""

    template_name = "admin/suggesting_input.html"

    def __init__(self, suggestions: Callable[[], Sequence[str]], attrs: dict[str, Any] | None = None) -> None:
        self.suggestions = suggestions
        super().__init__({"autocapitalize": "off", "spellcheck": "false", **(attrs or {})})

    def _render(self, template_name: str, context: dict[str, Any], renderer: Any = None) -> SafeString:
        """From the product's templates; the renderer of forms knows those of apps alone."""
        return render_to_string(template_name, context)

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        context["widget"]["attrs"]["list"] = f"{context['widget']['attrs'].get('id', name)}_known"
        return context | {"suggestions": self.suggestions()}
